"""What the loader yields: the clips of one rank at one step, and where they came from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor


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
    """One rank's clips of one step, in the order of their positions."""

    positions: Int64[np.ndarray, " b"]
    """Places in the global order."""
    keys: list[str]
    """Sample keys; a substitute's where a sample was bad."""
    sources: list[str]
    frames: list[UInt8[Tensor, "t c _ _"]]
    """RGB in [0, 255], cropped, each clip still at its own size."""
    flipped: list[bool]
    """Whether the clip is to be mirrored."""
    quarantined: list[Quarantined]
    """Bad samples that were met on the way."""

    def pin_memory(self) -> "ClipBatch":
        """The same batch in page-locked memory; torch's DataLoader calls this."""
        return ClipBatch(**(vars(self) | {"frames": [frames.pin_memory() for frames in self.frames]}))
