"""Batches: the clips of one rank at one step, and their origin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from surgrec.clips.augment import View, apply_view, apply_views
from surgrec.stream import ReadStats


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A bad sample and its substitute."""

    position: int
    source: str
    key: str
    """Key of the bad sample."""
    clip: str
    """Key of the bad clip: that of the sample, or of an adjacent one that its window holds."""
    reason: str
    """Why it cannot be used."""
    substitute: str
    """Key of the next sample that was tried in its place."""


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """The samples of one rank at one step, or a part of them, with one or more clips each.

    They are ordered by position.
    """

    positions: Int64[np.ndarray, " b"]
    """Positions in the stream."""
    keys: list[str]
    """Sample keys; the key of the substitute if a sample was bad."""
    sources: list[str]
    """Source of each sample."""
    frames: list[UInt8[Tensor, "t c _ _"]]
    """RGB in [0, 255], cropped, each clip at its own size. The views of one sample follow each
    other."""
    views: list[View]
    """The view of each clip."""
    quarantined: list[Quarantined]
    """Bad samples found while this batch was made."""
    read_stats: ReadStats = ReadStats()
    """Reads of this process since its previous batch or part."""

    @staticmethod
    def joined(parts: "Sequence[ClipBatch]") -> "ClipBatch":
        """Return the batch that consists of these parts, in order, without a copy of frames."""
        first, *others = parts
        if not others:
            return first
        return ClipBatch(
            positions=np.concatenate([part.positions for part in parts]),
            keys=[key for part in parts for key in part.keys],
            sources=[source for part in parts for source in part.sources],
            frames=[frames for part in parts for frames in part.frames],
            views=[view for part in parts for view in part.views],
            quarantined=[bad for part in parts for bad in part.quarantined],
            read_stats=sum((part.read_stats for part in others), first.read_stats),
        )

    def without_frames(self) -> "ClipBatch":
        """Return the batch without its frames, which take memory of the loader."""
        return replace(self, frames=[])

    def pin_memory(self) -> "ClipBatch":
        """Return the batch in page-locked memory. torch's DataLoader calls this method."""
        return replace(self, frames=[frames.pin_memory() for frames in self.frames])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "ClipBatch":
        """Return the batch with its frames on a device. Lightning and Accelerate call this method.

        Args:
            device: Where the frames shall be.
            non_blocking: Whether a copy from page-locked memory may run beside other work.
        """
        frames = [frames.to(device, non_blocking=non_blocking) for frames in self.frames]
        return replace(self, frames=frames)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all clips as one shared tensor.

        Each tensor would cost an open file and 0.2 ms of the training process.
        """
        shapes = [tuple(frames.shape) for frames in self.frames]

        # Concatenate directly into shared memory, as torch's default collate does, to spare a copy.
        shared = torch.UntypedStorage._new_shared(sum(map(math.prod, shapes)))  # type: ignore[no-untyped-call]
        packed = torch.empty(0, dtype=torch.uint8).set_(shared)
        torch.cat([rearrange(frames, "t c h w -> (t h w c)") for frames in self.frames], out=packed)
        return _unpickle, (vars(self) | {"frames": packed}, shapes)


def to_model_input(
    batch: ClipBatch, crop_px: int, device: torch.device
) -> Float[Tensor, "b c t h w"]:
    """Return all clips of a batch, every view of each sample, as the encoder expects them.

    Args:
        batch: A batch of the loader.
        crop_px: Height and width of the result, pixels.
        device: Where the result is computed.

    Returns:
        float32, normalized by `RGB_MEAN` and `RGB_STD`.
    """
    if device.type != "cpu":
        return apply_views(batch.frames, batch.views, crop_px, device)
    return torch.stack(
        [
            apply_view(frames, view, crop_px, device)
            for frames, view in zip(batch.frames, batch.views, strict=True)
        ]
    )


def clip_at(
    memory: UInt8[Tensor, " n"], start: int, shape: Sequence[int]
) -> UInt8[Tensor, "t c _ _"]:
    """Return the clip of a given shape that begins at byte `start`, without a copy.

    The memory layout is the decoder's, channels last.
    """
    t, c, h, w = shape
    return rearrange(
        memory[start : start + math.prod(shape)], "(t h w c) -> t c h w", t=t, c=c, h=h, w=w
    )


def _unpickle(fields: dict[str, Any], shapes: list[tuple[int, int, int, int]]) -> ClipBatch:
    parts = torch.split(fields["frames"], [math.prod(shape) for shape in shapes])
    frames = [clip_at(part, 0, shape) for part, shape in zip(parts, shapes, strict=True)]
    return ClipBatch(**(fields | {"frames": frames}))
