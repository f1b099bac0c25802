"""Run a job on a Ray cluster: groups of videos as tasks, with a GPU each where there are any."""

import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

import torch

from surgrec.errors import SetupError, SurgrecError
from surgrec.features._extract_config import ExtractConfig
from surgrec.features._job import Job, Outcome, Worker
from surgrec.features._videos import VideoEntry
from surgrec.machines import (
    MachineCheck,
    RayCluster,
    Resources,
    SharedFolder,
    SharedValue,
    offered_cores,
    offered_gpus,
    result_versions,
    shared_folder,
)
from surgrec.storage import open_store

_MEMORY_BYTES = 2 << 30
"""Memory of a task beside the weights of its encoders."""
_MOST_ON_A_GPU = 64
"""Videos of a task with a GPU. Ray starts a process for each such task, which loads the encoders
again; a process without a GPU keeps them, so that its tasks are single videos."""
_TASKS_PER_GPU = 8
"""Tasks of a process that shares a GPU, if there are fewer than so many videos for each: the GPUs
end at about the same time."""


@dataclass(frozen=True, kw_only=True)
class _SharedJob:
    """All that the tasks of an extraction share."""

    job: Job
    check: MachineCheck
    device: str


@dataclass(frozen=True, kw_only=True)
class _GroupOutcome:
    """The outcomes of the videos of a task, or the error that ended it."""

    outcomes: list[list[Outcome]]
    error: SurgrecError | None = None


def run_on_cluster(
    job: Job, config: ExtractConfig, data: Sequence[str], weight_bytes: int
) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each video, as `run_job` does, from the machines of a cluster.

    A video whose features are stored is not computed again, even if its task is run again.

    Args:
        job: The job. The folders of its targets exist.
        config: The cluster and its devices. Each task uses a GPU, or its share of one that
            `processes` tasks have together, or one core if the cluster has no GPUs.
        data: Addresses of the videos, absolute.
        weight_bytes: Memory of the weights of all encoders.

    Raises:
        SetupError: Ray is not installed, the cluster does not answer, no machine can run a task, or
            a machine lacks a folder, a version or a GPU.
        StorageError: A shard cannot be read, or a file cannot be written.
        MachineError: The machines of a task were lost again and again.
    """
    job = _with_absolute_paths(job)
    with ExitStack() as held:
        folders = tuple(
            held.enter_context(
                shared_folder(target.out, kind="folder of the features", option="--out")
            )
            for target in job.targets
        )
        cluster = held.enter_context(RayCluster(config.address))
        resources, slots = _resources(cluster, config, weight_bytes)
        check = MachineCheck(
            folders=folders,
            inputs=_local_inputs(job, data),
            versions=result_versions(),
        )
        shared = _SharedJob(job=job, check=check, device="cuda:0" if resources.gpus else "cpu")
        reference = cluster.share(shared)

        ended: SimpleQueue[Future[_GroupOutcome]] = SimpleQueue()
        groups = grouped(job.videos.entries, slots=slots, with_gpus=resources.gpus > 0)
        for group in groups:
            future = cluster.submit(
                _extract_group, reference, folders[0], group, name="features", resources=resources
            )
            future.add_done_callback(ended.put)
        for _ in groups:
            outcome = ended.get().result()
            yield from outcome.outcomes
            if outcome.error is not None:
                raise outcome.error


def grouped(
    entries: Sequence[VideoEntry], *, slots: int, with_gpus: bool
) -> list[list[VideoEntry]]:
    """Divide videos into the groups of tasks.

    Args:
        entries: The videos.
        slots: Tasks that run at once.
        with_gpus: Whether a task uses a GPU.
    """
    size = 1
    if with_gpus:
        size = max(1, min(_MOST_ON_A_GPU, len(entries) // (_TASKS_PER_GPU * slots)))
    return [list(entries[start : start + size]) for start in range(0, len(entries), size)]


def absolute_address(address: str) -> str:
    """Return an address of videos that means the same in any working folder."""
    store = open_store(address)
    return store.address if store.is_local else address


def _with_absolute_paths(job: Job) -> Job:
    """Return a job whose paths mean the same in any working folder."""
    targets = [
        replace(
            target,
            out=target.out.absolute(),
            choice=replace(
                target.choice,
                path=_absolute_file(target.choice.path),
                weights=target.choice.weights and target.choice.weights.absolute(),
            ),
        )
        for target in job.targets
    ]
    return replace(job, targets=tuple(targets))


def _local_inputs(job: Job, data: Sequence[str]) -> tuple[str, ...]:
    """Return the files and folders that the machines of a cluster must see.

    Args:
        job: With absolute paths.
        data: Addresses of the videos, absolute or of an object store.
    """
    paths = [Path(address) for address in data if "://" not in address]
    for target in job.targets:
        paths += filter(None, (target.choice.path, target.choice.weights))
    return tuple(str(path) for path in paths if path.is_absolute())


def _resources(
    cluster: RayCluster, config: ExtractConfig, weight_bytes: int
) -> tuple[Resources, int]:
    """Return the needs of a task, and the number of tasks that run at once."""
    memory_bytes = _MEMORY_BYTES + weight_bytes
    machines = cluster.machines()
    gpus = offered_gpus(machines, config.device)
    cores = sum(offered_cores(machines, memory_bytes, task="a video"))
    cluster.say_size({"machines": len(machines), "cores": cores, "GPUs": gpus})
    share = 1 / config.processes if gpus else 0.0
    slots = max(1, min(cores, gpus * config.processes)) if gpus else cores
    return Resources(memory_bytes=memory_bytes, gpus=share), slots


_workers: dict[SharedFolder, Worker] = {}
"""The worker of this process of a cluster, by the marker of its extraction."""


def _extract_group(
    shared: SharedValue[_SharedJob], marker: SharedFolder, entries: Sequence[VideoEntry]
) -> _GroupOutcome:
    """Extract videos in a process of a cluster. Errors are results: Ray must not change them."""
    outcomes: list[list[Outcome]] = []
    try:
        if marker not in _workers:
            _workers.clear()
            facts = shared.get()
            facts.check.require()
            _require_device(facts.device)
            _workers[marker] = Worker(facts.job, facts.device)
        for entry in entries:
            outcomes.append(_workers[marker].extract(entry))
    except SurgrecError as error:
        return _GroupOutcome(outcomes=outcomes, error=error)
    return _GroupOutcome(outcomes=outcomes)


def _require_device(device: str) -> None:
    """Raise SetupError if this machine lacks the GPU that it offers."""
    if device != "cpu" and not torch.cuda.is_available():
        raise SetupError(
            f"the machine {socket.gethostname()} of the Ray cluster offers a GPU, and torch finds "
            "none there; check its driver and its torch, or give --device cpu"
        )


def _absolute_file(path: Path) -> Path:
    """Return the path of a file or folder; the name of a preset does not change."""
    return path.absolute() if path.exists() else path
