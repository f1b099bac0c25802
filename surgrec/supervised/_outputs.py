"""The outputs of heads for whole videos, kept in files until the results are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float32
from torch import Tensor

from surgrec.evaluation.tasks import WindowKey
from surgrec.features import VideoEncoder
from surgrec.features.in_memory import stored_features
from surgrec.features.window_clips import CorpusVideos, VideoEntry
from surgrec.training.session import Precision, Session


@dataclass(frozen=True, kw_only=True)
class WindowOutputs:
    """The outputs of heads for windows, and the windows that could not be read."""

    outputs: dict[WindowKey, Float32[Tensor, "heads k"]]
    missing: dict[WindowKey, str]
    """Reason of each expected window that could not be read."""

    def of(self, keys: Sequence[WindowKey]) -> Float32[Tensor, "heads n k"]:
        """Return the outputs of some windows that could be read."""
        return torch.stack([self.outputs[key] for key in keys], dim=1)


def window_outputs(
    session: Session,
    videos: CorpusVideos,
    entries: Sequence[VideoEntry],
    encoder: VideoEncoder,
    folder: Path,
    *,
    num_heads: int,
    stride_s: float,
    precision: Precision,
    settings: dict[str, Any],
    expected: Sequence[WindowKey],
) -> WindowOutputs:
    """Return the outputs of all windows of some videos; the ranks share the videos. A collective.

    A video whose file is in the folder is not computed again.

    Args:
        session: The ranks.
        videos: The opened corpora.
        entries: The videos.
        encoder: The encoder with its heads, side by side, as features.
        folder: Folder of the files.
        num_heads: Heads whose outputs are side by side.
        stride_s: Seconds from one window to the next.
        precision: Autocast of the forward passes.
        settings: All that decides an output except the video, as JSON.
        expected: The windows that are needed.
    """
    share = [
        stored_features(
            videos,
            entry,
            encoder,
            folder,
            settings=settings,
            stride_s=stride_s,
            precision=precision,
        )
        for entry in session.own_share(entries)
    ]
    outputs: dict[WindowKey, Float32[Tensor, "heads k"]] = {}
    reasons: dict[tuple[str, str, float | None], str] = {}
    for entry, video in zip(entries, session.gathered(share), strict=True):
        video_name = (entry.source, entry.video)
        values = rearrange(video.features, "n (heads k) -> n heads k", heads=num_heads)
        for start_s, value in zip(video.start_s.tolist(), values, strict=True):
            outputs[*video_name, start_s] = value
        for failure in video.failed:
            reasons[*video_name, failure.start_s] = failure.reason

    # A whole video may be unreadable: then its failure has no time.
    missing = {
        key: reasons.get(key) or reasons.get((*key[:2], None), "the window is missing")
        for key in expected
        if key not in outputs
    }
    return WindowOutputs(outputs=outputs, missing=missing)
