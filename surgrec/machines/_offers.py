"""Resources that the machines of a cluster offer to tasks, as Ray counts them."""

from collections.abc import Mapping, Sequence

from surgrec.errors import SetupError


def usable_cores(resources: Mapping[str, float], memory_bytes: int) -> int:
    """Return how many tasks of one core a machine can run at once.

    Args:
        resources: Cores (`CPU`) and bytes of memory (`memory`) that Ray counts for the machine.
        memory_bytes: Memory of a task.
    """
    tasks_in_memory = resources.get("memory", 0) // memory_bytes
    return int(min(resources.get("CPU", 0), tasks_in_memory))


def offered_cores(
    machines: Sequence[Mapping[str, float]], memory_bytes: int, *, task: str
) -> list[int]:
    """Return the cores of each machine that can run a task; machines without are left out.

    Args:
        machines: Resources of each machine.
        memory_bytes: Memory of a task of one core.
        task: What needs them, for the message, such as `a video`.

    Raises:
        SetupError: No machine can run a task.
    """
    cores = [usable_cores(machine, memory_bytes) for machine in machines]
    if not any(cores):
        raise SetupError(
            f"no machine of the Ray cluster offers a core and {memory_bytes / 2**30:.1f} GiB of "
            f"memory, which {task} needs; start machines with more (`ray start --memory BYTES`)"
        )
    return [each for each in cores if each]


def offered_gpus(machines: Sequence[Mapping[str, float]], device: str) -> int:
    """Return the GPUs of all machines that tasks may use.

    Args:
        machines: Resources of each machine.
        device: `cpu` uses none; `cuda` refuses a cluster without; `auto` takes what there is.

    Raises:
        SetupError: The device is `cuda`, and no machine has a GPU.
    """
    if device == "cpu":
        return 0
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    if device == "cuda" and not gpus:
        raise SetupError(
            "--device is cuda, and no machine of the Ray cluster offers a GPU; start its machines "
            "with `ray start --num-gpus N`, or give --device cpu"
        )
    return gpus
