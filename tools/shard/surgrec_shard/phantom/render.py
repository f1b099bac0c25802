"""One recording from its plan to its file: what a worker process does."""

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
from surgrec_shard.phantom.recordings import Recording, generator
from surgrec_shard.phantom.robotic import Robotic
from surgrec_shard.phantom.scene import Scene
from surgrec_shard.phantom.write_video import write_video

SCENES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Scene]] = {
    "laparoscopy": Laparoscopy,
    "endoscopy": Endoscopy,
    "cataract": Cataract,
    "robotic": Robotic,
}


def prepare_worker() -> None:
    """Makes this process a worker: one core, deaf to Ctrl-C, gone when the process that started it is gone."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def render(recording: Recording, *, seed: int, out: Path) -> None:
    """Renders one recording into the corpus folder `out`."""
    size = recording.source.height, recording.source.width
    planes = (cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420) for frame in frames(recording, seed=seed))
    write_video(out / recording.video, planes, size=size, fps=recording.source.fps)


def frames(recording: Recording, *, seed: int) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The frames of one recording: blue, green, red. The first one says what it is."""
    size = recording.source.height, recording.source.width
    look = generator(seed, recording.source, recording.case, 0)
    scene = SCENES[recording.source.domain.name](look, size)
    room = Outside(look, size)
    title = (
        f"{recording.source.domain.name}, case {recording.case}, part {recording.part}, seed {seed}"
    )
    for index in range(recording.script.num_frames):
        picture = _picture(scene, room, recording, index)
        yield picture if index else titled(picture, ["PHANTOM - procedural, not a patient", title])


def _picture(
    scene: Scene, room: Outside, recording: Recording, index: int
) -> UInt8[np.ndarray, "h w 3"]:
    moment, share = recording.script.moment(index), recording.script.outside_share(index)
    if share == 0:
        return scene.draw(moment)
    view = room.draw(moment.time_s)
    if share < 1:
        # Focus is lost on the way out.
        inside = cv2.blur(scene.draw(moment), (1 + 2 * math.ceil(6 * share),) * 2)
        view = cv2.addWeighted(inside, 1 - share, view, share, 0)
    return scene.optics.framed(view)


def titled(picture: UInt8[np.ndarray, "h w 3"], lines: list[str]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture with lines of text on a dark band across its middle."""
    height, width = picture.shape[:2]
    band = picture[height // 2 - 34 : height // 2 + 34]
    band[:] = band // 5
    for number, line in enumerate(lines):
        scale = 0.7 if number == 0 else 0.5
        (length, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        place = (width - length) // 2, height // 2 - 6 + 28 * number
        cv2.putText(
            picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA
        )
    return picture


def _leave_with_parent() -> None:
    """Ends this process when the one that started it is gone, even by a kill, so that nothing writes on unseen."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
