"""Procedural cases of surgery, small and of any length, and copies of them."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surgrec_shard.phantom.phases import FrameSpan, write_script
from surgrec_shard.phantom.render import render
from surgrec_shard.phantom.render_corpus import LABEL_COLUMNS
from surgrec_shard.phantom.videos import SOURCES, PhantomVideo, generator

from tests.support.tool import write_csv


def render_case(
    folder: Path,
    case: int,
    *,
    domain: str = "laparoscopy",
    seconds: float = 20.0,
    width_px: int = 192,
    seed: int = 7,
    outside_s: Sequence[tuple[float, float]] | None = None,
) -> Path:
    """Render one case at 8 frames per second and return its file.

    Args:
        folder: Folder of the file, in a folder of the source.
        case: Its number; each is another patient.
        domain: Its clinical field.
        seconds: Length.
        width_px: Width of the frames.
        seed: Seed of all cases.
        outside_s: Times when the camera is outside the body, with which a file of labels is written
            beside the video; None: those of the phantom, which last two seconds at most.
    """
    native = next(source for source in SOURCES if source.domain.name == domain)
    height = round(native.height * width_px / native.width / 2) * 2
    source = replace(native, fps=8, container="mp4", width=width_px, height=height)
    script = write_script(
        generator(seed, source, case, 1),
        source.domain,
        num_frames=round(seconds * source.fps),
        fps=source.fps,
        leaves_body=case % 3 != 0,
    )
    if outside_s is not None:
        frames = [(round(start * source.fps), round(end * source.fps)) for start, end in outside_s]
        spans = tuple(FrameSpan(start=start, end=end, value="yes") for start, end in frames)
        script = replace(script, outside=spans)
    video = PhantomVideo(
        source=source, case=case, part=1, num_parts=1, split="train", script=script
    )
    (folder / source.name).mkdir(parents=True, exist_ok=True)
    render(video, seed=seed, out=folder)
    if outside_s is not None:
        rows = [dict(zip(LABEL_COLUMNS, row, strict=True)) for row in script.labels()]
        write_csv(folder / video.labels_file, rows)
    return folder / video.file


def copy_video(
    video: Path,
    copy: Path,
    *,
    start_s: float = 0.0,
    length_s: float = 1e4,
    filters: str = "null",
    crf: int = 27,
) -> Path:
    """Encode a part of a video again, with filters of ffmpeg, and return the new file."""
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
    copy.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-y", "-ss", str(start_s), "-t", str(length_s)),
        *("-i", str(video), "-vf", f"{filters},{even}", "-c:v", "libx264", "-threads", "1"),
        *("-preset", "veryfast", "-crf", str(crf), str(copy)),
    ]
    subprocess.run(command, check=True)
    return copy
