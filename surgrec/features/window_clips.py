"""Single windows of corpora as input of an encoder, in any order and with a view of each."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from surgrec.clips import ClipSampling, central_crop
from surgrec.encoders import Preprocessing
from surgrec.errors import SampleError
from surgrec.features._extract_video import model_clips, steady_arithmetic
from surgrec.features._videos import Piece, VideoEntry
from surgrec.features._windows import window_times
from surgrec.features.corpora import CorpusVideos, Crop, JoinedClips

__all__ = [
    "CorpusVideos",
    "Crop",
    "JoinedClips",
    "Piece",
    "VideoEntry",
    "decode_window",
    "prepare_window",
    "steady_arithmetic",
]


def decode_window(
    video: JoinedClips, start_s: float, sampling: ClipSampling, crop: Crop = central_crop
) -> list[Piece] | SampleError:
    """Decode the frames of one window, on the CPU.

    Args:
        video: The opened video.
        start_s: Start of the window, seconds of the video.
        sampling: Frames of a window.
        crop: Part of each frame to keep. Default: the central square.

    Returns:
        The frames, one piece per stored clip; or the reason why the window cannot be read.

    Raises:
        StorageError: The store cannot be read: an outage, never a bad sample.
    """
    pieces = video.pieces(window_times(np.array([start_s]), sampling)[0], crop)
    failures = [piece.frames for piece in pieces if isinstance(piece.frames, SampleError)]
    return failures[0] if failures else pieces


def prepare_window(
    pieces: Sequence[Piece], preprocessing: Preprocessing, device: torch.device
) -> Float[Tensor, "c t h w"]:
    """Return the frames of a window as input of an encoder.

    Args:
        pieces: From `decode_window`.
        preprocessing: Of the encoder.
        device: Device of the result. Frames travel there as uint8.
    """
    frames = np.arange(sum(len(piece.indices) for piece in pieces))[None]
    clip: Float[Tensor, "c t h w"] = model_clips(frames, list(pieces), preprocessing, device)[0]
    return clip
