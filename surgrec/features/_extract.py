"""Extract the features of all videos, one file per video; continue after an interruption."""

import hashlib
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from surgrec import __version__
from surgrec.errors import ConfigError, SetupError
from surgrec.features._encoders import EncoderChoice, describe_encoder, open_encoder
from surgrec.features._extract_video import Precision
from surgrec.features._files import read_header_and_starts
from surgrec.features._job import Job, Outcome, feature_settings
from surgrec.features._open_videos import open_videos
from surgrec.features._processes import run_job
from surgrec.features._table import FEATURES_FILE, FailedWindow, WindowRow, write_tables
from surgrec.ranges import Range, check_ranges
from surgrec.storage import TEMPORARY, Store, open_store
from surgrec.storage.lock import hold

DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Settings of the feature extraction."""

    stride_s: Annotated[float, Range(0.001, 10**9)] = 1.0
    """Seconds from the start of one window to the start of the next."""
    batch: Annotated[int, Range(1, 4096)] = 16
    """Windows per forward pass."""
    precision: Precision = "no"
    """Autocast of the forward passes."""
    device: DeviceName = "auto"
    """Device of the encoder; auto selects GPUs if there are any."""
    processes: Annotated[int, Range(1, 256)] = 1
    """Videos processed at once, each in its own process; processes share the GPUs."""
    allow_repeated_frames: bool = False
    """Also process videos with fewer frames per second than a window. Their frames repeat."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The progress after one more video."""

    done: int
    """Videos done so far."""
    total: int
    """Videos in all."""
    windows: int
    """Windows of this video with a feature."""
    failed: int
    """Windows of this video that were left out; 1 if the whole video is unreadable."""
    in_gaps: int
    """Windows of this video that touch a stretch without pictures."""
    is_too_short: bool
    """Whether this video is shorter than a window."""
    reused: bool
    """Whether its features existed already."""
    repeats_frames: bool
    """Whether it has fewer frames per second than a window."""
    encoder: str
    """Name and training step of the encoder, for messages."""


def extract(
    data: Sequence[str],
    choice: EncoderChoice,
    config: ExtractConfig,
    out: Path,
    only: Collection[tuple[str, str]] | None = None,
    *,
    frame_fps: float = 0.0,
    frames_from: str = "",
) -> Generator[Extracted, None, None]:
    """Write the features of all windows of all videos; yield the progress after each video.

    Called again after an interruption it continues, and its files are the same, byte for byte.
    Exhaust the generator: `windows.parquet` and `features.json` are written after the last video.

    Args:
        data: Roots of corpora, or one folder of videos.
        choice: The encoder.
        config: Settings of the extraction.
        out: Folder for the features.
        only: Source and video of the videos of a corpus to process; None for all.
        frame_fps: Of a folder of videos that are given as pictures: how many of their numbers pass
            per second. 0: the folder has video files.
        frames_from: Expression with the named group `frame`, which finds the number in the path of
            a picture. Empty: the pictures of each folder are a video.

    Raises:
        ConfigError: The folder has features of another encoder or setting, another process
            writes to it, or frames of a corpus would repeat.
        StorageError: A shard cannot be read, a file cannot be written, or a process died.
        SetupError: torch finds no GPU, or torchcodec does not work.

    Example:
        >>> choice = EncoderChoice(path=Path("runs/jepa"))
        >>> for video in extract(["/data/corpus"], choice, ExtractConfig(), Path("features")):
        ...     print(video.done, "of", video.total)
    """
    devices = _devices(config)
    videos = open_videos(data, only, frame_fps=frame_fps, frames_from=frames_from)
    encoder = open_encoder(choice, torch.device("cpu"))
    videos.require(encoder.sampling, allow_repeated_frames=config.allow_repeated_frames)
    settings = feature_settings(encoder, config.stride_s, config.precision)

    job = Job(
        videos=videos,
        choice=choice,
        stride_s=config.stride_s,
        batch=config.batch,
        precision=config.precision,
        settings=settings,
        out=out,
        allow_repeated_frames=config.allow_repeated_frames,
    )
    facts = {"encoder": encoder.facts, "settings": settings, "surgrec": __version__}
    described = describe_encoder(encoder.facts)
    del encoder

    store = open_store(out)
    with _held(out):
        _check_settings(out, settings)
        store.delete(FEATURES_FILE)  # the folder is incomplete until this file is written again

        outcomes: list[Outcome] = []
        for outcome in run_job(job, devices):
            outcomes.append(outcome)
            yield Extracted(
                done=len(outcomes),
                total=len(videos.entries),
                windows=len(outcome.starts),
                failed=len(outcome.header.failed),
                in_gaps=sum(gap.windows for gap in outcome.header.gaps),
                is_too_short=_is_too_short(outcome),
                reused=outcome.reused,
                repeats_frames=outcome.header.repeats_frames,
                encoder=described,
            )

        outcomes.sort(key=lambda outcome: (outcome.entry.source, outcome.entry.video))
        _write_tables(store, outcomes, facts, videos.facts)


