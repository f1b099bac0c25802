"""The video files of a folder, decoded without building a corpus."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor

from surgrec.clips import central_crop, torchcodec_classes
from surgrec.errors import SampleError, StorageError
from surgrec.features._videos import DecodedFrames, VideoEntry, VideoReader, VideoSet
from surgrec.features._windows import HAIR_S, TimeSpan
from surgrec.storage import file_sha256
from surgrec.terminal import escape, say
from surgrec.video_folder import printable_name, search_folder

SOURCE = "videos"
"""Value of the column `source` for a folder, and name of the folder of its features."""
SHORT_SIDE_PX = 256
"""Larger videos are scaled down to this short side in the decoder: the default of stored clips."""
_DECODE_THREADS = 4  # of one file; frames are the same for every number of them
_FAILURES = (RuntimeError, ValueError, IndexError)
"""Errors of torchcodec for an unreadable file."""


class VideoFolder(VideoSet):
    """Every video file below a folder; each is its own case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = search_folder(folder)
        for left_out in found.left_out:
            say(f"[yellow]skipped[/yellow] {escape(f'{left_out.path}: {left_out.detail}')}")
        self._paths = {printable_name(path.relative_to(folder)): path for path in found.paths}
        self.entries = [
            VideoEntry(source=SOURCE, domain="", case=name, video=name, split="")
            for name in sorted(self._paths)
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """Path of the folder."""
        return {"kind": "folder", "addresses": [printable_name(self._folder.resolve())]}

    def open(self, entry: VideoEntry) -> "VideoFile":
        """Open one video file.

        Raises:
            StorageError: The file cannot be read.
        """
        return VideoFile(self._paths[entry.video])


class VideoFile(VideoReader):
    """A video file. Its time begins with its first frame."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
            # By its descriptor: torchcodec takes no name that is not UTF-8.
            self._path = Path(f"/proc/self/fd/{self._file.fileno()}")
            self.digest = file_sha256(path)
        except OSError as error:
            raise StorageError(
                f"{path}: {error.strerror}; check the file, its permissions and its disk"
            ) from error
        self.name = self.digest[:12]

    @property
    def fps(self) -> float:
        """Mean frame rate."""
        return float(self._decoder.metadata.average_fps)

    @property
    def spans(self) -> tuple[TimeSpan, ...]:
        """One span, from the first frame to the end of the last.

        Raises:
            SampleError: torchcodec cannot read the file, or its container has no index to seek by.
        """
        metadata = self._decoder.metadata
        end_s = float(metadata.end_stream_seconds - metadata.begin_stream_seconds)
        (middle,) = self.decode(np.array([end_s / 2]))
        if isinstance(middle.frames, _MisplacedError):  # then all frames are misplaced
            raise middle.frames
        return ((0.0, end_s),)

    def decode(self, times: Float64[np.ndarray, " t"]) -> list[DecodedFrames]:
        """Decode the frames on screen at these times, as one group.

        If the decoder fails, each time at which it fails is a group, and the other times form
        further groups.
        """
        try:
            frames, shown_s = self._frames(times)
        except SampleError as error:
            if len(times) == 1:
                return [DecodedFrames(indices=np.zeros(1, dtype=np.int64), frames=error)]
            middle = len(times) // 2
            later = [
                DecodedFrames(indices=group.indices + middle, frames=group.frames)
                for group in self.decode(times[middle:])
            ]
            return self.decode(times[:middle]) + later

        # An AVI with B-frames may place its first frame one frame after the beginning.
        late = shown_s > np.maximum(times, 1.5 / self._decoder.metadata.average_fps) + 2 * HAIR_S

        right = np.flatnonzero(~late)
        groups = [DecodedFrames(indices=right, frames=frames[right])] if len(right) else []
        return groups + [
            DecodedFrames(
                indices=np.array([index]),
                frames=_MisplacedError(float(times[index]), float(shown_s[index])),
            )
            for index in np.flatnonzero(late)
        ]

    def _frames(
        self, times: Float64[np.ndarray, " t"]
    ) -> tuple[UInt8[Tensor, "t c _ _"], Float64[np.ndarray, " t"]]:
        """Return the frames on screen at these times, and the times at which they appeared."""
        decoder = self._decoder
        begin_s, end_s = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
        # A hair later: a rounded time may fall just before its frame.
        seconds = np.clip(times + begin_s + HAIR_S, begin_s, end_s - HAIR_S)
        try:
            batch = decoder.get_frames_played_at(seconds=seconds.tolist())
        except _FAILURES as error:
            raise SampleError(
                f"it cannot be decoded at {times[0]:.3f} s ({_reason(error, self._path)})"
            ) from error
        return batch.data, batch.pts_seconds.numpy() - begin_s

    @functools.cached_property
    def _decoder(self) -> Any:
        video_decoder, fixed_crop = torchcodec_classes()
        from torchcodec.transforms import Resize  # type: ignore[attr-defined]  # not in __all__

        try:
            metadata = video_decoder(self._path, seek_mode="approximate").metadata
            if not metadata.height or not metadata.width or not metadata.average_fps:
                raise SampleError("it is not a readable video (no size or no frame rate)")
            height, width = stored_size(
                metadata.height, metadata.width, float(metadata.pixel_aspect_ratio or 1)
            )
            return video_decoder(
                self._path,
                seek_mode="exact",
                num_ffmpeg_threads=_DECODE_THREADS,
                transforms=[Resize((height, width)), fixed_crop(central_crop(height, width))],
            )
        except _FAILURES as error:
            raise SampleError(
                f"it is not a readable video ({_reason(error, self._path)})"
            ) from error


class _MisplacedError(SampleError):
    """A frame of another time was decoded.

    MPEG transport and program streams have no index, and FFmpeg seeks past the requested time
    without an error.
    """

    def __init__(self, asked_s: float, shown_s: float) -> None:
        super().__init__(
            f"the frame at {asked_s:.3f} s cannot be found in this container, "
            f"only one at {shown_s:.3f} s: "
            "copy the video into another one (ffmpeg -i VIDEO -c copy VIDEO.mkv)"
        )


def stored_size(height: int, width: int, pixel_aspect_ratio: float) -> tuple[int, int]:
    """Return height and width in pixels of a video as a corpus stores it.

    Pixels are square, the short side is at most `SHORT_SIDE_PX`, and both sides are even.
    """
    displayed = width * pixel_aspect_ratio
    scale = min(1.0, SHORT_SIDE_PX / min(height, displayed))
    return max(2, round(height * scale / 2) * 2), max(2, round(displayed * scale / 2) * 2)


def _reason(error: Exception, path: Path) -> str:
    """Return torchcodec's message in one line, without source locations and the file's name.

    Reasons are stored with the features.
    """
    lines = re.sub(r"\S+\.cpp:\d+, ", "", str(error)).strip().splitlines()
    return lines[0].replace(str(path), "the file") if lines else type(error).__name__
