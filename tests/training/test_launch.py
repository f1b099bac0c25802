"""A run refuses what its launcher asks for and a recipe does not do, whoever asks for it."""

import os
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import accelerate
import pytest

from surgrec.errors import SetupError
from surgrec.training import _launcher
from surgrec.training._launcher import check_launch, check_world, launched_processes


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without a launcher and without a config file of accelerate."""
    prefixes = ("ACCELERATE_", "SLURM_", "XLA_", "OMPI_", "PMI_", "MV2_", "MASTER_")
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    for name in list(os.environ):
        if name.startswith(prefixes) or name in names:
            monkeypatch.delenv(name)
    monkeypatch.setattr(_launcher, "_launcher", lambda: (None, []))
    return monkeypatch


def test_torchrun_and_srun_say_how_many_processes_they_started(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    assert launched_processes() == {}
    clean_environment.setenv("SLURM_NTASKS", "4")
    assert launched_processes() == {}, (
        "an allocation of four tasks is not yet a step that started four"
    )
    clean_environment.setenv("SLURM_STEP_ID", "0")
    clean_environment.setenv("SLURM_PROCID", "0")
    assert launched_processes() == {"srun (SLURM_NTASKS)": 4}
    clean_environment.setenv("WORLD_SIZE", "2")
    assert launched_processes() == {"torchrun (WORLD_SIZE)": 2}


def test_a_process_that_sees_only_itself_refuses_to_be_one_of_two() -> None:
    with pytest.raises(SetupError, match="torchrun asked for 2 processes, but this run has 1"):
        check_world(1, {"torchrun": 2})
    check_world(2, {"torchrun": 2})


@pytest.mark.parametrize(
    ("module", "program"),
    [(None, "recipes/mae.py"), ("surgrec.recipes.jepa", "-m surgrec.recipes.jepa")],
)
def test_a_refused_launch_names_the_command_to_use(
    monkeypatch: pytest.MonkeyPatch, module: str | None, program: str
) -> None:
    spec = None if module is None else ModuleSpec(module, loader=None)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", ["recipes/mae.py", "--config", "mae_tiny"])
    with pytest.raises(SetupError, match=f"torchrun --nproc_per_node N {program} ..."):
        check_world(1, {"torchrun": 2})


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "4 steps of gradient accumulation"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "two", "two steps of gradient accumulation"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "mixed precision fp16"),
        ("ACCELERATE_MIXED_PRECISION", "FP8", "mixed precision fp8"),
        ("ACCELERATE_USE_FSDP", "true", "asks for FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "True", "asks for DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "1", "asks for Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "asks for a parallelism config"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "asks for compilation"),
        ("ACCELERATE_DOWNCAST_BF16", "true", "asks for bf16 weights"),
        ("ACCELERATE_GRADIENT_CLIPPING", "0.5", "asks for clipped gradients"),
    ],
)
def test_a_variable_for_what_no_recipe_does_is_refused_by_name(
    clean_environment: pytest.MonkeyPatch, variable: str, value: str, found: str
) -> None:
    clean_environment.setenv(variable, value)
    with pytest.raises(SetupError, match=f"{found}.*; unset {variable}") as refused:
        check_launch("bf16")
    assert f"the variable {variable}={value}" in str(refused.value)


READ_BY_ACCELERATE = {
    "refused unless the recipe does the same": {
        "DOWNCAST_BF16",
        "DYNAMO_BACKEND",
        "GRADIENT_ACCUMULATION_STEPS",
        "GRADIENT_CLIPPING",
        "MIXED_PRECISION",
        "USE_DEEPSPEED",
        "USE_FSDP",
        "USE_MEGATRON_LM",
        "USE_PARALLELISM_CONFIG",
        "USE_SAGEMAKER",
    },
    "read only together with a refused one": {
        "ALLOW_CP_STANDALONE",
        "CONFIG_DS_FIELDS",
        "DEEPSPEED_CONFIG_FILE",
        "DEEPSPEED_MOE_LAYER_CLS_NAMES",
        "DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE",
        "DEEPSPEED_OFFLOAD_OPTIMIZER_NVME_PATH",
        "DEEPSPEED_OFFLOAD_PARAM_DEVICE",
        "DEEPSPEED_OFFLOAD_PARAM_NVME_PATH",
        "DEEPSPEED_ZERO3_INIT",
        "DEEPSPEED_ZERO3_SAVE_16BIT_MODEL",
        "DEEPSPEED_ZERO_STAGE",
        "DYNAMO_",
        "DYNAMO_MODE",
        "DYNAMO_USE_DYNAMIC",
        "DYNAMO_USE_FULLGRAPH",
        "DYNAMO_USE_REGIONAL_COMPILATION",
        "FP8_",
        "FP8_BACKEND",
        "FP8_OPT_LEVEL",
        "SAGEMAKER_DISTRIBUTED_TYPE",
    },
    "of devices, speed and messages, or for functions that no recipe calls": {
        "BYPASS_DEVICE_MAP",
        "CPU_AFFINITY",
        "DEBUG_MODE",
        "DEBUG_RDV_FILE",
        "ENABLE_RICH",
        "INIT_INCLUDE_BUFFERS",
        "IN_TPU_POD",
        "LOG_LEVEL",
        "NUM_PROCESSES",
        "TORCH_DEVICE",
        "USE_CPU",
    },
}
"""Variables ACCELERATE_* that the installed version reads. FSDP_*, MEGATRON_LM_* and
PARALLELISM_CONFIG_* are read only if the variable USE_* of the same name is set."""


def test_every_variable_that_accelerate_reads_is_refused_or_harmless() -> None:
    sources = Path(accelerate.__file__).parent.rglob("*.py")
    texts = [path.read_text(encoding="utf-8") for path in sources]
    found = {name for text in texts for name in re.findall(r"[\"']ACCELERATE_([A-Z0-9_]+)", text)}
    known = set().union(*READ_BY_ACCELERATE.values())
    assert sorted(found - known) == [], "decide whether a recipe refuses these"
    rows = {**_launcher._SWITCHES, **_launcher._VALUES}.values()
    ours = {name.removeprefix("ACCELERATE_") for names, _ in rows for name in names}
    assert ours >= READ_BY_ACCELERATE["refused unless the recipe does the same"]


def test_variables_that_ask_for_nothing_or_for_the_same_are_taken(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    for variable, value in (
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"),
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_USE_FSDP", "false"),
        ("ACCELERATE_DYNAMO_BACKEND", "NO"),
        ("ACCELERATE_USE_CPU", "true"),
        ("WORLD_SIZE", "1"),
    ):
        clean_environment.setenv(variable, value)
    check_launch("bf16")
    clean_environment.setenv("ACCELERATE_MIXED_PRECISION", "no")  # what accelerate gives unasked
    check_launch("bf16")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, MASTER_ADDR, LOCAL_RANK, MASTER_PORT"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is 0, but WORLD_SIZE, RANK, MASTER_ADDR, MASTER_PORT"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "1"},
            "WORLD_SIZE is 2, but MASTER_ADDR is not set; start with torchrun",
        ),
        ({"WORLD_SIZE": "two"}, "the variable WORLD_SIZE is 'two', not a whole number"),
        ({"RANK": "-1"}, "the variable RANK is '-1', not a whole number"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "a", "ACCELERATE_USE_CPU": "1"},
            "RANK is 2 and WORLD_SIZE is 2",
        ),
    ],
)
def test_incomplete_variables_of_a_distributed_launch_are_refused(
    clean_environment: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        clean_environment.setenv(name, value)
    with pytest.raises(SetupError, match=message):
        check_launch("bf16")


ACCELERATE = {
    "accelerate": ["python", "/bin/accelerate", "launch"],
    "accelerate-launch": ["/usr/bin/python3", "-u", "/bin/accelerate-launch"],
    "module": ["python", "-m", "accelerate.commands.launch"],
    "cli": ["python", "-m", "accelerate.commands.accelerate_cli", "launch"],
    "file": ["python", "/lib/accelerate/commands/launch.py"],
    "ours": ["python", "-m", "surgrec.training.accelerate", "launch"],
}


def launch(monkeypatch: pytest.MonkeyPatch, *words: str, form: str = "accelerate") -> None:
    """Pretend that this process was started by such a command of accelerate."""
    command = [*ACCELERATE[form], *words, "recipes/jepa.py", "--num_processes", "9"]
    monkeypatch.setattr(_launcher, "_launcher", lambda: (None, command))


@pytest.mark.parametrize("form", list(ACCELERATE))
@pytest.mark.parametrize("words", [("--num_processes", "2"), ("--num-processes=2",)])
def test_every_form_of_accelerate_launch_says_how_many_processes_it_was_asked_for(
    clean_environment: pytest.MonkeyPatch, form: str, words: tuple[str, ...]
) -> None:
    launch(clean_environment, "--cpu", *words, form=form)
    assert launched_processes() == {"accelerate launch --num_processes": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gradient_accumulation_steps", "4"), "accelerate launch --gradient_accumulation_steps"),
        (("--gradient-accumulation-steps=4",), "4 steps of gradient accumulation"),
        (("--mixed_precision", "no"), "asks for mixed precision no, but the precision of this run"),
        (("--mixed_precision=fp16",), "remove --mixed_precision, and give --precision no or bf16"),
        (("--dynamo_backend", "eager"), "accelerate launch --dynamo_backend asks for compilation"),
        (("--gradient_clipping", "0.5"), "give --optimizer.grad_clip 0.5"),
        (("--use_fsdp",), "accelerate launch --use_fsdp asks for FSDP"),
    ],
)
def test_an_option_of_accelerate_launch_that_no_recipe_follows_is_refused(
    clean_environment: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    launch(clean_environment, "--cpu", *words)
    with pytest.raises(SetupError, match=message):
        check_launch("bf16")


CONFIG = "compute_environment: LOCAL_MACHINE\nmixed_precision: 'no'\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n", "asks for FSDP"),
        ("distributed_type: DEEPSPEED\n", "asks for DeepSpeed"),
        ("distributed_type: 'NO'\ndynamo_config: {dynamo_backend: INDUCTOR}\n", "compilation"),
        ("distributed_type: 'NO'\ndowncast_bf16: true\n", "asks for bf16 weights"),
    ],
)
def test_a_config_file_of_accelerate_is_refused_by_its_path(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(CONFIG + content, encoding="utf-8")
    launch(clean_environment, "--config_file", str(file))
    with pytest.raises(SetupError, match=message) as refused:
        check_launch("bf16")
    assert str(refused.value).startswith(str(file))


def test_a_config_file_may_ask_for_the_precision_of_the_run_only(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("distributed_type: 'NO'\nmixed_precision: bf16\n", encoding="utf-8")
    launch(clean_environment, "--config_file", str(file))
    check_launch("bf16")
    with pytest.raises(SetupError, match=r"asks for mixed precision bf16, but .* is no"):
        check_launch("no")
    launch(clean_environment, "--config_file", str(file), "--mixed_precision", "bf16")
    check_launch("bf16")


def test_a_config_file_says_how_many_processes_it_asks_for(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("distributed_type: MULTI_CPU\nnum_processes: 2\n", encoding="utf-8")
    launch(clean_environment, "--config_file", str(file))
    assert launched_processes() == {f"{file} (num_processes)": 2}
    launch(clean_environment, "--config_file", str(file), "--num_processes", "3")
    assert launched_processes() == {"accelerate launch --num_processes": 3}
