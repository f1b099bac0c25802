"""Shot cuts: at each, the current clip ends and the next one begins.

PySceneDetect compares consecutive stored pictures. Its adaptive detector judges a picture by the
two before it and the two behind it, so a camera that moves is no cut.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from surgrec.errors import SetupError, how_to_install
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.sampling import Frames

try:
    import cv2
    import scenedetect
    from scenedetect.detectors import AdaptiveDetector
except ImportError as error:
    raise SetupError(f"--curate.shots needs PySceneDetect: {how_to_install('shots')}") from error

DETECTOR = f"scenedetect {scenedetect.__version__}"
"""The program that finds the cuts; another version may find others."""
_WINDOW = 2
"""Pictures on either side with which a change is compared."""
_LONG_SIDE_PX = 256
"""About the size at which pictures are compared."""


class ShotCutter:
    """Finds the shot cuts of one video.

    Args:
        frames: The format of the frames.
    """

    def __init__(self, frames: FrameFormat) -> None:
        self._frames = frames
        self._step = max(1, max(frames.width, frames.height) // _LONG_SIDE_PX)
        self._waiting: deque[Frames] = deque()
        self._begin()
        self.cuts_s: list[float] = []
        """When new shots begin, seconds, complete after the last frame."""

    def kept(self, frames: Iterable[Frames]) -> Iterator[Frames]:
        """Yield all frames. At a cut an encoder must start anew."""
        for shown in frames:
            if shown.starts:
                yield from self._end()
                # Copies of the first picture complete the windows of the next ones.
                for _ in range(_WINDOW):
                    self._compare(shown)
            elif self._repeats(shown):
                last = self._waiting[-1]
                self._waiting[-1] = replace(last, count=last.count + shown.count)
                continue
            self._waiting.append(shown)
            is_cut = self._compare(shown)
            if len(self._waiting) > _WINDOW:
                yield self._next(is_cut)
        yield from self._end()

    def _begin(self) -> None:
        self._detector = AdaptiveDetector(window_width=_WINDOW, min_scene_len=0)
        self._compared = 0

    def _end(self) -> Iterator[Frames]:
        """Yield the frames that wait. Copies of the last picture complete their windows."""
        last = self._waiting[-1] if self._waiting else None
        while last is not None and self._waiting:
            yield self._next(self._compare(last))
        self._begin()

    def _repeats(self, shown: Frames) -> bool:
        """Return whether the last picture goes on: a change is compared with other changes."""
        last = self._waiting[-1]
        return last.count < self._frames.rate and last.data == shown.data

    def _next(self, is_cut: bool) -> Frames:
        shown = self._waiting.popleft()
        if not is_cut:
            return shown
        self.cuts_s.append(round(float(shown.first / self._frames.rate), 6))
        return replace(shown, starts=True)

    def _compare(self, shown: Frames) -> bool:
        """Return whether a shot begins with the picture that came before the last two."""
        width, height = self._frames.width, self._frames.height
        planes = np.frombuffer(shown.data, np.uint8).reshape(height * 3 // 2, width)
        colors = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
        small = np.ascontiguousarray(colors[:: self._step, :: self._step])
        # The detector needs the order of the pictures, and no times.
        time = scenedetect.FrameTimecode(self._compared, fps=self._frames.rate)
        self._compared += 1
        return bool(self._detector.process_frame(time, small))
