"""Rendering of one video, from its plan to its file: the work of a worker process."""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.cataract import Cataract
from surgrec_shard.phantom.endoscopy import Endoscopy
from surgrec_shard.phantom.laparoscopy import Laparoscopy
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.outside import Outside
from surgrec_shard.phantom.robotic import Robotic
from surgrec_shard.phantom.scene import Scene
from surgrec_shard.phantom.videos import PhantomVideo, generator
from surgrec_shard.phantom.write_video import write_video

SCENES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Scene]] = {
    "laparoscopy": Laparoscopy,
    "endoscopy": Endoscopy,
    "cataract": Cataract,
    "robotic": Robotic,
}


def prepare_worker() -> None:
    """Make this process a worker: it uses one core, ignores Ctrl-C, and exits with its parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def render(video: PhantomVideo, *, seed: int, out: Path) -> None:
    """Render one video into the corpus folder `out`."""
    size = video.source.height, video.source.width
    planes = (cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420) for frame in frames(video, seed=seed))
    write_video(out / video.file, planes, size=size, fps=video.source.fps)


def frames(video: PhantomVideo, *, seed: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames of one video. Channels are blue, green, red. The first frame has a title."""
    size = video.source.height, video.source.width
    look = generator(seed, video.source, video.case, 0)
    scene = SCENES[video.source.domain.name](look, size)
    room = Outside(look, size)

    title = f"{video.source.domain.name}, case {video.case}, part {video.part}, seed {seed}"
    for index in range(video.script.num_frames):
        picture = _picture(scene, room, video, index)
        yield picture if index else titled(picture, ["PHANTOM - procedural, not a patient", title])


def _picture(
    scene: Scene, room: Outside, video: PhantomVideo, index: int
) -> UInt8[np.ndarray, "h w 3"]:
    moment, share = video.script.moment(index), video.script.outside_share(index)
    if share == 0:
        return scene.draw(moment)

    picture = room.draw(moment.time_s)
    if share < 1:
        # The camera loses focus on its way out.
        inside = cv2.blur(scene.draw(moment), (1 + 2 * math.ceil(6 * share),) * 2)
        picture = cv2.addWeighted(inside, 1 - share, picture, share, 0)
    return scene.optics.framed(picture)


def titled(picture: UInt8[np.ndarray, "h w 3"], lines: list[str]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture with lines of text on a dark band across its middle."""
    height, width = picture.shape[:2]
    band = picture[height // 2 - 34 : height // 2 + 34]
    band[:] = band // 5

    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    for number, line in enumerate(lines):
        scale = 0.7 if number == 0 else 0.5
        (length, _), _ = cv2.getTextSize(line, font, scale, 1)
        origin = (width - length) // 2, height // 2 - 6 + 28 * number
        cv2.putText(picture, line, origin, font, scale, white, 1, cv2.LINE_AA)
    return picture


def _exit_with_parent() -> None:
    """Exit when the parent process ends, even by a kill, so that no orphan keeps writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
