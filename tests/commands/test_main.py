"""The console script: its commands, their help, and their start without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from surgrec import __version__
from tests.support.tool import (
    heavy_modules_of,
    refusal,
    run_here,
    run_surgrec,
    run_tool,
    surgrec_here,
)

COMMANDS = ("mix", "order", "features", "evaluate", "vlm", "compare", "report", "export", "import")
TORCH_COMMANDS = {
    "features": ("data", "--encoder", "run", "--out", "out"),
    "evaluate": ("corpus", "--encoder", "run", "--task", "phase", "--split", "split.yaml"),
    "report": ("run",),
    "export": ("run", "--format", "hf", "--out", "out"),
    "import": ("file.pt", "--out", "encoder.safetensors"),
}


def test_help_lists_the_commands_and_the_exit_statuses() -> None:
    shown = surgrec_here("--help").stdout
    assert all(f"\n    {name} " in shown for name in COMMANDS)
    for status in (
        "0    done\n",
        "\n    1    refused",
        "\n    3    done, but",
        "\n    130  interrupted",
    ):
        assert status in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_describes_every_argument_in_plain_types(name: str) -> None:
    run = surgrec_here(name, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith(f"usage: surgrec {name} ")
    assert "Example:" in run.stdout
    assert not any(word in run.stdout for word in ("<class", "Literal", "null", "Args:"))
    described = run.stdout.partition("positional arguments:\n")[2].splitlines()[0].split()
    assert len(described) > 2, "the positional argument has a description"


def test_the_package_and_both_scripts_print_one_version() -> None:
    assert run_surgrec("--version").stdout == f"surgrec {__version__}\n"
    assert run_tool("--version").stdout == f"surgrec-shard {__version__}\n"


def test_a_missing_option_points_to_the_help_of_its_command() -> None:
    sentence = refusal(surgrec_here("evaluate", "x", "--encoder", "y", "--task", "phase"), 2)
    assert sentence == (
        "surgrec evaluate: error: --split is required (see surgrec evaluate --help)"
    )


def test_help_needs_no_torch() -> None:
    commands = [("--help",), *((name, "--help") for name in COMMANDS)]
    assert heavy_modules_of("surgrec.commands.main", commands) == []


@pytest.mark.parametrize("name", TORCH_COMMANDS)
def test_without_torch_a_command_says_how_to_install_it(name: str, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"  # simulate a missing package
        "from surgrec.commands.main import main; sys.argv[0] = 'surgrec'; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, name, *TORCH_COMMANDS[name]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "surgrec: error: torch is not installed; run pip install '.[train]' in a clone of SurgRec, "
        "or install SurgRec's wheel with the extra [train]\n"
    )


def test_an_export_before_the_first_checkpoint_says_so(tmp_path: Path) -> None:
    done = surgrec_here("export", tmp_path, "--format", "hf", "--out", tmp_path / "hf")
    assert "has no encoder.safetensors, which a run writes with its first checkpoint" in refusal(
        done
    )


@pytest.mark.parametrize(
    ("program", "typed", "completed"),
    [
        ("surgrec", "ev", ["evaluate"]),
        ("surgrec", "audit --js", ["--json"]),
        ("surgrec", "mix --mixture.min", ["--mixture.min_duration_s", "--mixture.min_stretch_s"]),
        ("surgrec-shard", "che", ["check-source"]),
        ("surgrec-shard", "build --encode.short", ["--encode.short_side_px"]),
    ],
)
def test_bash_completes_commands_and_options(
    program: str, typed: str, completed: list[str], tmp_path: Path
) -> None:
    printed = (run_here if program == "surgrec-shard" else surgrec_here)(
        "--print-completion", "bash"
    )
    (tmp_path / "completion").write_text(printed.stdout)
    words = [program, *typed.split(" ")]
    script = f"""
source {tmp_path}/completion
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
_shtab_{program.replace("-", "_")}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed, done.stderr


def test_completion_for_an_unknown_shell_names_the_known_ones() -> None:
    sentence = refusal(surgrec_here("--print_completion", "fish"), 2)
    assert "bash, zsh, tcsh" in sentence
