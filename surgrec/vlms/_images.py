"""The images of windows: chosen frames, central squares, JPEG."""

import io
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.errors import SampleError
from surgrec.features import WindowRow
from surgrec.features.window_clips import CorpusVideos, JoinedClips
from surgrec.vlms._config import PromptConfig
from surgrec.vlms._prompts import frame_numbers

_OPEN_VIDEOS = 16
"""Videos that stay open."""


class WindowImages:
    """The images of any window of opened corpora.

    Args:
        videos: The opened corpora.
        sampling: Frames of a window.
        config: How many of them are shown, and their size.
    """

    def __init__(self, videos: CorpusVideos, sampling: ClipSampling, config: PromptConfig) -> None:
        entries = {(entry.source, entry.video): entry for entry in videos.entries}
        self._open = lru_cache(maxsize=_OPEN_VIDEOS)(
            lambda source, video: videos.open(entries[source, video])
        )
        self._digest = cache(lambda source, video: self._open(source, video).digest)
        self._config = config
        self._offsets_s = np.array(frame_numbers(sampling.num_frames, config.frames)) / sampling.fps

    def times_s(self, row: WindowRow) -> Float64[np.ndarray, " k"]:
        """Return the times of the images, seconds of the video, ascending."""
        return np.round(row.start_s + self._offsets_s, 6)

    def references(self, row: WindowRow) -> list[list[object]]:
        """Return the identity of each image: its video's digest and its time."""
        digest = self._digest(row.source, row.video)
        size = [self._config.image_px, self._config.jpeg_quality]
        return [[digest, time_s, *size] for time_s in self.times_s(row).tolist()]

    def read(self, row: WindowRow) -> list[bytes] | SampleError:
        """Return the images as JPEG files, or the reason why a frame cannot be read.

        Raises:
            StorageError: The store cannot be read: an outage, never a bad sample.
        """
        times = self.times_s(row)
        images: dict[int, bytes] = {}
        for piece in self._video(row).pieces(times):
            if isinstance(piece.frames, SampleError):
                return piece.frames
            for index, frame in zip(piece.indices.tolist(), piece.frames, strict=True):
                images[index] = self._jpeg(frame)
        return [images[index] for index in range(len(times))]

    def _video(self, row: WindowRow) -> JoinedClips:
        video: JoinedClips = self._open(row.source, row.video)
        return video

    def _jpeg(self, frame: UInt8[Tensor, "c h w"]) -> bytes:
        image = Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy())
        size = (self._config.image_px, self._config.image_px)
        image.thumbnail(size, Image.Resampling.BICUBIC)  # never enlarges
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self._config.jpeg_quality)
        return file.getvalue()
