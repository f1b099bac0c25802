"""What the loader yields: the clips of one rank at one step, and where they came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int64, UInt8
from torch import Tensor

from surgrec.stream import ReadStats


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A bad sample, and the one that stands in for it."""

    position: int
    source: str
    key: str
    reason: str
    substitute: str


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """One rank's samples of one step, in the order of their positions, and one or several clips of each."""

    positions: Int64[np.ndarray, " b"]
    """Places in the global order."""
    keys: list[str]
    """Sample keys; a substitute's where a sample was bad."""
    sources: list[str]
    frames: list[UInt8[Tensor, "t c _ _"]]
    """RGB in [0, 255], cropped, each clip still at its own size; the views of a sample follow each other."""
    flipped: list[bool]
    """Whether the clip is to be mirrored."""
    quarantined: list[Quarantined]
    """Bad samples that were met on the way."""
    reading: ReadStats = ReadStats()
    """What was read since this process made its last batch."""

    def pin_memory(self) -> "ClipBatch":
        """The same batch in page-locked memory; torch's DataLoader calls this."""
        return ClipBatch(
            **(vars(self) | {"frames": [frames.pin_memory() for frames in self.frames]})
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """From a worker, all clips travel as one tensor: each costs an open file and 0.2 ms of the training process."""
        shapes = [tuple(frames.shape) for frames in self.frames]
        # Joined in memory that both processes see, as torch's own collate does: else it would be copied there once more.
        shared = torch.UntypedStorage._new_shared(sum(map(math.prod, shapes)))  # type: ignore[no-untyped-call]
        packed = torch.empty(0, dtype=torch.uint8).set_(shared)
        torch.cat([rearrange(frames, "t c h w -> (t h w c)") for frames in self.frames], out=packed)
        return _unpack, (vars(self) | {"frames": packed}, shapes)


def clip_in(
    memory: UInt8[Tensor, " n"], start: int, shape: Sequence[int]
) -> UInt8[Tensor, "t c _ _"]:
    """The clip of a shape that begins there, without a copy, in the decoder's memory layout (channels last)."""
    t, c, h, w = shape
    return rearrange(
        memory[start : start + math.prod(shape)], "(t h w c) -> t c h w", t=t, c=c, h=h, w=w
    )


def _unpack(fields: dict[str, Any], shapes: list[tuple[int, int, int, int]]) -> ClipBatch:
    """The batch again, its clips as without a worker."""
    parts = torch.split(fields["frames"], [math.prod(shape) for shape in shapes])
    frames = [clip_in(part, 0, shape) for part, shape in zip(parts, shapes, strict=True)]
    return ClipBatch(**(fields | {"frames": frames}))
