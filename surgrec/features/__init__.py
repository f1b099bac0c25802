"""Turn windows of video into feature vectors of a frozen encoder.

Example:
    >>> encoder = load_encoder("runs/jepa")
    >>> encoder.features("case-7.mp4").features.shape
    torch.Size([340, 1024])
"""

from surgrec.features._encoders import EncoderChoice, open_encoder
from surgrec.features._extract import Extracted, extract, extract_several
from surgrec.features._extract_config import ExtractConfig
from surgrec.features._feature_encoder import FeatureEncoder, load_encoder
from surgrec.features._files import VideoFeatures
from surgrec.features._open_videos import open_videos
from surgrec.features._table import FailedWindow, Features, WindowRow, read_features
from surgrec.features._windows import MOST_WINDOWS
from surgrec.features.interface import VideoEncoder

__all__ = [
    "MOST_WINDOWS",
    "EncoderChoice",
    "ExtractConfig",
    "Extracted",
    "FailedWindow",
    "FeatureEncoder",
    "Features",
    "VideoEncoder",
    "VideoFeatures",
    "WindowRow",
    "extract",
    "extract_several",
    "load_encoder",
    "open_encoder",
    "open_videos",
    "read_features",
]
