"""Start of a recipe: its command line, its processes, its run folder, and requests to stop."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Literal, TypeVar

import psutil
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from surgrec.cli import parse, run_main
from surgrec.clips import loader_failures_explained
from surgrec.errors import ConfigError, SetupError, SurgrecError
from surgrec.models import ENCODER_SIZES
from surgrec.runs import RunFiles
from surgrec.storage import acquire
from surgrec.training._checkpoint import Checkpoints

Precision = Literal["no", "bf16"]
ConfigType = TypeVar("ConfigType")


def run_recipe(
    file: str, config_type: type[ConfigType], main: Callable[[ConfigType], None]
) -> None:
    """Parse the command line of a recipe, run it, and exit.

    Args:
        file: The recipe's `__file__`.
        config_type: Dataclass of the recipe's options.
        main: The recipe.
    """
    program = program_of_command()
    prog = f"python {program}" if program.startswith("-m ") else None
    config = parse_recipe(file, config_type, prog=prog)

    # A worker that dies raises wherever the main process is at that moment.
    explained = loader_failures_explained()(main)
    hint = "--resume true continues from the last checkpoint"
    run_main(Path(file).stem, lambda: explained(config), to_go_on=hint)


def parse_recipe(
    file: str,
    config_type: type[ConfigType],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
) -> ConfigType:
    """Parse the options of a recipe.

    `--config NAME` finds NAME.yaml in `configs/` beside the recipe, and `encoder.size` sets the
    fields of a published size.

    Args:
        file: The recipe's `__file__`.
        config_type: Dataclass of the recipe's options.
        argv: Words of the command line; None takes those of this process.
        prog: Name of the program in messages; None takes the name of its file.
    """
    sizes: dict[str, dict[str, object]]
    sizes = {name: dict(size) for name, size in ENCODER_SIZES.items()}
    presets = {"encoder.size": sizes}
    configs = Path(file).with_name("configs")
    return parse(config_type, argv, prog=prog, configs=configs, presets=presets)


def start_accelerator(precision: Precision) -> Accelerator:
    """Return an Accelerator over as many processes as the launcher was asked for.

    Raises:
        SetupError: The processes do not see each other; each would overwrite the run of the others.
    """
    accelerator = Accelerator(mixed_precision=precision)
    check_world(accelerator.num_processes, launched_processes())
    return accelerator


def check_world(num_processes: int, launched: dict[str, int]) -> None:
    """Compare the number of connected processes with the one that each launcher was asked for.

    Raises:
        SetupError: They differ.
    """
    for launcher, expected in launched.items():
        if expected != num_processes:
            program = program_of_command()
            raise SetupError(
                f"{launcher} asked for {expected} processes, but this run has {num_processes}; "
                f"start one process per GPU with `accelerate launch --multi_gpu --num_processes N "
                f"{program} ...`, or N processes on CPUs with `ACCELERATE_USE_CPU=true torchrun "
                f"--nproc_per_node N {program} ...`"
            )


def program_of_command() -> str:
    """Return this program as launchers take it: `-m surgrec.recipes.jepa` or a path."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"-m {spec.name}" if spec is not None else sys.argv[0]


def launched_processes() -> dict[str, int]:
    """Return the number of processes that torchrun, srun or `accelerate launch` was asked for.

    Launchers that did not start this process are left out.
    """
    launched = {}
    environment = os.environ
    if "WORLD_SIZE" in environment:
        launched["torchrun (WORLD_SIZE)"] = int(environment["WORLD_SIZE"])
    elif (
        int(environment.get("SLURM_NTASKS", "1")) > 1
        and "SLURM_STEP_ID" in environment
        and "SLURM_PROCID" in environment
    ):
        launched["srun (SLURM_NTASKS)"] = int(environment["SLURM_NTASKS"])

    # `accelerate launch --cpu --num_processes 2` starts one process without a warning.
    parent = psutil.Process().parent()
    words = parent.cmdline() if parent is not None else []
    if any(word.endswith("accelerate") for word in words[:3]) and "launch" in words:
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, _, value = word.partition("=")
            if name in ("--num_processes", "--num-processes"):
                launched["accelerate launch --num_processes"] = int(value or following)
    return launched


def start_run(accelerator: Accelerator, checkpoints: Checkpoints, *, resume: bool) -> int:
    """Create and lock the run folder and return the first step.

    The first step is 0, or the step of the newest checkpoint. The main process reads the folder and
    broadcasts the answer: over NFS, ranks may see different states of a folder.

    Raises:
        ConfigError: The folder already contains a run and `resume` is false, or another process
            is training there.
        StorageError: The folder cannot be locked.
    """
    answer: list[int | Exception] = [0]
    if accelerator.is_main_process:
        try:
            answer = [_first_step(checkpoints, resume=resume)]
        except (SurgrecError, OSError) as error:
            answer = [error]  # the other ranks wait for the answer

    broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def _first_step(checkpoints: Checkpoints, *, resume: bool) -> int:
    run_dir = checkpoints.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    acquire(run_dir, doing="training")

    steps = checkpoints.steps()
    if not resume and (steps or RunFiles(run_dir).metrics.exists()):
        last = f"a checkpoint of step {steps[-1]}" if steps else "no checkpoint"
        raise ConfigError(
            f"{run_dir} already holds a run, with {last}; continue it with --resume true, or "
            "choose another run_dir"
        )
    return steps[-1] if steps else 0


class StopRequest:
    """Whether this process was asked to stop, by SIGTERM or by a file RUN/STOP.

    Slurm sends SIGTERM before the time limit of a job.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = RunFiles(run_dir).stop
        self._signaled = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def __bool__(self) -> bool:
        return self._signaled or self._file.exists()

    def clear(self) -> None:
        """Remove the file, so that it does not stop the next start."""
        self._file.unlink(missing_ok=True)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signaled = True
