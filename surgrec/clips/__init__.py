"""Stored bytes to tensors.

The room holds frame times, decoding, augmentation, batches, and the loader that yields them.
"""

from surgrec.clips.augment import AugmentConfig
from surgrec.clips.batch import ClipBatch, Quarantined, to_model_input
from surgrec.clips.clip_loader import load_clips
from surgrec.clips.crop import Box, central_crop
from surgrec.clips.dataset import ClipDataset
from surgrec.clips.decode import decode_clip, torchcodec_classes
from surgrec.clips.loader import StepSampler, clip_batches, loader_failures_explained
from surgrec.clips.loader_config import LoaderConfig
from surgrec.clips.sampling import ClipSampling

__all__ = [
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
