"""Stored bytes to tensors.

The room holds frame times, decoding, augmentation, batches, and the loader that yields them.
"""

from surgrec.clips._batch import ClipBatch, Quarantined, to_model_input
from surgrec.clips._clip_loader import load_clips
from surgrec.clips._crop import Box, central_crop
from surgrec.clips._dataset import ClipDataset
from surgrec.clips._decode import decode_clip, torchcodec_classes
from surgrec.clips._loader import StepSampler, clip_batches, loader_failures_explained
from surgrec.clips._loader_config import LoaderConfig
from surgrec.clips._sampling import ClipSampling
from surgrec.clips.augment import VIEWS_VERSION, AugmentConfig

__all__ = [
    "VIEWS_VERSION",
    "AugmentConfig",
    "Box",
    "ClipBatch",
    "ClipDataset",
    "ClipSampling",
    "LoaderConfig",
    "Quarantined",
    "StepSampler",
    "central_crop",
    "clip_batches",
    "decode_clip",
    "load_clips",
    "loader_failures_explained",
    "to_model_input",
    "torchcodec_classes",
]
