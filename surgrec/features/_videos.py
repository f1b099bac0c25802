"""The videos of an extraction, from corpora or from a folder of video files."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.errors import SampleError
from surgrec.features._windows import TimeSpan
from surgrec.stream.sampling_checks import RepeatedFrames


@dataclass(frozen=True, kw_only=True)
class VideoEntry:
    """The identity of one video, as in the columns of `windows.parquet`."""

    source: str
    domain: str
    case: str
    video: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Frames of a video that were decoded together, or the reason why they could not be."""

    indices: Int64[np.ndarray, " k"]
    """Indices of the frames among the requested times."""
    frames: UInt8[Tensor, "k c _ _"] | SampleError
    """The central square, RGB in [0, 255]. Its size may differ between pieces."""


class VideoReader(ABC):
    """An opened video."""

    name: str
    """Name of its file of features, unique in its source."""
    digest: str
    """Digest that changes with any bit that is decoded."""

    @property
    @abstractmethod
    def fps(self) -> float:
        """Frames per second of the slowest part that has a constant rate.

        Raises:
            SampleError: The whole video is unreadable.
        """

    @property
    @abstractmethod
    def spans(self) -> tuple[TimeSpan, ...]:
        """The parts of the video without a gap.

        Raises:
            SampleError: The whole video is unreadable.
        """

    @property
    def unread(self) -> tuple[str, ...]:
        """Sentences about an end of the video that is missing or cannot be read.

        Raises:
            SampleError: The whole video is unreadable.
        """
        return ()

    @abstractmethod
    def pieces(self, times: Float64[np.ndarray, " t"]) -> list[Piece]:
        """Decode the frames on screen at these times.

        Args:
            times: Seconds of the video, ascending.

        Returns:
            The frames in pieces. Each time belongs to exactly one piece.

        Raises:
            StorageError: The store cannot be read: an outage, never a bad sample.
        """

    def pieces_in_order(
        self, needed: Float64[np.ndarray, " n"], chunks: Iterator[Float64[np.ndarray, " _"]]
    ) -> Generator[list[Piece]]:
        """Decode the frames on screen at chunks of times.

        Args:
            needed: The times of all chunks, each once, ascending.
            chunks: Seconds of the video, ascending in each chunk. A chunk may begin before the end
                of the one before it, but not before its beginning.

        Yields:
            The pieces of each chunk, as `pieces` returns them.

        Raises:
            StorageError: The store cannot be read: an outage, never a bad sample.
        """
        for times in chunks:
            yield self.pieces(times)


class VideoSet(ABC):
    """All videos of an extraction. Picklable, so that every process has the same ones."""

    entries: list[VideoEntry]
    """Sorted by source and video."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The origin of the videos, as JSON."""

    def require(
        self, sampling: ClipSampling, *, allow_repeated_frames: bool
    ) -> list[RepeatedFrames]:
        """Refuse videos that cannot be sampled so, as far as it is known before they are opened.

        Returns:
            The sources whose frames repeat.

        Raises:
            ConfigError: Videos have fewer frames per second, so that frames would repeat.
            ShardError: The times of a clip are impossible.
        """
        return []

    @abstractmethod
    def open(self, entry: VideoEntry) -> VideoReader:
        """Open one of the videos."""
