"""JSON-lines files survive a kill and a resume."""

import math
import os
import sys
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.runs import RunFiles, append_rows, read_metrics, read_plan, read_rows, read_run


def test_rows_of_repeated_steps_are_dropped_and_a_cut_line_is_ignored(
    tmp_path: Path,
) -> None:
    files = RunFiles(tmp_path)
    path = files.metrics
    append_rows(path, [{"step": step} for step in range(5)])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "lo')
    assert [row["step"] for row in read_rows(path)] == [0, 1, 2, 3, 4]
    files.drop_rows_from(3)
    assert path.read_text(encoding="utf-8") == '{"step": 0}\n{"step": 1}\n{"step": 2}\n'


METRICS = {
    "step": 0,
    "loss": 0.5,
    "loss_by_source": {"alpha": 0.5},
    "consumed": {"alpha": 8},
    "data_wait_s": 0.1,
    "step_s": 0.2,
    "clips_per_s": 40.0,
    "mfu": None,
}


def test_a_torn_row_is_said_and_dropped_by_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = RunFiles(tmp_path)
    files.metrics.write_bytes(b'{"step": 0}\n\0\0\0\0\0\0')
    assert read_rows(files.metrics) == [{"step": 0}]
    assert "metrics.jsonl, line 2 is cut short and is left out" in capsys.readouterr().err
    files.drop_rows_from(1)
    assert files.metrics.read_bytes() == b'{"step": 0}\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "0.5"}, "loss is a text, not a number"),
        ({"consumed": {"a": -1}}, "consumed.a has the fault: expected a whole number >= 0"),
        ({"consumed": ["a"]}, "consumed is a list, not an object"),
        ({"step": 1 << 60}, "step has the fault"),
        ({"step_s": 0}, "step_s has the fault: expected a number > 0"),
        ({"step": 0}, "step 0 follows step 0, but a run logs each step once"),
    ],
)
def test_a_bad_row_of_metrics_is_named(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = RunFiles(tmp_path).metrics
    append_rows(path, [METRICS, {**METRICS, "step": 1, **change}, {**METRICS, "step": 2}])
    with pytest.raises(ConfigError) as caught:
        read_metrics(tmp_path)
    assert words in str(caught.value)
    assert "metrics.jsonl" in str(caught.value)


def test_the_last_row_of_a_run_that_diverged_is_read(tmp_path: Path) -> None:
    append_rows(RunFiles(tmp_path).metrics, [METRICS, {**METRICS, "step": 1, "loss": math.nan}])
    assert math.isnan(read_metrics(tmp_path)[1]["loss"])


def test_columns_of_later_versions_are_kept(tmp_path: Path) -> None:
    append_rows(RunFiles(tmp_path).metrics, [{**METRICS, "later": {"a": 1}}])
    assert read_metrics(tmp_path)[0]["later"] == {"a": 1}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"corpora": ["a"], "sources": [{}]}', "\0\0"])
def test_a_damaged_plan_is_refused_with_a_remedy(tmp_path: Path, text: str) -> None:
    RunFiles(tmp_path).plan.write_text(text)
    with pytest.raises(ConfigError, match=r"plan\.json.*; restore the file from a copy"):
        read_plan(tmp_path)


def test_a_pipe_in_a_run_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(ConfigError, match="a named pipe, not a regular file"):
        read_metrics(tmp_path)
    with pytest.raises(ConfigError, match="a named pipe, not a regular file"):
        read_plan(tmp_path)


def test_no_module_that_the_config_of_a_run_names_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('planted code ran')")
    monkeypatch.syspath_prepend(tmp_path)
    append_rows(RunFiles(tmp_path).metrics, [METRICS])
    for mixture in (
        "{class_path: planted.X}",
        "{levels: [{class_path: planted.X}]}",
        "{weights: {class_path: planted.X}}",
        "planted.X",
    ):
        RunFiles(tmp_path).config.write_text(f"seed: 1\nmixture: {mixture}\n")
        with pytest.raises(ConfigError, match=r"config\.yaml"):
            read_run(tmp_path)
    assert "planted" not in sys.modules
