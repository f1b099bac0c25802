"""The launcher of this process: its settings, and those that a recipe does not implement.

Accelerate reads variables of the environment, and `accelerate launch` reads options and a config
file of the user. A recipe follows all of them, or refuses to start: it ignores none of them.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from surgrec.errors import SetupError
from surgrec.text import counted

_ANCESTORS = 3
"""Parents that may be the launcher: it may have started this process through scripts."""
_OFF = {"", "0", "false", "f", "no", "n", "none", "off"}
_TORCHRUN = {"torchrun", "torch.distributed.run", "surgrec.training.torchrun"}
_ACCELERATE = {
    "accelerate",
    "accelerate.commands.accelerate_cli",
    "accelerate_cli.py",
    "surgrec.training.accelerate",
}
_PR_SET_PDEATHSIG = 1

# Of each setting of accelerate that a recipe does not implement: its variables of the environment,
# and its option of `accelerate launch`.
_SWITCHES = {
    "FSDP": (["ACCELERATE_USE_FSDP"], "use_fsdp"),
    "DeepSpeed": (["ACCELERATE_USE_DEEPSPEED"], "use_deepspeed"),
    "Megatron-LM": (["ACCELERATE_USE_MEGATRON_LM"], "use_megatron_lm"),
    "a parallelism config": (["ACCELERATE_USE_PARALLELISM_CONFIG"], "use_parallelism_config"),
    "SageMaker": (["ACCELERATE_USE_SAGEMAKER"], None),
    "TPUs": ([], "tpu"),
    "bf16 weights": (["ACCELERATE_DOWNCAST_BF16", "XLA_USE_BF16", "XLA_DOWNCAST_BF16"], None),
}
_COMPILATION = "compilation"
_PRECISION, _ACCUMULATION, _CLIPPING = "mixed precision", "gradient accumulation", "clipping"
_VALUES = {
    _COMPILATION: (["ACCELERATE_DYNAMO_BACKEND"], "dynamo_backend"),
    _PRECISION: (["ACCELERATE_MIXED_PRECISION"], "mixed_precision"),
    _ACCUMULATION: (
        ["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"],
        "gradient_accumulation_steps",
    ),
    _CLIPPING: (["ACCELERATE_GRADIENT_CLIPPING"], "gradient_clipping"),
}
_OWN_OPTIONS = {
    _COMPILATION: ("compilation", "--compile true"),
    _ACCUMULATION: ("{} steps of gradient accumulation", "--accumulation {}"),
    _CLIPPING: ("clipped gradients", "--optimizer.grad_clip {}"),
}
"""Features that a recipe has an option of its own for, and that option."""
_TYPES = {
    "FSDP": "FSDP",
    "DEEPSPEED": "DeepSpeed",
    "MEGATRON_LM": "Megatron-LM",
    "XLA": "TPUs",
    "TPU": "TPUs",
}
"""Values of `distributed_type` in a config file, and the settings that they switch on."""


@dataclass(frozen=True, kw_only=True)
class AccelerateLaunch:
    """The command `accelerate launch` that started this process."""

    options: Mapping[str, Any]
    """Options that the command line gives."""
    config: Mapping[str, Any]
    """Content of the config file that the launcher read; empty if it read none."""
    config_file: str
    """Path of that file."""


@dataclass(frozen=True)
class _Setting:
    """A setting of accelerate that a launcher or the environment gives."""

    value: str
    place: str
    """The variable, option or file that gives it, as the beginning of a sentence."""
    undo: str
    """The step of the user that takes it back."""
    is_explicit: bool = False
    """Whether the command line of the launcher gives it."""


def program_of_command() -> str:
    """Return this program as launchers take it: `-m surgrec.recipes.jepa` or a path."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"-m {spec.name}" if spec is not None else sys.argv[0]


def job_age_s() -> float:
    """Return the seconds since the launcher of this process started, or else this process."""
    return age_of(_launcher()[0] or psutil.Process())


def age_of(process: psutil.Process) -> float:
    """Return the seconds since a process started."""
    # Times since 1970 are a second off: psutil knows the boot of the machine to a second only.
    started_s = process.create_time() - psutil.boot_time()
    return float(time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def end_with_launcher() -> None:
    """Let the kernel send SIGTERM to this process when its launcher ends.

    `accelerate launch` of one process does not pass SIGTERM on: it would leave a training process
    without a launcher. A launcher that has ended since this module was imported counts, too.
    """
    if _launching_parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != _launching_parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)