def _devices(config: ExtractConfig) -> list[str]:
    """Return the device of each process."""
    gpus = torch.cuda.device_count() if config.device != "cpu" else 0
    if config.device == "cuda" and not gpus:
        raise SetupError(
            "--device is cuda, but torch finds no GPU on this machine; give --device cpu"
        )
    return [f"cuda:{number % gpus}" if gpus else "cpu" for number in range(config.processes)]


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Create the folder, and lock it against other processes."""
    out.mkdir(parents=True, exist_ok=True)
    lock = hold(out, doing="writing features")
    try:
        # Remove unfinished files of a killed command: no other process writes here.
        for partial in out.glob(f"**/{TEMPORARY}*"):
            partial.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _check_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder of other features. All files of a folder agree, so check only one."""
    path = min(out.glob("*/*.safetensors"), default=None)
    saved = read_header_and_starts(path)[0].settings if path else settings
    names = sorted(name for name in {*saved, *settings} if saved.get(name) != settings.get(name))

    if names:
        different = ", ".join(
            f"{name} {saved.get(name)!s:.16} in the folder and {settings.get(name)!s:.16} now"
            for name in names
        )
        raise ConfigError(
            f"{out} holds features of another encoder or setting ({different}); "
            "choose another --out"
        )


def _write_tables(
    store: Store, outcomes: Sequence[Outcome], facts: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """Write the tables of all videos, with their counts."""
    span_s = facts["settings"]["num_frames"] / facts["settings"]["fps"]
    rows = [
        WindowRow(
            **vars(outcome.entry),
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
            **_names_of(outcome),
            start_s=failure.start_s,
            reason=failure.reason,
        )
        for outcome in outcomes
        for failure in outcome.header.failed
    ]

    gaps = [
        {**_names_of(outcome), **vars(gap)} for outcome in outcomes for gap in outcome.header.gaps
    ]

    too_short = [_names_of(outcome) for outcome in outcomes if _is_too_short(outcome)]

    made_by = {tuple(sorted(outcome.header.made_by.items())) for outcome in outcomes}
    counts = {
        "cases": len({(outcome.entry.source, outcome.entry.case) for outcome in outcomes}),
        "videos": len(outcomes),
        "videos_failed": sum(failure.start_s is None for failure in failed),
        "videos_too_short": len(too_short),
        "windows": len(rows),
        "windows_failed": sum(failure.start_s is not None for failure in failed),
        "windows_in_gaps": sum(gap.windows for outcome in outcomes for gap in outcome.header.gaps),
        "videos_with_repeated_frames": dict(
            Counter(outcome.entry.source for outcome in outcomes if outcome.header.repeats_frames)
        ),
    }

    facts_of_data = {
        "data": {**data, "digest": _data_digest(outcomes)},
        "made_by": [dict(items) for items in sorted(made_by, key=str)],
        "counts": counts,
        "gaps": gaps,
        "too_short": too_short,
    }
    write_tables(store, rows, failed, {**facts, **facts_of_data})


def _names_of(outcome: Outcome) -> dict[str, str]:
    """Return the names by which a list of `features.json` names a video."""
    entry = outcome.entry
    return {"source": entry.source, "case": entry.case, "video": entry.video}


def _is_too_short(outcome: Outcome) -> bool:
    """Return whether a readable video has no window, and none was left out."""
    left_out = outcome.header.failed or outcome.header.gaps
    return not len(outcome.starts) and not left_out


def _data_digest(outcomes: Sequence[Outcome]) -> str:
    """Return a digest that changes with the name or the bytes of any video, and their number."""
    lines = [
        f"{outcome.entry.source}/{outcome.entry.video} {outcome.header.digest}\n"
        for outcome in outcomes
    ]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
