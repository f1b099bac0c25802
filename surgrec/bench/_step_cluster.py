"""Run the commands of steps on a Ray cluster, one task each."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from surgrec.bench._process import Commands, log_path
from surgrec.bench._settings import Settings
from surgrec.bench._steps import Step
from surgrec.machines import (
    MachineCheck,
    RayCluster,
    Resources,
    SharedFolder,
    offered_cores,
    offered_gpus,
    result_versions,
    shared_folder,
)
from surgrec.storage import TEMPORARY
from surgrec.storage.lock import hold

CommandEnd = tuple[int, str]
"""Exit status of a command, and the last message of its log."""
_MEMORY_BYTES = {"build": 1 << 30, "evaluate": 2 << 30}
"""Memory for each core of a step, by its kind."""
_LEAST_MEMORY_BYTES = 1 << 30
"""Memory of steps of other kinds."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Resources that the machines of a cluster offer to steps."""

    cores: int
    """Cores that the smallest machine has with the memory for them; machines without are left out.
    """
    gpus: int
    """GPUs of all machines."""


class StepCluster:
    """Starts the commands of steps on a cluster, and those of local steps here, one at a time.

    Args:
        cluster: The cluster.
        commands: Runs the local steps.
        thread: Waits for the local steps.
        folders: Folders that all machines must share.
        settings: What steps need of a machine.
    """

    def __init__(
        self,
        cluster: RayCluster,
        commands: Commands,
        thread: ThreadPoolExecutor,
        folders: Sequence[SharedFolder],
        settings: Settings,
    ) -> None:
        self.commands = commands
        """Runs the local steps."""
        self._cluster = cluster
        self._thread = thread
        self._folders = tuple(folders)
        self._settings = settings
        machines = cluster.machines()
        self._capacity = capacity(machines, settings)
        cluster.say_size(
            {
                "machines": len(machines),
                "cores": int(sum(machine.get("CPU", 0) for machine in machines)),
                "GPUs": self._capacity.gpus,
            }
        )

    def start(self, step: Step, out: Path) -> "Future[CommandEnd]":
        """Start the command of a step.

        Args:
            step: The step. Those that it needs are done, and no step with a lock of it runs.
            out: Folder of the benchmark, absolute.

        Returns:
            Its end; or a SetupError if the machine lacks something; or a MachineError after too
            many lost machines.
        """
        if step.is_local:
            return self._thread.submit(self.commands.run, step, out)
        placed, resources = place(step, self._capacity, self._settings)
        words = (*step.words, *step.machine)
        check = MachineCheck(
            folders=self._folders,
            inputs=tuple(word for word in words if os.path.isabs(word) and os.path.lexists(word)),
            versions=result_versions(),
        )
        return self._cluster.submit(
            run_step, placed, out, check, name=step.name, resources=resources
        )


@contextmanager
def open_step_cluster(out: Path, settings: Settings) -> Iterator[StepCluster]:
    """Yield a connection to the Ray cluster of the settings. Running commands end with it.

    Args:
        out: Folder of the benchmark, absolute.
        settings: The address of the cluster, and what steps need of a machine.

    Raises:
        SetupError: Ray is not installed, the cluster does not answer, or it offers no machine for
            the steps.
        StorageError: A folder that all machines share cannot be written.
    """
    # Markers of a killed benchmark: no other one runs in this folder.
    for marker in out.glob(f"{TEMPORARY}*"):
        marker.unlink(missing_ok=True)
    with ExitStack() as held:
        folders = [
            held.enter_context(shared_folder(out, kind="folder of the benchmark", option="--out"))
        ]
        if settings.private:
            folders.append(
                held.enter_context(
                    shared_folder(settings.private, kind="private folder", option="--private")
                )
            )
        thread = held.enter_context(ThreadPoolExecutor(max_workers=1))
        # The server ends before its thread is waited for.
        commands = held.enter_context(Commands())
        cluster = held.enter_context(RayCluster(settings.address))
        yield StepCluster(cluster, commands, thread, folders, settings)


def capacity(machines: Sequence[Mapping[str, float]], settings: Settings) -> Capacity:
    """Return the resources that machines offer to steps.

    Args:
        machines: Resources of each machine, as Ray counts them.
        settings: Needs of steps.

    Raises:
        SetupError: No machine can run an evaluation, or none has the GPU that is asked for.
    """
    cores = offered_cores(machines, _MEMORY_BYTES["evaluate"], task="an evaluation")
    return Capacity(cores=min(cores), gpus=offered_gpus(machines, settings.device))


def place(step: Step, offered: Capacity, settings: Settings) -> tuple[Step, Resources]:
    """Return a step for a machine of a cluster, and what it needs there.

    An evaluation has one GPU, if the cluster has any, and a core for each process. A build, and
    a search for near-duplicates, has `workers` cores, or those of the smallest machine. Any other
    step has one core.

    Args:
        step: The step. Its digest stays the same.
        offered: Resources of the cluster.
        settings: `workers` and `processes`.
    """
    cores, gpus, machine = 1, 0.0, step.machine
    if step.kind in ("build", "dedup"):
        cores = min(settings.workers or offered.cores, offered.cores)
        machine = (*machine, "--workers", str(cores)) if not settings.workers else machine
    elif step.kind == "evaluate":
        cores = min(settings.processes, offered.cores)
        gpus = float(min(1, offered.gpus))
        # A machine whose GPU torch does not find is refused, in place of its slow processor.
        device = machine.index("--device") + 1
        machine = (*machine[:device], "cuda" if gpus else "cpu", *machine[device + 1 :])
    memory_bytes = _MEMORY_BYTES.get(step.kind, _LEAST_MEMORY_BYTES) * cores
    resources = Resources(cores=cores, memory_bytes=memory_bytes, gpus=gpus)
    return replace(step, machine=machine), resources


def run_step(step: Step, out: Path, check: MachineCheck) -> CommandEnd:
    """Run the command of a step on a machine of the cluster, in a new process.

    Args:
        step: The step.
        out: Folder of the benchmark.
        check: What this machine must have.

    Raises:
        SetupError: This machine lacks something.
        ConfigError: The step still runs on another machine.
    """
    check.require()
    log = log_path(out, step)
    log.parent.mkdir(parents=True, exist_ok=True)
    name = f"{log.name}.lock"
    # The command of a machine that was given up, or of a killed benchmark, may still write.
    with hold(log.parent, doing=f"running the step {step.name}", name=name), Commands() as commands:
        end = commands.run(step, out)
        (log.parent / name).unlink(missing_ok=True)
    return end
