"""The video files of a folder, decoded without building a corpus."""

import functools
import hashlib
import itertools
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float64, UInt8
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.clips.machine import require_machine
from surgrec.errors import SampleError
from surgrec.features._videos import Piece, VideoEntry, VideoReader, VideoSet
from surgrec.features._windows import TimeSpan
from surgrec.picture_folder import search_pictures
from surgrec.recordings import (
    BadVideoError,
    FileIdentity,
    Recording,
    RecordingFacts,
    find_program,
    inspect,
    read_frames,
)
from surgrec.recordings.picture_files import PictureFiles, open_recording
from surgrec.stream.sampling_checks import RepeatedFrames
from surgrec.terminal import escape, say
from surgrec.video_folder import files_below, open_archives, printable_name, search_folder

SOURCE = "videos"
"""Value of the column `source` for a folder, and name of the folder of its features."""
SHORT_SIDE_PX = 256
"""Larger videos are scaled down to this short side: the default of stored clips."""
_Square = UInt8[np.ndarray, "s s 3"]


class VideoFolder(VideoSet):
    """Every video below a folder; each is its own case.

    Places that could not be searched are listed like videos.

    Args:
        folder: The folder.
        frame_fps: If the videos are given as pictures: how many of their numbers pass per second.
        frames_from: Expression that finds the number in the path of a picture. Empty: the pictures
            of each folder are a video.
    """

    def __init__(self, folder: Path, frame_fps: float = 0.0, frames_from: str = "") -> None:
        self._folder = folder

        if frame_fps:
            files = open_archives(files_below(folder))
            found = search_pictures(files, frame_fps, frames_from)
        else:
            found = search_folder(folder)
        self._pictures = found.pictures
        for line in found.counts():
            say(escape(line))

        self._problems = {
            entry.path: BadVideoError(entry.reason, entry.detail) for entry in found.left_out
        }

        paths = [*found.paths, *self._problems]
        self._paths = {printable_name(path.relative_to(folder)): path for path in paths}
        self.entries = [
            VideoEntry(source=SOURCE, domain="", case=name, video=name, split="")
            for name in sorted(self._paths)
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """Path of the folder."""
        return {"kind": "folder", "addresses": [printable_name(self._folder.resolve())]}

    def require(
        self, sampling: ClipSampling, *, allow_repeated_frames: bool
    ) -> list[RepeatedFrames]:
        """Check that ffmpeg is installed. The rate of a file is known when it is opened."""
        for program in ("ffmpeg", "ffprobe"):
            find_program(program)
        return []

    def open(self, entry: VideoEntry) -> "VideoFile":
        """Open one video file."""
        path = self._paths[entry.video]
        return VideoFile(path, self._problems.get(path), self._pictures.get(path))


class VideoFile(VideoReader):
    """A video file. Its time begins with its first picture, as in a corpus.

    Args:
        path: The file.
        problem: Why it cannot be used, if that is known.
        pictures: The pictures, if the video is given as such.
    """

    def __init__(
        self,
        path: Path,
        problem: BadVideoError | None = None,
        pictures: PictureFiles | None = None,
    ) -> None:
        self._path, self._pictures = path, pictures
        self._identity: FileIdentity | None = None
        self._problem: BadVideoError | None = None
        try:
            if problem is not None:
                raise problem
            with open_recording(path, pictures) as recording:
                self._identity = recording.identity
                self.digest = recording.sha256()
            self.name = self.digest[:12]
        except BadVideoError as error:
            _require_machine(error, path)
            # Its features, which are none, are named by its path, and it is tried again.
            self._problem = error
            self.digest = ""
            self.name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]

    @property
    def fps(self) -> float:
        """Highest rate that the file really has. A still picture within it repeats no frame."""
        return self._facts.fps

    @property
    def spans(self) -> tuple[TimeSpan, ...]:
        """The stretches with pictures.

        Raises:
            SampleError: The file cannot be used.
            MachineError: Memory or open files ran out.
        """
        return self._facts.timeline.spans

    @property
    def unread(self) -> tuple[str, ...]:
        """Sentences about an end of the file that is missing or cannot be read."""
        return self._facts.unread

    def pieces(self, times: Float64[np.ndarray, " t"]) -> list[Piece]:
        """Decode the frames on screen at these times, from the beginning of the file."""
        (pieces,) = self.pieces_in_order(times, iter([times]))
        return pieces

    def pieces_in_order(
        self, needed: Float64[np.ndarray, " n"], chunks: Iterator[Float64[np.ndarray, " _"]]
    ) -> Generator[list[Piece]]:
        """Decode the file once for all chunks of times, which may overlap."""
        with closing(self._frames(needed)) as frames:
            kept: dict[int, _Square | BadVideoError] = {}
            taken = 0
            for times in chunks:
                places = np.searchsorted(needed, times).tolist()
                while taken <= places[-1]:
                    kept[taken] = next(frames)
                    taken += 1
                for place in [place for place in kept if place < places[0]]:
                    del kept[place]
                yield list(_pieces([kept[place] for place in places], self._path))

    def _frames(self, needed: Float64[np.ndarray, " n"]) -> Generator[_Square | BadVideoError]:
        """Yield the frame at each time. A file that changed meanwhile has none."""
        try:
            with self._opened() as recording:
                yield from read_frames(recording, self._facts, needed, short_side_px=SHORT_SIDE_PX)
        except BadVideoError as error:
            yield from itertools.repeat(error)

    @functools.cached_property
    def _facts(self) -> RecordingFacts:
        try:
            with self._opened() as recording:
                return inspect(recording)
        except BadVideoError as error:
            _require_machine(error, self._path)
            raise SampleError(str(error)) from error

    def _opened(self) -> Recording:
        """Open the file again, and refuse one that has changed."""
        if self._problem is not None:
            raise self._problem
        recording = open_recording(self._path, self._pictures)
        try:
            recording.require_unchanged(self._identity)
        except BadVideoError:
            recording.close()
            raise
        return recording


def _require_machine(error: BadVideoError, path: Path) -> None:
    """Raise MachineError if a video cannot be used because this process lacks means.

    A video on which ffmpeg alone ran out of memory is left out as by a build, and tried again.
    """
    if error.reason != "out_of_memory":
        require_machine(error, f"{printable_name(path)} cannot be decoded", "--processes")


def _pieces(frames: list[_Square | BadVideoError], path: Path) -> Iterator[Piece]:
    """Yield the decoded frames as one piece, and a piece per reason why others are missing.

    Raises:
        MachineError: Memory or open files ran out.
    """
    good = [index for index, frame in enumerate(frames) if not isinstance(frame, BadVideoError)]
    if good:
        squares = np.stack([frame for frame in frames if not isinstance(frame, BadVideoError)])
        tensor: Tensor = rearrange(torch.from_numpy(squares), "k h w c -> k c h w")
        yield Piece(indices=np.array(good), frames=tensor)
    for index, frame in enumerate(frames):
        if isinstance(frame, BadVideoError):
            _require_machine(frame, path)
            yield Piece(indices=np.array([index]), frames=SampleError(str(frame)))
