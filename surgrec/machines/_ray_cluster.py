"""A Ray cluster, which runs functions on its machines, and again if their machine is lost."""

import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar

from surgrec.errors import ConfigError, MachineError, SetupError, SurgrecError, how_to_install
from surgrec.terminal import escape, say
from surgrec.text import one_line

_MOST_RETRIES = 10
"""How often a task runs again after its machine or its process was lost."""
_CLIENT = "ray://"
_MOST_LETTERS = 300
"""Longest reason of Ray in a sentence."""

ValueType = TypeVar("ValueType")
ResultType = TypeVar("ResultType")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The needs of a task."""

    cores: int = 1
    memory_bytes: int = 1 << 30
    """Memory that is kept free for it."""
    gpus: float = 0.0
    """GPUs, or a part of one that several tasks share."""


class SharedValue(Generic[ValueType]):
    """A value of a cluster, which each machine receives once. Give it to tasks as an argument.

    Args:
        reference: Reference of Ray.
    """

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def get(self) -> ValueType:
        """Return the value, on a machine of the cluster."""
        value: ValueType = _import_ray().get(self._reference)
        return value


class RayCluster:
    """A connection to a Ray cluster. Use it in a `with` block, at whose end its tasks end.

    Args:
        address: Address of the cluster, `host:port`; empty: that of the variable RAY_ADDRESS, or
            else a new cluster of this machine alone, without a dashboard.
        cores: Cores of a new one; None: all of this machine.

    Raises:
        SetupError: Ray is not installed, or the cluster does not answer.
        ConfigError: The address is that of a Ray client.
    """

    def __init__(self, address: str, *, cores: int | None = None) -> None:
        address = address or os.environ.get("RAY_ADDRESS", "")
        if address.startswith(_CLIENT):
            raise ConfigError(
                f"--address {address} is that of a Ray client, whose machine need not see the "
                "videos; start the command on a machine of the cluster, with HOST:PORT as --address"
            )
        self._ray = ray = _import_ray()
        # Ray would report the use of this machine to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address:
                context = ray.init(address=address, **quiet)
            else:
                # Other machines cannot reach it: Ray trusts everybody who can. A dashboard would
                # take cores from the tasks of this one machine.
                context = ray.init(
                    address="local",
                    num_cpus=cores,
                    _node_ip_address="127.0.0.1",
                    include_dashboard=False,
                    **quiet,
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise SetupError(
                f"the Ray cluster {address or 'of this machine'} does not answer "
                f"({_one_line(error)}); check its address, that it has "
                f"Ray {ray.__version__}, and RAY_AUTH_MODE and its token if it demands one"
            ) from error
        self._remote = functools.cache(ray.remote)
        self.dashboard = str(context.dashboard_url or "")
        """Address of the dashboard; empty: there is none."""

    def machines(self) -> list[dict[str, float]]:
        """Return the resources of each machine that lives: `CPU`, `GPU`, bytes of `memory`."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def say_size(self, counts: Mapping[str, int]) -> None:
        """Print the size of the cluster and the address of its dashboard.

        Args:
            counts: Numbers to print, by their names.
        """
        numbers = ", ".join(f"{name} {count}" for name, count in counts.items())
        dashboard = f"; dashboard: http://{self.dashboard}" if self.dashboard else ""
        say(escape(f"Ray: {numbers}{dashboard}"))

    def share(self, value: ValueType) -> SharedValue[ValueType]:
        """Return a value that many tasks use, so that it is sent once to each machine."""
        return SharedValue(self._ray.put(value))

    def submit(
        self,
        function: Callable[..., ResultType],
        *arguments: Any,
        name: str,
        resources: Resources,
    ) -> "Future[ResultType]":
        """Run a function in a process of the cluster. Ray runs it again if its machine is lost.

        Args:
            function: Picklable.
            arguments: Its arguments, picklable.
            name: Name of the task, for messages and the dashboard.
            resources: What it needs. A machine without them never runs it.

        Returns:
            Its result; or its SurgrecError; or a MachineError after too many lost machines. Another
            error of the function is a bug, and has the traceback of the other machine.
        """
        run = self._remote(function).options(
            num_cpus=resources.cores,
            memory=resources.memory_bytes,
            num_gpus=resources.gpus,
            max_retries=_MOST_RETRIES,
            name=name,
        )
        future: Future[ResultType] = Future()
        future.set_running_or_notify_cancel()
        run.remote(*arguments).future().add_done_callback(partial(self._end, future, name))
        return future

    def close(self) -> None:
        """Leave the cluster, which ends its tasks, or end one that was started here."""
        self._ray.shutdown()

    def __enter__(self) -> "RayCluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _end(self, future: "Future[Any]", name: str, ended: "Future[Any]") -> None:
        """Pass the result of a task to its future."""
        try:
            future.set_result(ended.result())
        except self._ray.exceptions.RayTaskError as error:
            # The task could not be unpickled there; anything else is a bug, with its traceback.
            is_told = isinstance(error.cause, SurgrecError)
            future.set_exception(error.cause if is_told else error)
        except self._ray.exceptions.RayError as error:
            future.set_exception(
                MachineError(
                    f"the Ray cluster cannot finish a task {name} after {_MOST_RETRIES} retries "
                    f"({_one_line(error)}); check its machines, and run the same command again"
                )
            )


def _one_line(error: Exception) -> str:
    return one_line(" ".join(str(error).split()), _MOST_LETTERS)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SetupError(
            f"{error.name} is not installed, and --engine ray needs it; {how_to_install('ray')}; "
            "or leave out --engine ray"
        ) from error
    return ray
