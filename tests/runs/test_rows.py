"""JSON-lines files survive a kill and a resume."""

from pathlib import Path

from surgrec.runs import RunFiles, append_rows, read_rows


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
