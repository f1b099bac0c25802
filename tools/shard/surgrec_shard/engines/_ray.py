"""The engine of many machines: a Ray cluster, which runs the tasks of a lost machine again."""

import os
import socket
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from surgrec.errors import SetupError, SurgrecError
from surgrec.machines import RayCluster, Resources, usable_cores
from surgrec.recordings import BadVideoError
from surgrec.recordings.decoders import Decoders
from surgrec_shard.engines._engine import Engine, Needs, ResultType, Shared, SharedType, Task
from surgrec_shard.engines._node_check import NodeCheck, checked

_CORES_FOR_S = 5.0
"""How long a count of cores is used."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """The outcome of a task on a machine."""

    machine: str
    result: Any = None
    error: BadVideoError | SurgrecError | None = None
    unseen: list[Path] = field(default_factory=list)
    """Files of the task that do not exist for this machine."""


class RayEngine(Engine):
    """Runs tasks on a Ray cluster, in processes of one task each.

    Args:
        address: Address of the cluster, see `RayCluster`.
        workers: Cores of a new one.
        check: Run by each process before its first task.

    Raises:
        SetupError: Ray is not installed, or the cluster does not answer.
        ConfigError: The address is that of a Ray client.
    """

    def __init__(self, address: str, *, workers: int, check: NodeCheck) -> None:
        self._cluster = RayCluster(address, cores=workers)
        self._check = check
        self._counted_at, self._counts = -_CORES_FOR_S, (1, 1, 1)
        cores = self._cores()
        self._cluster.say_size({"machines": len(cores), "cores": sum(cores)})

    @property
    def cores(self) -> int:
        """Cores of all machines that the cluster has now; at least 1."""
        return self._count()[0]

    @property
    def cores_of_a_machine(self) -> int:
        """Cores of the smallest machine: every machine can run a task that needs as many."""
        return self._count()[1]

    @property
    def machines(self) -> int:
        """Number of machines that can run tasks now."""
        return self._count()[2]

    def share(self, value: SharedType) -> Shared[SharedType]:
        """Return a value for many tasks, so that it is sent once to each machine."""
        return self._cluster.share(value)

    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        """Run a task in a process of the cluster. Ray runs it again if its machine is lost."""
        outcome = self._cluster.submit(
            _run,
            self._check,
            task,
            needs,
            name=type(task).__name__,
            resources=Resources(cores=needs.cores, memory_bytes=needs.memory_bytes),
        )
        future: Future[ResultType] = Future()
        future.set_running_or_notify_cancel()
        outcome.add_done_callback(partial(_end, future))
        return future

    def close(self) -> None:
        """Leave the cluster, which ends the tasks, or end it if it was started for this engine."""
        self._cluster.close()

    def _count(self) -> tuple[int, int, int]:
        """Return the cores of all machines, and of the smallest one, and the machines."""
        now = time.monotonic()
        if now - self._counted_at > _CORES_FOR_S:
            cores = self._cores()
            self._counts = max(1, sum(cores)), max(1, min(cores, default=1)), max(1, len(cores))
            self._counted_at = now
        return self._counts

    def _cores(self) -> list[int]:
        """Return the cores of each machine that may run tasks."""
        return [
            cores
            for resources in self._cluster.machines()
            if (cores := usable_cores(resources, Needs().memory_bytes))
        ]


def _end(future: "Future[Any]", ended: "Future[_Outcome]") -> None:
    """Pass the outcome of a task to its future."""
    error = ended.exception()
    if error is not None:
        future.set_exception(error)
        return

    outcome = ended.result()
    seen_here = [path for path in outcome.unseen if os.path.lexists(path)]
    fault = _not_seen(outcome.machine, seen_here[0]) if seen_here else outcome.error
    if fault is not None:
        future.set_exception(fault)
    else:
        future.set_result(outcome.result)


def _run(check: NodeCheck, task: Task[Any], needs: Needs) -> _Outcome:
    """Run a task on a machine of the cluster. Errors are results: Ray must not change them."""
    machine = socket.gethostname()
    unseen = [path for path in needs.files if not os.path.lexists(path)]
    try:
        checked(check)
        return _Outcome(machine=machine, result=task(Decoders(needs.cores)))
    except (BadVideoError, SurgrecError) as error:
        return _Outcome(machine=machine, error=error, unseen=unseen)


def _not_seen(machine: str, path: Path) -> SetupError:
    return SetupError(
        f"the machine {machine} of the Ray cluster does not see {path}, which this machine sees; "
        "mount its disk there under the same path, and run the same command again"
    )
