"""The corpus folder: videos, labels and a manifest, as a hospital would have them. Cached and resumable."""

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
from surgrec_shard.disk import writing_to
from surgrec_shard.ffmpeg import tool
from surgrec_shard.phantom.recordings import Recording, plan_recordings

VERSION = 1
"""Of the pictures: raised when the same seed renders others, so that an old corpus is not taken for a new one."""

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
    """Renders the corpus of a seed into a folder, and returns its manifest, `videos.csv`.

    On one machine the same seed and minutes give the same bytes, whatever the number of workers. Videos that are
    already there are kept, so a render that was killed continues; the manifest is written last.

    Args:
        out: A new or empty folder, or one in which this corpus was begun.
        seed: 0 or more.
        minutes: Of video, over all sources; no recording is shorter than 8 s, so a tiny corpus is a little longer.
        workers: Processes; by default one for each core.
        progress: Told how many videos are done, of how many, at the start and after each.

    Raises:
        ConfigError: A number makes no sense, or the folder holds something else.
        SetupError: OpenCV or ffmpeg is missing, or a worker was ended from outside.
        StorageError: The folder cannot be written.
    """
    if seed < 0 or minutes <= 0:
        raise ConfigError(
            f"a phantom corpus needs a seed of 0 or more and minutes above 0, not {seed} and {minutes}"
        )
    tool("ffmpeg")  # missing, it is said before anything is written
    from surgrec_shard.phantom.render import (
        prepare_worker,
        render,
    )  # not above: OpenCV is an optional extra

    _claim(out, json.dumps({"version": VERSION, "seed": seed, "minutes": float(minutes)}))
    recordings = plan_recordings(seed, minutes)
    for recording in recordings:
        with writing_to(out):
            (out / recording.source.name).mkdir(exist_ok=True)
        _write(out / recording.labels, _table(LABEL_COLUMNS, recording.script.labels()))
    missing = [recording for recording in recordings if not (out / recording.video).exists()]
    # The longest first, so that no worker is left alone with it at the end.
    missing.sort(key=lambda recording: -recording.num_pixels)
    num_workers = min(workers or len(os.sched_getaffinity(0)), max(len(missing), 1))
    with ProcessPoolExecutor(
        num_workers, mp_context=get_context("spawn"), initializer=prepare_worker
    ) as pool:
        futures = [pool.submit(render, recording, seed=seed, out=out) for recording in missing]
        _follow(pool, futures, len(recordings), progress or (lambda done, total: None))
    for stale in out.glob("*/.*.partial"):  # of renders that were killed
        stale.unlink()
    manifest = out / "videos.csv"
    _write(manifest, _table(MANIFEST_COLUMNS, map(_manifest_row, recordings)))
    return manifest


def _follow(
    pool: ProcessPoolExecutor, futures: list[Future[None]], total: int, progress: Progress
) -> None:
    """Waits for the videos, and after a failure for no more than those that are being rendered."""
    done = total - len(futures)
    progress(done, total)
    try:
        for future in as_completed(futures):
            future.result()
            done += 1
            progress(done, total)
    except BrokenProcessPool as error:
        raise SetupError(
            "a rendering process was ended from outside, perhaps for want of memory; the same command continues"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _claim(out: Path, settings: str) -> None:
    """Makes a folder the corpus of these settings, or finds that it is, or refuses it."""
    with writing_to(out):
        out.mkdir(parents=True, exist_ok=True)
    note = out / "phantom.json"
    if note.exists():
        found = note.read_text(encoding="utf-8").strip()
        if found != settings:
            raise ConfigError(
                f"{out} holds the phantom corpus {found}, not {settings}: choose another folder"
            )
    elif any(out.iterdir()):
        raise ConfigError(
            f"{out} is not empty and holds no phantom corpus (no phantom.json): choose another folder"
        )
    _write(note, settings + "\n")


def _manifest_row(recording: Recording) -> list[str]:
    source, domain = recording.source, recording.source.domain
    where = [
        recording.video,
        source.name,
        domain.name,
        f"{source.name}-{recording.case:02d}",
        recording.split,
    ]
    return [*where, domain.procedure, domain.view, LICENSE, recording.labels]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    """Writes a file complete or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing_to(path.parent):
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