def check_launch(precision: str) -> None:
    """Refuse a launcher or an environment with options that a recipe does not implement.

    Args:
        precision: Precision of the run.

    Raises:
        SetupError: Names the setting, its place, and the remedy.
    """
    _check_rank_variables()
    for name, setting in _settings(accelerate_launch()).items():
        value = setting.value.lower()
        if name == _PRECISION:
            # accelerate gives `no` if no precision was asked for.
            if value == precision or (value in _OFF and not setting.is_explicit):
                continue
            known = value if value in ("no", "bf16") else "no or bf16"
            raise SetupError(
                f"{setting.place} asks for mixed precision {value}, but the precision of this run "
                f"is {precision}; {setting.undo}, and give --precision {known} if you need it"
            )
        if name in _OWN_OPTIONS and value not in ({"1"} if name == _ACCUMULATION else _OFF):
            asked, option = _OWN_OPTIONS[name]
            number = value if value.replace(".", "", 1).isdecimal() else "N"
            raise SetupError(
                f"{setting.place} asks for {asked.format(value)}, which a recipe does by an option "
                f"of its own; {setting.undo}, and give {option.format(number)}"
            )
        if name in _SWITCHES and value not in _OFF:
            raise SetupError(
                f"{setting.place} asks for {name}, which this recipe does not implement; "
                f"{setting.undo}, and start one process per GPU with `python -m "
                f"surgrec.training.torchrun --nproc_per_node N {program_of_command()} ...`"
            )


def check_world(num_processes: int, launched: Mapping[str, int]) -> None:
    """Compare the number of connected processes with the one that each launcher was asked for.

    Raises:
        SetupError: They differ.
    """
    for launcher, expected in launched.items():
        if expected != num_processes:
            program = program_of_command()
            raise SetupError(
                f"{launcher} asked for {counted(expected, 'process', 'processes')}, but this run "
                f"has {num_processes}; start one process per GPU with "
                f"`python -m surgrec.training.torchrun --nproc_per_node N {program} ...`, and with "
                "ACCELERATE_USE_CPU=true for CPUs"
            )


def launched_processes() -> dict[str, int]:
    """Return the number of processes that each launcher of this process was asked for.

    Launchers that did not start this process are left out.
    """
    launched = {}
    environment = os.environ
    if "WORLD_SIZE" in environment:
        launched["torchrun (WORLD_SIZE)"] = _number("WORLD_SIZE")
    elif (
        "SLURM_STEP_ID" in environment
        and "SLURM_PROCID" in environment
        and _number("SLURM_NTASKS", 1) > 1
    ):
        launched["srun (SLURM_NTASKS)"] = _number("SLURM_NTASKS")
    else:
        for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"):
            if _number(name, 1) > 1:
                launched[f"mpirun ({name})"] = _number(name)

    # `accelerate launch` starts one process on CPUs, whatever it is asked for.
    launch = accelerate_launch()
    if launch is not None and "num_processes" in launch.options:
        launched["accelerate launch --num_processes"] = int(launch.options["num_processes"])
    elif launch is not None and launch.config.get("num_processes") is not None:
        launched[f"{launch.config_file} (num_processes)"] = int(launch.config["num_processes"])
    return launched


def accelerate_launch() -> AccelerateLaunch | None:
    """Return the command `accelerate launch` that started this process, or None."""
    words = _after_launch(_launcher()[1])
    if words is None:
        return None

    # Read the command line and the config file as accelerate itself does.
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    parser = launch_command_parser()
    options = {
        name: value
        for name, value in vars(parser.parse_args(words)).items()
        if value != parser.get_default(name)
    }
    file = options.get("config_file")
    if file is None and Path(default_config_file).is_file() and not options.get("cpu"):
        file = default_config_file
    config = load_config_from_file(file).to_dict() if file is not None else {}
    return AccelerateLaunch(options=options, config=config, config_file=str(file))


def _launcher() -> tuple[psutil.Process | None, list[str]]:
    """Return the process that launched this one, and its command line."""
    try:
        ancestors = psutil.Process().parents()[:_ANCESTORS]
        commands = [(process, process.cmdline()) for process in ancestors]
    except psutil.Error:  # ended, or of another user
        return None, []
    for process, words in commands:
        is_torchrun = any(Path(word).name in _TORCHRUN for word in words[:6])
        if is_torchrun or _after_launch(words) is not None:
            return process, words
    return None, []


