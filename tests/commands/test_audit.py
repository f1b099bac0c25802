"""`surgrec audit`: what it prints, and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.commands.audit import audit
from surgrec.errors import ConfigError
from tests.support.splits import PATTERN, clean_split, write_split


@pytest.fixture
def leaking(tmp_path: Path) -> str:
    """A folder whose test part has a clip of train."""
    parts = clean_split()
    parts["test"].append(parts["train"][0])
    return str(write_split(tmp_path / "leaking", parts))


def test_a_clean_split_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_split(tmp_path / "clean", clean_split())
    assert audit([str(folder)], pattern=PATTERN) == 0
    printed = capsys.readouterr().out
    assert "passed" in printed
    assert "33.33%" in printed  # three balanced classes


def test_a_leak_exits_with_1_and_is_named(leaking: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit([leaking], pattern=PATTERN) == 1
    assert "failed: shared_cases, shared_clips, shared_times" in capsys.readouterr().out


def test_json_has_every_finding_with_its_counts(
    leaking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["shared_cases", "shared_clips", "shared_times"]
    assert audit([leaking], pattern=PATTERN, allow=names, json=True) == 0
    result = json.loads(capsys.readouterr().out)
    assert {
        row["name"]: (row["found"], row["of"], row["allowed"]) for row in result["findings"]
    } == {name: (1, 37, True) for name in names}
    assert [part["clips"] for part in result["parts"]] == [36, 36, 37]
    assert len(result["digests"]) == 3


def test_names_of_clips_are_printed_inertly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "case_1_\x1b[31m[red]\u202e.mp4"
    for part in ("train", "test"):
        (tmp_path / f"{part}.txt").write_text(f'"{evil}" [bold]x\n')
    assert audit([str(tmp_path)], pattern="(?P<case>case_[0-9]+)") == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\u202e" not in printed


def test_a_suspicious_cell_of_a_published_table_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_split(tmp_path / "clean", clean_split()))
    table = tmp_path / "results.csv"
    table.write_text("model,accuracy\nours,33.33\ntheirs,90.00\n")
    assert audit([folder], pattern=PATTERN, table=table) == 1
    printed = capsys.readouterr().out
    assert "1 of 2 cells equal a predictor of one class" in printed
    assert "1 of 2 cells are no fraction of 36 test clips" in printed

    table.write_text("model,accuracy\nours,83.33\n")
    assert audit([folder], pattern=PATTERN, table=table, json=True) == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["fraction"] is True


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("claim", 0.02),
        ("pretraining", "/data/corpus"),
        ("copies", Path("copies.json")),
        ("allow", "shared_cases"),
        ("html", Path("page.html")),
        ("multilabel", True),
    ],
)
def test_a_table_refuses_options_that_it_does_not_use(option: str, value: object) -> None:
    message = f"--table does not use --{option}; leave it out, or leave --table out to check the"
    with pytest.raises(ConfigError, match=message):
        audit(["absent"], table=Path("results.csv"), **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("option", "value"), [("metric", "macro_f1"), ("score_columns", ["ours"])])
def test_options_of_a_table_are_refused_without_one(option: str, value: object) -> None:
    message = f"an audit without --table does not use --{option}; leave it out, or give --table"
    with pytest.raises(ConfigError, match=message):
        audit(["absent"], **{option: value})  # type: ignore[arg-type]


def test_one_part_alone_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_split(tmp_path / "test_only", {"test": clean_split()["test"]})
    assert audit([str(folder)], pattern=PATTERN) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "the split has no train part, so that it was not compared" in printed
    assert "failed: absent_parts" in printed


def test_an_audit_needs_no_package_of_an_extra() -> None:
    program = (
        "import sys; import surgrec.commands.audit; "
        "print(sorted({'torch', 'scipy', 'sklearn', 'jinja2', 'matplotlib'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
