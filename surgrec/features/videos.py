"""What features are taken from: recordings with a time of their own, from corpora or from a folder of video files."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from surgrec.errors import SampleError
from surgrec.features.windows import TimeSpan


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One video, by what its windows are known for."""

    source: str
    domain: str
    case: str
    video: str
    split: str


@dataclass(frozen=True, kw_only=True)
class DecodedFrames:
    """Frames that were decoded together, or why they could not be."""

    places: Int64[np.ndarray, " k"]
    """Which of the moments that were asked for they show."""
    frames: UInt8[Tensor, "k c _ _"] | SampleError
    """The central square, RGB in [0, 255]; the sizes of pieces may differ."""


class VideoReader(ABC):
    """A recording that was opened."""

    name: str
    """For the file of its features; unique in its source."""
    digest: str
    """Changes with any bit of what is decoded."""

    @property
    @abstractmethod
    def stretches(self) -> tuple[TimeSpan, ...]:
        """What can be shown without a gap. SampleError if the whole recording is bad."""

    @abstractmethod
    def pieces(self, times: Float64[np.ndarray, " t"]) -> list[DecodedFrames]:
        """What is on screen at these moments, ascending, seconds of the video's own time: each in exactly one piece.

        Raises:
            StorageError: It cannot be read: an outage, never a bad sample.
        """


class Recordings(ABC):
    """All recordings of an extraction. Picklable, so that every process sees the same ones."""

    recordings: list[Recording]
    """Sorted by source and video."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Where they come from, as JSON."""

    @abstractmethod
    def open(self, recording: Recording) -> VideoReader:
        """One of them, to look at."""
