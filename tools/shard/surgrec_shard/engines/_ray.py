"""The engine of many machines: a Ray cluster, which runs the tasks of a lost machine again.

Only this file imports ray, and only when the engine is made.
"""

import os
import socket
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError, MachineError, SetupError, SurgrecError
from surgrec.recordings import BadVideoError
from surgrec.recordings.decoders import Decoders
from surgrec.terminal import escape, say
from surgrec_shard.engines._engine import Engine, Needs, ResultType, Task
from surgrec_shard.engines._node_check import NodeCheck, checked

_MOST_RETRIES = 10
"""How often a task runs again after its machine or its process was lost."""
_CORES_FOR_S = 5.0
"""How long a count of cores is used."""
_CLIENT = "ray://"


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of a task on a machine."""

    machine: str
    result: Any = None
    error: BadVideoError | SurgrecError | None = None
    unseen: list[Path] = field(default_factory=list)
    """Files of the task that do not exist for this machine."""


class RayEngine(Engine):
    """Runs tasks on a Ray cluster, in processes of one task each.

    Args:
        address: Address of the cluster, `host:port`; empty: that of the variable RAY_ADDRESS, or
            else a new one of this machine alone.
        workers: Cores of a new one.
        check: Run by each process before its first task.

    Raises:
        SetupError: Ray is not installed, or the cluster does not answer.
        ConfigError: The address is that of a Ray client.
    """

    def __init__(self, address: str, *, workers: int, check: NodeCheck) -> None:
        address = address or os.environ.get("RAY_ADDRESS", "")
        if address.startswith(_CLIENT):
            raise ConfigError(
                f"--address {address} is that of a Ray client, whose machine need not see the "
                "videos; start the build on a machine of the cluster, with HOST:PORT as --address"
            )
        self._ray = ray = _import_ray()
        # Ray would report the use of this machine to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                context = ray.init(address=address, **quiet)
            else:
                # Other machines cannot reach it: Ray trusts everybody who can.
                context = ray.init(
                    address="local", num_cpus=workers, _node_ip_address="127.0.0.1", **quiet
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise SetupError(
                f"the Ray cluster {address or 'of this machine'} does not answer "
                f"({' '.join(str(error).split())[:300]}); check its address, that it has "
                f"Ray {ray.__version__}, and RAY_AUTH_MODE and its token if it demands one"
            ) from error

        self._check = ray.put(check)
        self._run = ray.remote(_run)
        self._counted_at, self._counts = -_CORES_FOR_S, (1, 1)
        self.dashboard = str(context.dashboard_url or "")
        """Address of the dashboard; empty: there is none."""
        self._say_size()

    @property
    def cores(self) -> int:
        """Cores of all machines that the cluster has now; at least 1."""
        return self._count()[0]

    @property
    def cores_of_a_machine(self) -> int:
        """Cores of the smallest machine: every machine can run a task that needs as many."""
        return self._count()[1]

    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        """Run a task in a process of the cluster. Ray runs it again if its machine is lost."""
        run = self._run.options(
            num_cpus=needs.cores,
            memory=needs.memory_bytes,
            max_retries=_MOST_RETRIES,
            name=type(task).__name__,
        )
        future: Future[ResultType] = Future()
        future.set_running_or_notify_cancel()
        reference = run.remote(self._check, task, needs)
        reference.future().add_done_callback(partial(self._end, future, type(task).__name__))
        return future

    def close(self) -> None:
        """Leave the cluster, which ends the tasks, or end it if it was started for this engine."""
        self._ray.shutdown()

    def _end(self, future: "Future[ResultType]", name: str, ended: "Future[_Outcome]") -> None:
        """Pass the outcome of a task to its future."""
        try:
            outcome = ended.result()
        except self._ray.exceptions.RayTaskError as error:
            # The task could not be unpickled there; anything else is a bug, with its traceback.
            is_told = isinstance(error.cause, SurgrecError)
            future.set_exception(error.cause if is_told else error)
        except self._ray.exceptions.RayError as error:
            future.set_exception(
                MachineError(
                    f"the Ray cluster cannot finish a task {name} after {_MOST_RETRIES} retries "
                    f"({' '.join(str(error).split())[:300]}); check its machines, and run the same "
                    "command again"
                )
            )
        else:
            seen_here = [path for path in outcome.unseen if os.path.lexists(path)]
            fault = _not_seen(outcome.machine, seen_here[0]) if seen_here else outcome.error
            if fault is not None:
                future.set_exception(fault)
            else:
                future.set_result(outcome.result)

    def _count(self) -> tuple[int, int]:
        """Return the cores of all machines, and of the smallest one."""
        now = time.monotonic()
        if now - self._counted_at > _CORES_FOR_S:
            cores = _cores(self._ray)
            self._counts = max(1, sum(cores)), max(1, min(cores, default=1))
            self._counted_at = now
        return self._counts

    def _say_size(self) -> None:
        cores = _cores(self._ray)
        dashboard = f"; dashboard: http://{self.dashboard}" if self.dashboard else ""
        say(escape(f"Ray: machines {len(cores)}, cores {sum(cores)}{dashboard}"))


def _cores(ray: Any) -> list[int]:
    """Return the cores of each machine that may run tasks: as many as have memory for a task."""
    return [
        usable
        for node in ray.nodes()
        if node["Alive"] and (usable := usable_cores(node["Resources"]))
    ]


def usable_cores(resources: Mapping[str, float]) -> int:
    """Return how many tasks of one core a machine can run at once.

    Args:
        resources: Cores (`CPU`) and bytes of memory (`memory`) that Ray counts for the machine.
    """
    tasks_in_memory = resources.get("memory", 0) // Needs().memory_bytes
    return int(min(resources.get("CPU", 0), tasks_in_memory))


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


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SetupError(
            f"{error.name} is not installed, and --engine ray needs it; run pip install '.[ray]' "
            "in a clone of SurgRec, or leave out --engine ray"
        ) from error
    return ray
