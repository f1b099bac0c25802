"""Extract the features of all videos, one file per video; continue after an interruption."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from surgrec import __version__
from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.features._cluster import absolute_address, run_on_cluster
from surgrec.features._encoders import EncoderChoice, open_encoder
from surgrec.features._extract_config import ExtractConfig
from surgrec.features._files import read_header_and_starts
from surgrec.features._job import Job, Outcome, Target, feature_settings
from surgrec.features._open_videos import open_videos
from surgrec.features._processes import run_job
from surgrec.features._summary import is_too_short, write_summary
from surgrec.features._table import FEATURES_FILE
from surgrec.features.interface import describe_encoder
from surgrec.storage import TEMPORARY, open_store
from surgrec.storage.lock import hold


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
        SetupError: torch finds no GPU, torchcodec does not work, or the Ray cluster or one of its
            machines lacks something.
        MachineError: The Ray cluster lost the machines of a video again and again.

    Example:
        >>> choice = EncoderChoice(path=Path("runs/jepa"))
        >>> for video in extract(["/data/corpus"], choice, ExtractConfig(), Path("features")):
        ...     print(video.done, "of", video.total)
    """
    for _, video in extract_several(
        data, {out: choice}, config, only, frame_fps=frame_fps, frames_from=frames_from
    ):
        yield video


def extract_several(
    data: Sequence[str],
    choices: Mapping[Path, EncoderChoice],
    config: ExtractConfig,
    only: Collection[tuple[str, str]] | None = None,
    *,
    frame_fps: float = 0.0,
    frames_from: str = "",
) -> Generator[tuple[Path, Extracted], None, None]:
    """Write the features of several encoders in one pass over the videos; see `extract`.

    Each video is decoded once. The files are those of one extraction after the other. All encoders
    are in memory at once.

    Args:
        data: As for `extract`.
        choices: The encoders, by the folders of their features. Their windows have the same number
            of frames and the same rate.
        config: Settings of the extraction.
        only: As for `extract`.
        frame_fps: As for `extract`.
        frames_from: As for `extract`.

    Yields:
        After each video, for each encoder: its folder and the progress.

    Raises:
        ConfigError: The encoders have different windows; or as for `extract`.
    """
    devices = config.devices if config.engine == "local" else []
    if config.engine == "ray":
        data = [absolute_address(address) for address in data]
    videos = open_videos(data, only, frame_fps=frame_fps, frames_from=frames_from)
    parts = [_open_part(choice, config, out) for out, choice in choices.items()]
    sampling = _common_sampling(parts)
    videos.require(sampling, allow_repeated_frames=config.allow_repeated_frames)

    job = Job(
        videos=videos,
        targets=tuple(part.target for part in parts),
        stride_s=config.stride_s,
        batch=config.batch,
        precision=config.precision,
        allow_repeated_frames=config.allow_repeated_frames,
    )
    with ExitStack() as held:
        for part in parts:
            held.enter_context(_held(part.target.out))
            _check_settings(part.target.out, part.target.settings)
            # The folder is incomplete until this file is written again.
            open_store(part.target.out).delete(FEATURES_FILE)

        outcomes_of_videos = (
            run_on_cluster(job, config, data, sum(part.weight_bytes for part in parts))
            if config.engine == "ray"
            else run_job(job, devices)
        )
        for done, outcomes in enumerate(outcomes_of_videos, 1):
            for part, outcome in zip(parts, outcomes, strict=True):
                part.outcomes.append(outcome)
                yield part.target.out, part.progress(outcome, done, len(videos.entries))

        for part in parts:
            part.outcomes.sort(key=lambda outcome: (outcome.entry.source, outcome.entry.video))
            write_summary(open_store(part.target.out), part.outcomes, part.facts, videos.facts)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The part of an extraction that concerns one encoder."""

    target: Target
    sampling: ClipSampling
    facts: dict[str, Any]
    weight_bytes: int
    """Memory of the weights."""
    outcomes: list[Outcome] = field(default_factory=list)

    def progress(self, outcome: Outcome, done: int, total: int) -> Extracted:
        """Return the progress after a video."""
        return Extracted(
            done=done,
            total=total,
            windows=len(outcome.starts),
            failed=len(outcome.header.failed),
            in_gaps=sum(gap.windows for gap in outcome.header.gaps),
            is_too_short=is_too_short(outcome),
            reused=outcome.reused,
            repeats_frames=outcome.header.repeats_frames,
            encoder=describe_encoder(self.facts["encoder"]),
        )


def _open_part(choice: EncoderChoice, config: ExtractConfig, out: Path) -> _Part:
    """Read the facts of an encoder. Its weights do not stay in memory."""
    encoder = open_encoder(choice, torch.device("cpu"))
    settings = feature_settings(encoder, config.stride_s, config.precision)
    weights = (*encoder.network.parameters(), *encoder.network.buffers())
    return _Part(
        target=Target(choice=choice, settings=settings, out=out),
        sampling=encoder.sampling,
        facts={"encoder": encoder.facts, "settings": settings, "surgrec": __version__},
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in weights),
    )


def _common_sampling(parts: Sequence[_Part]) -> ClipSampling:
    """Return the sampling of all encoders; refuse different ones."""
    first, *others = parts
    for part in others:
        if part.sampling != first.sampling:
            words = [
                f"{each.facts['encoder']['name']} has windows of {each.sampling.num_frames} frames "
                f"at {each.sampling.fps:g} per second"
                for each in (first, part)
            ]
            raise ConfigError(
                f"{' and '.join(words)}; extract their features one after the other, or give --fps"
            )
    return first.sampling


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
