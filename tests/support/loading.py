"""Jobs that load clips: real processes that record every clip that training would see.

They are forked from a server that has imported torch once, so each starts at once and shares
nothing else.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from surgrec.clips import (
    AugmentConfig,
    ClipBatch,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    clip_batches,
    loader_failures_explained,
    torchcodec_classes,
)
from surgrec.errors import SurgrecError
from surgrec.shards import open_corpus
from surgrec.storage import RetryPolicy
from surgrec.stream import Mixture, Stream

SAMPLING = ClipSampling(num_frames=4, fps=4.0)
_OUTLIVE_S = 15.0
"""Seconds that processes of a job may outlive it: torch's workers check their parent every five
seconds.
"""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True, kw_only=True)
class Load:
    """Data and settings of one loading process."""

    corpora: Sequence[str | Path]
    mixture: Mixture
    seed: int = 5
    views: int = 2
    loader: LoaderConfig
    samplers: Sequence[StepSampler]
    """Samplers, each for a separate loader, one after the other."""
    policy: RetryPolicy | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    step_s: float = 0.0
    """Seconds that the simulated trainer takes per step."""


@dataclass(frozen=True, kw_only=True)
class LoadedSample:
    """One sample as training receives it."""

    position: int
    key: str
    source: str
    views: list[list[Any]]
    """Flip, shape, and digest of the pixels, per view."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The record of a job."""

    samples: list[LoadedSample]
    """Samples in the order of their arrival."""
    quarantined: list[dict[str, Any]]
    error: str
    """Class and sentence of the error that ended it; empty if it finished."""
    broken: str
    """A forbidden outcome: it hung, crashed, or left processes behind; else empty."""
    asked: int
    """Number of samples to load."""
    seconds: float


class Job:
    """A loading process and its descendants."""

    def __init__(self, load: Load, file: Path) -> None:
        self.load = load
        self._file = file
        self._began = time.monotonic()
        self.process = _processes.Process(target=_record, args=(load, file))
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def samples(self) -> list[LoadedSample]:
        """Return the samples so far."""
        return [LoadedSample(**sample) for sample in _read(self._file)["sample"]]

    def children(self) -> list[psutil.Process]:
        """Return the workers of the loader and all other descendants."""
        return psutil.Process(self.pid).children(recursive=True)

    def until(self, condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
        """Wait for a condition while the job runs."""
        deadline = time.monotonic() + deadline_s
        while not condition():
            assert self.process.is_alive(), (
                f"the job ended too early: {self._file.read_text(encoding='utf-8')[-2000:]}"
            )
            assert time.monotonic() < deadline, f"the condition was false for {deadline_s} s"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill all processes of the job with SIGKILL, as Slurm does."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.join()

    def finish(self, deadline_s: float) -> Loaded:
        """Wait for the end and return the record."""
        self.process.join(deadline_s)
        broken = ""
        if self.process.is_alive():
            broken = f"it hung: {deadline_s} s were not enough"
            self.kill()
        seconds = time.monotonic() - self._began

        left = self._left_behind()
        records = _read(self._file)
        if records["crash"]:
            broken = f"it crashed: {records['crash'][0]}"
        elif left:
            broken = broken or f"it left {left} behind"
        elif self.process.exitcode != 0:
            broken = broken or f"it ended with {self.process.exitcode}"

        return Loaded(
            samples=self.samples(),
            quarantined=records["quarantined"],
            error=(records["error"] or [""])[0],
            broken=broken,
            asked=sum(
                len(sampler) * sampler.global_batch // sampler.world_size
                for sampler in self.load.samplers
            ),
            seconds=seconds,
        )

    def _left_behind(self) -> str:
        """Kill processes of the job's group that outlive it, and return their names."""
        deadline = time.monotonic() + _OUTLIVE_S
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(self.pid, 0)
                time.sleep(0.02)
            names = [
                process.name()
                for process in psutil.process_iter()
                if _group_of(process) == self.pid
            ]
            os.killpg(self.pid, signal.SIGKILL)
            return ", ".join(names)
        return ""


def load_ranks(loads: Sequence[Load], folder: Path, deadline_s: float = 60.0) -> list[Loaded]:
    """Run several jobs at once, such as the ranks of a world, and return their records."""
    folder.mkdir(parents=True, exist_ok=True)
    first = len(list(folder.iterdir()))
    jobs = [Job(load, folder / f"{first + number}.jsonl") for number, load in enumerate(loads)]
    return [job.finish(deadline_s) for job in jobs]


def _group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return -1


def _read(file: Path) -> dict[str, list[Any]]:
    """Return the records of a job's file by kind, without an unfinished last line."""
    records: dict[str, list[Any]] = {"sample": [], "quarantined": [], "error": [], "crash": []}
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            kind, content = json.loads(line)
            records[kind].append(content)
    return records


def _record(load: Load, file: Path) -> None:
    """Load and record; runs in the process of the job."""
    os.setsid()  # a new process group, to be killed as a whole
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        os.environ.pop(name, None)
    os.environ.update(load.environment)

    with file.open("w", encoding="utf-8", buffering=1) as out:
        try:
            with loader_failures_explained():  # as the recipes do
                _load(load, out)
        except SurgrecError as error:
            _write(out, "error", f"{type(error).__name__}: {error}")
        except Exception:
            _write(out, "crash", traceback.format_exc())


def _load(load: Load, out: IO[str]) -> None:
    stream = Stream(open_corpus(load.corpora, policy=load.policy), load.mixture, load.seed)
    for sampler in load.samplers:
        dataset = ClipDataset(stream, SAMPLING, AugmentConfig(), load.loader, load.views)
        for batch in clip_batches(dataset, sampler):
            for sample in _samples(batch, load.views):
                _write(out, "sample", asdict(sample))
            for bad in batch.quarantined:
                _write(out, "quarantined", asdict(bad))
            time.sleep(load.step_s)


def _samples(batch: ClipBatch, views: int) -> list[LoadedSample]:
    clips = [
        [
            view.flip,
            list(frames.shape),
            hashlib.sha256(frames.contiguous().numpy().tobytes()).hexdigest(),
        ]
        for view, frames in zip(batch.views, batch.frames, strict=True)
    ]
    return [
        LoadedSample(
            position=int(position),
            key=key,
            source=source,
            views=clips[index * views : (index + 1) * views],
        )
        for index, (position, key, source) in enumerate(
            zip(batch.positions, batch.keys, batch.sources, strict=True)
        )
    ]


def _write(out: IO[str], kind: str, content: object) -> None:
    out.write(json.dumps([kind, content]) + "\n")


torchcodec_classes()  # the server imports it once