def _after_launch(words: list[str]) -> list[str] | None:
    """Return the words after `accelerate launch` in any of its forms, or None."""
    for index, word in enumerate(words[:6]):
        name = Path(word).name
        is_launch = name in ("accelerate-launch", "accelerate.commands.launch")
        if is_launch or Path(word).parts[-3:] == ("accelerate", "commands", "launch.py"):
            return words[index + 1 :]
        if name in _ACCELERATE and words[index + 1 : index + 2] == ["launch"]:
            return words[index + 2 :]
    return None


def _find_launching_parent() -> int | None:
    """Return the number of the parent process if it is a launcher."""
    launcher, _ = _launcher()
    return launcher.pid if launcher is not None and launcher.pid == os.getppid() else None


_launching_parent = _find_launching_parent()
"""The parent process at the import, as it may end while the program loads; None: no launcher."""


def _settings(launch: AccelerateLaunch | None) -> dict[str, _Setting]:
    """Return the settings that the environment, a config file or a command line gives."""
    settings: dict[str, _Setting] = {}
    rows = {**_SWITCHES, **_VALUES}
    for name, (variables, _) in rows.items():
        for variable in variables:
            if (value := os.environ.get(variable)) is not None:
                place = f"the variable {variable}={value}"
                settings[name] = _Setting(value, place, f"unset {variable}")
    if launch is None:
        return settings

    # The launcher sets the variables from its config file and its options, which name the origin.
    for name, value in _config_settings(launch):
        undo = "change the file with `accelerate config`"
        settings[name] = _Setting(value, launch.config_file, undo)
    for name, (_, option) in rows.items():
        if option is not None and option in launch.options:
            value = str(launch.options[option])
            place = f"accelerate launch --{option}"
            settings[name] = _Setting(value, place, f"remove --{option}", is_explicit=True)
    return settings


def _config_settings(launch: AccelerateLaunch) -> Iterator[tuple[str, str]]:
    """Yield the settings in the config file of a launcher; options of its command line win."""
    config = launch.config
    chosen = {"multi_gpu", "use_fsdp", "use_deepspeed", "use_megatron_lm", "tpu"}
    kind = _TYPES.get(str(config.get("distributed_type", "")))
    if kind is not None and not chosen & launch.options.keys():
        yield kind, "true"
    if config.get("compute_environment") == "AMAZON_SAGEMAKER":
        yield "SageMaker", "true"

    values = {
        _PRECISION: config.get("mixed_precision"),
        _COMPILATION: (config.get("dynamo_config") or {}).get("dynamo_backend"),
        "bf16 weights": config.get("downcast_bf16"),
    }
    for name, value in values.items():
        if value is not None:
            yield name, str(value)


def _check_rank_variables() -> None:
    """Refuse variables of a distributed launch that contradict each other or are incomplete.

    Raises:
        SetupError: Names the variable.
    """
    counts = ("WORLD_SIZE", "LOCAL_RANK", "RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    numbers = {name: _number(name) for name in counts if name in os.environ}
    given = "LOCAL_RANK" if numbers.get("WORLD_SIZE", 1) == 1 else "WORLD_SIZE"
    if given not in numbers:
        return

    # Accelerate has defaults for some of them, but on CPUs only.
    needed = ["WORLD_SIZE", "RANK", "MASTER_ADDR"]
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in _OFF:
        needed += ["LOCAL_RANK", "MASTER_PORT"]
    missing = [name for name in needed if not os.environ.get(name)]
    if missing:
        raise SetupError(
            f"{given} is {numbers[given]}, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set; start with torchrun, which sets all "
            f"of them, or unset {given}"
        )
    if not numbers["RANK"] < numbers["WORLD_SIZE"]:
        raise SetupError(
            f"RANK is {numbers['RANK']} and WORLD_SIZE is {numbers['WORLD_SIZE']}; number the "
            "processes from 0, or start with torchrun"
        )


def _number(name: str, default: int | None = None) -> int:
    """Return a variable of the environment that counts something.

    Raises:
        SetupError: It is not a whole number of 0 or more.
    """
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise SetupError(
            f"the variable {name} is {text!r}, not a whole number of 0 or more; unset it, or start "
            "with torchrun"
        )
    return int(text)
