"""Rendering of the corpus folder: videos, labels and a manifest. A killed render continues."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from surgrec.errors import ConfigError, SetupError
from surgrec.recordings import find_program
from surgrec_shard.disk import OTHER_OUT, writing_to
from surgrec_shard.phantom.videos import PhantomVideo, plan_videos

VERSION = 1
"""Version of the pictures. Raise it when the same seed renders other pictures."""

MANIFEST_COLUMNS = (
    "path",
    "source",
    "domain",
    "case",
    "split",
    "procedure",
    "view",
    "license",
    "labels",
)

LABEL_COLUMNS = ("task", "start_s", "end_s", "value")

LICENSE = "CC0-1.0"

Progress = Callable[[int, int], None]


def render_corpus(
    out: Path,
    *,
    seed: int,
    minutes: float = 12.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Render a corpus into a folder and return its manifest, `videos.csv`.

    On one machine the same seed and minutes give the same bytes, with any number of workers.
    Existing videos are kept, so that a killed render continues. The manifest is written last.

    Args:
        out: A new or empty folder, or one in which this corpus was begun.
        seed: 0 or more.
        minutes: Minutes of video over all sources. No video is shorter than 8 s, so a very short
            corpus is a little longer.
        workers: Number of processes; None: one per core.
        progress: Called with the number of finished and of all videos, at the start and after each.

    Raises:
        ConfigError: A number is invalid, or the folder contains something else.
        SetupError: OpenCV or ffmpeg is missing, or a worker was killed.
        StorageError: The folder cannot be written.
    """
    if seed < 0 or minutes <= 0:
        raise ConfigError(
            f"seed is {seed} and minutes is {minutes:g}; give a seed of 0 or more, and more than "
            "0 minutes"
        )
    find_program("ffmpeg")  # raises before anything is written
    from surgrec_shard.phantom.render import prepare_worker, render  # OpenCV is an optional extra

    _claim(out, json.dumps({"version": VERSION, "seed": seed, "minutes": float(minutes)}))
    videos = plan_videos(seed, minutes)
    for video in videos:
        with writing_to(out, OTHER_OUT):
            (out / video.source.name).mkdir(exist_ok=True)
        _write(out / video.labels_file, _table(LABEL_COLUMNS, video.script.labels()))

    # The longest videos come first, so that no worker is left with one at the end.
    missing = [video for video in videos if not (out / video.file).exists()]
    missing.sort(key=lambda video: -video.num_pixels)
    num_workers = min(workers or len(os.sched_getaffinity(0)), max(len(missing), 1))
    with ProcessPoolExecutor(
        num_workers, mp_context=get_context("spawn"), initializer=prepare_worker
    ) as pool:
        futures = [pool.submit(render, video, seed=seed, out=out) for video in missing]
        _wait(pool, futures, len(videos), progress or (lambda done, total: None))

    for abandoned in out.glob("*/.*.partial"):  # from killed renders
        abandoned.unlink()
    manifest = out / "videos.csv"
    _write(manifest, _table(MANIFEST_COLUMNS, map(_manifest_row, videos)))
    return manifest


def _wait(
    pool: ProcessPoolExecutor, futures: list[Future[None]], total: int, progress: Progress
) -> None:
    """Wait for all videos. After a failure, wait only for those that are being rendered."""
    done = total - len(futures)
    progress(done, total)

    try:
        for future in as_completed(futures):
            future.result()
            done += 1
            progress(done, total)
    except BrokenProcessPool as error:
        raise SetupError(
            "a rendering process was killed; if memory ran out, use fewer --workers, and run the "
            "same command again to continue"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _claim(out: Path, settings: str) -> None:
    """Mark a folder as the corpus of these settings. Refuse a folder with other content."""
    with writing_to(out, OTHER_OUT):
        out.mkdir(parents=True, exist_ok=True)

    note = out / "phantom.json"
    if note.exists():
        saved = note.read_text(encoding="utf-8").strip()
        if saved != settings:
            raise ConfigError(
                f"{out} contains a phantom corpus of other settings ({saved}, now {settings}); "
                "choose another folder"
            )
    elif any(out.iterdir()):
        raise ConfigError(
            f"{out} is not empty and contains no phantom corpus (no phantom.json); "
            "choose another folder"
        )
    _write(note, settings + "\n")


def _manifest_row(video: PhantomVideo) -> list[str]:
    source, domain = video.source, video.source.domain
    case = f"{source.name}-{video.case:02d}"
    identity = [video.file, source.name, domain.name, case, video.split]
    return [*identity, domain.procedure, domain.view, LICENSE, video.labels_file]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    """Write a file, complete or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing_to(path.parent, OTHER_OUT):
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
