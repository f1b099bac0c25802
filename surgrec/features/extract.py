"""Features of every window of every video: one file per video, complete or absent, continued where it stopped."""

import hashlib
import os
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from surgrec import __version__
from surgrec.clips import torchcodec_classes
from surgrec.errors import ConfigError, SetupError
from surgrec.features.encoders import EncoderChoice, open_encoder
from surgrec.features.extract_video import Precision
from surgrec.features.files import read_header_and_starts
from surgrec.features.job import Job, Outcome, feature_settings
from surgrec.features.open_videos import open_videos
from surgrec.features.processes import run_job
from surgrec.features.table import FEATURES_FILE, FailedWindow, WindowRow, write_tables
from surgrec.storage import TEMPORARY, Store, acquire, open_store

DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """How features are computed."""

    stride_s: float = 1.0
    """Seconds from one window to the next."""
    batch: int = 16
    """Windows per forward pass."""
    precision: Precision = "no"
    """Autocast of the forward passes."""
    device: DeviceName = "auto"
    """Where the encoder runs; auto takes GPUs where there are any."""
    processes: int = 1
    """Videos at once, each in a process of its own; they take turns on the GPUs."""

    def __post_init__(self) -> None:
        if self.stride_s <= 0 or min(self.batch, self.processes) < 1:
            raise ConfigError(
                f"stride_s {self.stride_s} must be positive, batch {self.batch} and processes {self.processes} at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """One more video is done."""

    done: int
    """Videos that are done."""
    total: int
    """Videos in all."""
    windows: int
    """Windows of this one."""
    failed: int
    """Windows of this one that were left out; 1 where the whole video cannot be read."""
    was_there: bool
    """Whether its features were there already."""


def extract(
    data: Sequence[str],
    choice: EncoderChoice,
    config: ExtractConfig,
    out: Path,
    only: Collection[tuple[str, str]] | None = None,
) -> Generator[Extracted, None, None]:
    """Writes the features of all windows of all videos, and yields after each video.

    Called again, it goes on where it stopped; what it leaves behind is the same, byte for byte. Run it to its end:
    `windows.parquet` and `features.json` are written after the last video.

    Args:
        data: Roots of corpora, or one folder of videos.
        choice: The encoder.
        config: How features are computed.
        out: Folder for the features.
        only: Source and video of those to take of a corpus; None for all of them.

    Raises:
        ConfigError: The folder holds features of another encoder or setting, or another process writes there.
        StorageError: A shard cannot be read, a file cannot be written, or a process died.
        SetupError: There is no GPU, or no torchcodec that works.
    """
    torchcodec_classes()  # a machine without it says so here, not for every video
    devices = _devices(config)
    recordings = open_videos(data, only)
    frozen = open_encoder(choice, torch.device("cpu"))
    settings = feature_settings(frozen, config.stride_s, config.precision)
    job = Job(
        recordings=recordings,
        choice=choice,
        stride_s=config.stride_s,
        batch=config.batch,
        precision=config.precision,
        settings=settings,
        out=out,
    )
    facts = {"encoder": frozen.facts, "settings": settings, "surgrec": __version__}
    del frozen
    store = open_store(out)
    with _held(out):
        _check_settings(out, settings)
        store.delete(FEATURES_FILE)  # until it is there again, the folder is not complete
        outcomes: list[Outcome] = []
        for outcome in run_job(job, devices):
            outcomes.append(outcome)
            yield Extracted(
                done=len(outcomes),
                total=len(recordings.recordings),
                windows=len(outcome.starts),
                failed=len(outcome.header.failed),
                was_there=outcome.was_there,
            )
        outcomes.sort(key=lambda outcome: (outcome.recording.source, outcome.recording.video))
        _write_tables(store, outcomes, facts, recordings.facts)


def _devices(config: ExtractConfig) -> list[str]:
    """A device for each process."""
    gpus = torch.cuda.device_count() if config.device != "cpu" else 0
    if config.device == "cuda" and not gpus:
        raise SetupError(
            "--device cuda: this machine has no GPU that torch can use; take --device cpu"
        )
    return [f"cuda:{number % gpus}" if gpus else "cpu" for number in range(config.processes)]


@contextmanager
def _held(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    lock = acquire(out, doing="writing features")
    try:
        for partial in out.glob(
            f"**/{TEMPORARY}*"
        ):  # of a command that was killed: nobody else writes here
            partial.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuses a folder of other features. One file is enough: a folder holds files of one kind."""
    path = min(out.glob("*/*.safetensors"), default=None)
    there = read_header_and_starts(path)[0].settings if path else settings
    names = sorted(name for name in {*there, *settings} if there.get(name) != settings.get(name))
    if names:
        different = ", ".join(
            f"{name} {there.get(name)!s:.16} there and {settings.get(name)!s:.16} here"
            for name in names
        )
        raise ConfigError(
            f"{out} holds features of another encoder or setting ({different}); choose another --out"
        )


def _write_tables(
    store: Store, outcomes: Sequence[Outcome], facts: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    span_s = facts["settings"]["num_frames"] / facts["settings"]["fps"]
    rows = [
        WindowRow(
            **vars(outcome.recording),
            start_s=float(start_s),
            end_s=float(start_s) + span_s,
            file=outcome.file,
            row=row,
        )
        for outcome in outcomes
        for row, start_s in enumerate(outcome.starts)
    ]
    failed = [
        FailedWindow(
            source=outcome.recording.source,
            case=outcome.recording.case,
            video=outcome.recording.video,
            start_s=failure.start_s,
            reason=failure.reason,
        )
        for outcome in outcomes
        for failure in outcome.header.failed
    ]
    made_by = {tuple(sorted(outcome.header.made_by.items())) for outcome in outcomes}
    counts = {
        "cases": len({(outcome.recording.source, outcome.recording.case) for outcome in outcomes}),
        "videos": len(outcomes),
        "videos_failed": sum(failure.start_s is None for failure in failed),
        "videos_too_short": sum(
            not len(outcome.starts) and not outcome.header.failed for outcome in outcomes
        ),
        "windows": len(rows),
        "windows_failed": sum(failure.start_s is not None for failure in failed),
    }
    more = {
        "data": {**data, "digest": _data_digest(outcomes)},
        "made_by": [dict(made) for made in sorted(made_by, key=str)],
        "counts": counts,
    }
    write_tables(store, rows, failed, {**facts, **more})


def _data_digest(outcomes: Sequence[Outcome]) -> str:
    """Changes with the name or the bytes of any video, and with their number."""
    lines = [
        f"{outcome.recording.source}/{outcome.recording.video} {outcome.header.digest}\n"
        for outcome in outcomes
    ]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
