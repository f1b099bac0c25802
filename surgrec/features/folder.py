"""Recordings that lie in a folder as video files, decoded where they are."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor

from surgrec.clips import central_crop, torchcodec_classes
from surgrec.errors import SampleError, StorageError
from surgrec.features.videos import DecodedFrames, Recording, Recordings, VideoReader
from surgrec.features.windows import HAIR_S, TimeSpan
from surgrec.manifest import scan_folder
from surgrec.storage import file_sha256

SOURCE = "videos"
"""What stands in the column `source` for a folder, and is the folder of its features."""
SHORT_SIDE_PX = 256
"""Larger videos are scaled down to it inside the decoder: the size of stored clips, unless a build was told otherwise."""
_DECODE_THREADS = 4  # of one file; frames are the same for every number of them
_FAILURES = (RuntimeError, ValueError, IndexError)
"""What torchcodec raises for a file that it cannot read."""


class VideoFolder(Recordings):
    """Every video file below a folder; each is its own case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = [video.path for video in scan_folder(folder, source=SOURCE, domain="other")]
        self.recordings = [
            Recording(source=SOURCE, domain="", case=name, video=name, split="")
            for name in sorted(path.relative_to(folder).as_posix() for path in paths)
        ]

    @property
    def facts(self) -> dict[str, Any]:
        """Where the folder is."""
        return {"kind": "folder", "addresses": [str(self._folder.resolve())]}

    def open(self, recording: Recording) -> "VideoFile":
        """One video file.

        Raises:
            StorageError: The file cannot be read.
        """
        return VideoFile(self._folder / recording.video)


class VideoFile(VideoReader):
    """A video file as a recording. Its time begins with its first frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.digest = file_sha256(path)
        except OSError as error:
            raise StorageError(
                f"{path}: {error.strerror}; check the file, its permissions and its disk"
            ) from error
        self.name = self.digest[:12]

    @property
    def stretches(self) -> tuple[TimeSpan, ...]:
        """From the first frame to the end of the last.

        Raises:
            SampleError: The file is no video that torchcodec can read, or its container has no index to find frames by.
        """
        metadata = self._decoder.metadata
        end_s = float(metadata.end_stream_seconds - metadata.begin_stream_seconds)
        (middle,) = self.pieces(np.array([end_s / 2]))
        if isinstance(middle.frames, _MisplacedError):  # so will be all others
            raise middle.frames
        return ((0.0, end_s),)

    def pieces(self, times: Float64[np.ndarray, " t"]) -> list[DecodedFrames]:
        """One piece; where the decoder fails, one for each moment that it fails at, and some for the others."""
        try:
            frames, shown_s = self._frames(times)
        except SampleError as error:
            if len(times) == 1:
                return [DecodedFrames(places=np.zeros(1, dtype=np.int64), frames=error)]
            middle = len(times) // 2
            later = [
                DecodedFrames(places=piece.places + middle, frames=piece.frames)
                for piece in self.pieces(times[middle:])
            ]
            return self.pieces(times[:middle]) + later
        # In an AVI with B-frames the first frame may say that it comes on screen one frame after the beginning.
        late = shown_s > np.maximum(times, 1.5 / self._decoder.metadata.average_fps) + 2 * HAIR_S
        right = np.flatnonzero(~late)
        pieces = [DecodedFrames(places=right, frames=frames[right])] if len(right) else []
        return pieces + [
            DecodedFrames(
                places=np.array([place]),
                frames=_MisplacedError(float(times[place]), float(shown_s[place])),
            )
            for place in np.flatnonzero(late)
        ]

    def _frames(
        self, times: Float64[np.ndarray, " t"]
    ) -> tuple[UInt8[Tensor, "t c _ _"], Float64[np.ndarray, " t"]]:
        """The frames on screen at these moments, and when they came on screen."""
        decoder = self._decoder
        begin_s, end_s = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
        # A hair later, because a sum of times may fall just before the frame that it means.
        seconds = np.clip(times + begin_s + HAIR_S, begin_s, end_s - HAIR_S)
        try:
            found = decoder.get_frames_played_at(seconds=seconds.tolist())
        except _FAILURES as error:
            raise SampleError(
                f"it cannot be decoded at {times[0]:.3f} s ({_reason(error, self._path)})"
            ) from error
        return found.data, found.pts_seconds.numpy() - begin_s

    @functools.cached_property
    def _decoder(self) -> Any:
        video_decoder, fixed_crop = torchcodec_classes()
        from torchcodec.transforms import Resize  # type: ignore[attr-defined]  # re-exported without saying so

        try:
            metadata = video_decoder(self._path, seek_mode="approximate").metadata
            if not metadata.height or not metadata.width or not metadata.average_fps:
                raise SampleError("it is no video that can be read (no size or no frame rate)")
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
                f"it is no video that can be read ({_reason(error, self._path)})"
            ) from error


class _MisplacedError(SampleError):
    """MPEG transport and program streams have no index: FFmpeg lands behind the moment it was sent to, and says nothing."""

    def __init__(self, asked_s: float, shown_s: float) -> None:
        super().__init__(
            f"the frame of {asked_s:.3f} s cannot be found in this container, only one of {shown_s:.3f} s: "
            "copy the video into another one (ffmpeg -i VIDEO -c copy VIDEO.mkv)"
        )


def stored_size(height: int, width: int, pixel_aspect_ratio: float) -> tuple[int, int]:
    """Height and width, pixels, of a video as a corpus stores it: square pixels, short side as above, even."""
    displayed = width * pixel_aspect_ratio
    scale = min(1.0, SHORT_SIDE_PX / min(height, displayed))
    return max(2, round(height * scale / 2) * 2), max(2, round(displayed * scale / 2) * 2)


def _reason(error: Exception, path: Path) -> str:
    """What torchcodec says, in one line, without the place in its source and the name of the file: reasons are stored."""
    lines = re.sub(r"\S+\.cpp:\d+, ", "", str(error)).strip().splitlines()
    return lines[0].replace(str(path), "the file") if lines else type(error).__name__
