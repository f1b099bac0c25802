"""Batches and pixels for tests that decode nothing."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from surgrec.clips import Box, ClipBatch, Quarantined
from surgrec.clips.augment import View


def make_batch(
    frames: Sequence[Tensor],
    *,
    key: str = "alpha",
    source: str = "alpha",
    flips: Sequence[bool] | None = None,
    quarantined: Sequence[Quarantined] = (),
) -> ClipBatch:
    """Return a batch of these clips, one per sample, with keys `KEY_0`, `KEY_1` and so on."""
    flips = flips or [False] * len(frames)
    return ClipBatch(
        positions=np.arange(len(frames), dtype=np.int64),
        keys=[f"{key}_{index}" for index in range(len(frames))],
        sources=[source] * len(frames),
        frames=list(frames),
        views=[View(_whole(clip), flip) for clip, flip in zip(frames, flips, strict=True)],
        quarantined=list(quarantined),
    )


def random_clips(sizes: Sequence[tuple[int, int]], *, seed: int = 0) -> list[Tensor]:
    """Return clips of four frames of random colors in the decoder's memory layout, channels
    last."""
    generator = torch.Generator().manual_seed(seed)
    return [
        rearrange(
            torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8, generator=generator),
            "t h w c -> t c h w",
        )
        for size in sizes
    ]


def _whole(frames: Tensor) -> Box:
    return Box(top=0, left=0, height=frames.shape[-2], width=frames.shape[-1])
