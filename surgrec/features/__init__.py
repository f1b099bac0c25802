"""One small interface over every encoder, features of whole corpora and of folders of videos, and kNN on them."""

from surgrec.features.encoders import EncoderChoice, FrozenEncoder, open_encoder
from surgrec.features.extract import ExtractConfig, Extracted, extract
from surgrec.features.table import FailedWindow, Features, WindowRow, read_features

__all__ = [
    "EncoderChoice",
    "ExtractConfig",
    "Extracted",
    "FailedWindow",
    "Features",
    "FrozenEncoder",
    "WindowRow",
    "extract",
    "open_encoder",
    "read_features",
]
