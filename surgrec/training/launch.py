"""Starting a run in the world it was launched for, and stopping it so that nothing is lost."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Literal

import psutil
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from surgrec.errors import ConfigError, SetupError
from surgrec.runs.rows import METRICS_FILE
from surgrec.storage import acquire
from surgrec.training.checkpoint import Checkpoints

Precision = Literal["no", "bf16"]
STOP_FILE = "STOP"


def start_accelerator(precision: Precision) -> Accelerator:
    """An Accelerator in a world of the size that the launcher was asked for.

    Raises:
        SetupError: The processes do not see each other: each would train alone and overwrite the others.
    """
    accelerator = Accelerator(mixed_precision=precision)
    check_world(accelerator.num_processes, launched_processes())
    return accelerator


def check_world(found: int, launched: dict[str, int]) -> None:
    """Compares the processes that were found with what each launcher's own words promise.

    Raises:
        SetupError: They differ.
    """
    for launcher, expected in launched.items():
        if expected != found:
            raise SetupError(
                f"{launcher} asked for {expected} processes, this run sees {found}: start one process per GPU with "
                "`accelerate launch --multi_gpu --num_processes N recipes/...`, or on CPUs with "
                "`ACCELERATE_USE_CPU=true torchrun --nproc_per_node N recipes/...`"
            )


def launched_processes() -> dict[str, int]:
    """How many processes each launcher says it started: torchrun, `accelerate launch`, srun. Absent ones are left out."""
    found = {}
    if "WORLD_SIZE" in os.environ:
        found["torchrun (WORLD_SIZE)"] = int(os.environ["WORLD_SIZE"])
    elif (
        int(os.environ.get("SLURM_NTASKS", "1")) > 1
        and "SLURM_STEP_ID" in os.environ
        and "SLURM_PROCID" in os.environ
    ):
        found["srun (SLURM_NTASKS)"] = int(os.environ["SLURM_NTASKS"])
    parent = psutil.Process().parent()
    words = parent.cmdline() if parent is not None else []
    if any(word.endswith("accelerate") for word in words[:3]) and "launch" in words:
        # `accelerate launch --cpu --num_processes 2` starts one process and says nothing about it.
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, _, value = word.partition("=")
            if name in ("--num_processes", "--num-processes"):
                found["accelerate launch --num_processes"] = int(value or following)
    return found


def start_run(accelerator: Accelerator, checkpoints: Checkpoints, *, resume: bool) -> int:
    """Makes the run folder, holds it, and gives the first step: 0, or where the newest checkpoint stands.

    The main process looks and tells the others: over NFS, ranks may see a folder at different ages.

    Raises:
        ConfigError: The folder holds a run, and nobody said that it shall go on; or another process is training in it.
    """
    found: list[int | ConfigError] = [0]
    if accelerator.is_main_process:
        try:
            found = [_first_step(checkpoints, resume=resume)]
        except ConfigError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], ConfigError):
        raise found[0]
    return found[0]


def _first_step(checkpoints: Checkpoints, *, resume: bool) -> int:
    checkpoints.run_dir.mkdir(parents=True, exist_ok=True)
    acquire(checkpoints.run_dir, doing="training")
    steps = checkpoints.steps()
    if not resume and (steps or (checkpoints.run_dir / METRICS_FILE).exists()):
        reached = f"step {steps[-1]}" if steps else "no checkpoint yet"
        raise ConfigError(
            f"{checkpoints.run_dir} holds a run that reached {reached}: continue it with --resume true, "
            "or choose another run_dir"
        )
    return steps[-1] if steps else 0


class StopRequest:
    """Whether this process was asked to stop: by SIGTERM (Slurm's warning before the time limit) or by a file RUN/STOP."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / STOP_FILE
        self._signaled = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def __bool__(self) -> bool:
        return self._signaled or self._file.exists()

    def done(self) -> None:
        """Removes the file, so that the next start does not stop at once."""
        self._file.unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signaled = True
