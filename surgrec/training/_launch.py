"""Start of a recipe: its command line, its processes and its run folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from surgrec.cli import parse, with_errors_as_one_line
from surgrec.clips import loader_failures_explained
from surgrec.errors import ConfigError, SetupError, StorageError, reason
from surgrec.models import ENCODER_SIZES
from surgrec.runs import RunFiles
from surgrec.storage import in_the_way
from surgrec.storage.lock import hold
from surgrec.terminal import escape, say
from surgrec.training._checkpoint import Checkpoints
from surgrec.training._launcher import (
    check_launch,
    check_world,
    end_with_launcher,
    launched_processes,
    program_of_command,
)
from surgrec.training._loss_scale import RunPrecision
from surgrec.training._lost import require_nothing_lost
from surgrec.training._ranks import exchange_places, expect_progress, on_main, ranks_end_together
from surgrec.training._stop import remember_early_signals

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
    end_with_launcher()
    program = program_of_command()
    prog = f"python {program}" if program.startswith("-m ") else None
    config = parse_recipe(file, config_type, prog=prog)

    # A worker that dies raises wherever the main process is at that moment.
    name = Path(file).stem
    explained = ranks_end_together(name)(loader_failures_explained()(main))
    hint = "--resume true continues from the last checkpoint"
    with_errors_as_one_line(name, lambda: explained(config), to_go_on=hint)


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


def start_accelerator(precision: RunPrecision, *, longest_batch_s: int) -> Accelerator:
    """Return an Accelerator over as many processes as the launcher was asked for.

    Args:
        precision: Precision of the run.
        longest_batch_s: Longest wait of a rank for a batch; others wait longer for that rank.

    Raises:
        SetupError: The launcher or the environment sets an option that a recipe does not implement,
            or the processes do not see each other; each would overwrite the run of the others.
    """
    check_launch(precision)
    timeout = InitProcessGroupKwargs(timeout=expect_progress(longest_batch_s))
    buckets = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # no second copy
    try:
        # A run scales its loss itself, on the device; accelerate's scaler would wait for it.
        mixed_precision = "no" if precision == "fp16" else precision
        accelerator = Accelerator(
            mixed_precision=mixed_precision, kwargs_handlers=[timeout, buckets]
        )
        torch.zeros(1, device=accelerator.device).item()  # fails without such a device
    except (ValueError, RuntimeError, AssertionError, ImportError, OSError) as error:
        raise SetupError(
            f"accelerate cannot start this process ({reason(error)}); check the launch command "
            "and the variables that it sets, such as MASTER_ADDR and MASTER_PORT"
        ) from error
    check_world(accelerator.num_processes, launched_processes())
    exchange_places()
    remember_early_signals()  # before this, a signal ends ranks that wait for each other
    return accelerator


def start_run(
    accelerator: Accelerator, checkpoints: Checkpoints, *, resume: bool, first_save: int
) -> int:
    """Create and lock the run folder and return the first step.

    The first step is 0, or the step of the newest checkpoint. The main process reads the folder and
    broadcasts the answer: over NFS, ranks may see different states of a folder.

    Args:
        accelerator: Connects the ranks.
        checkpoints: Checkpoints in the run folder.
        resume: Whether a run in the folder is continued.
        first_save: Steps before the first checkpoint, if the folder does not tell it.

    Raises:
        ConfigError: The folder already contains a run and `resume` is false, or another process
            is training there.
        CheckpointError: The folder has traces of a checkpoint, but no checkpoint.
        StorageError: The folder cannot be created or locked.
    """
    return on_main(
        accelerator, lambda: _first_step(checkpoints, resume=resume, first_save=first_save)
    )


def _first_step(checkpoints: Checkpoints, *, resume: bool, first_save: int) -> int:
    run_dir = checkpoints.run_dir
    lock_folder(run_dir, "run_dir")

    steps = checkpoints.steps()
    if not steps:
        require_nothing_lost(checkpoints, first_save)
    if not resume and (steps or RunFiles(run_dir).metrics.exists()):
        last = f"a checkpoint of step {steps[-1]}" if steps else "no checkpoint"
        raise ConfigError(
            f"{run_dir} already holds a run, with {last}; continue it with --resume true, or "
            "choose another run_dir"
        )
    if resume and not steps:
        say(escape(f"{run_dir} has no checkpoint yet; the run starts at step 0"))
    return steps[-1] if steps else 0


def lock_folder(folder: Path, option: str) -> None:
    """Create the folder of a start and lock it, until this process ends.

    Args:
        folder: The folder.
        option: Name of its option, for messages.

    Raises:
        ConfigError: Another process is training there.
        StorageError: The folder cannot be created or locked.
    """
    if found := in_the_way(folder):
        raise StorageError(f"{found}, or choose another {option}")
    folder.mkdir(parents=True, exist_ok=True)
    hold(folder, doing="training")
