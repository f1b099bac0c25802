"""JSON that may be damaged or forged: limits, types, and the place that a message names."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pytest

from surgrec.errors import CheckpointError, ConfigError
from surgrec.json_files import MAX_DEPTH, decode_json, read_json, read_json_lines, typed


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    size: int
    path: Path = Path("a")

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ConfigError(f"size is {self.size}; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: dict[str, list[Part]]
    scale: float = 1.0
    notes: dict[str, Any] = field(default_factory=dict)


class Row(TypedDict):
    step: int
    loss: NotRequired[float]


def decode(text: bytes | str, kind: Any = Any) -> Any:
    return decode_json(text, kind, "a.json", error=CheckpointError, remedy="copy it again")


def refusal(text: bytes | str, kind: Any = Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        decode(text, kind)
    return str(caught.value)


def read_lines(path: Path, kind: Any) -> list[Any]:
    return list(read_json_lines(path, kind, error=ConfigError, remedy="mend it"))


def test_a_value_of_nested_dataclasses_is_read_back() -> None:
    text = '{"parts": {"a": [{"name": "x", "size": 3, "path": "b/c"}]}, "notes": {"any": [1, {}]}}'
    part = Part(name="x", size=3, path=Path("b/c"))
    assert decode(text, Whole) == Whole(parts={"a": [part]}, notes={"any": [1, {}]})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b'{"a": [1, 2', "is not valid JSON (Expecting ',' delimiter: column 12)"),
        (b'{"a": 1}\0\0\0', "NUL bytes, as after a power failure"),
        (b"[\n1,\nx]", "is not valid JSON (Expecting value: line 3, column 1)"),
        (b"[NaN]", "has NaN in place of a number"),
        (b"[-Infinity]", "has -Infinity in place of a number"),
        (b"[1e400]", "has the number 1e400, which is too large"),
        (b"9" * 5000, "has the number 99999999999999999999... of more than 64 bits"),
        (b'[{"a": 1, "b": 2, "a": 3}]', "has the key 'a' twice in one object"),
        ("{}".encode("utf-16"), "is not UTF-8 text (at byte 0)"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b"[" * 100_000, f"is nested more than {MAX_DEPTH} levels deep"),
        (b'{"a":' * 100_000, f"is nested more than {MAX_DEPTH} levels deep"),
        (b"[" + b"[]," * 4_000_000, "has more than 10,000,000 values"),
        (b'"' + b'\\"' * 1_000_000, "Unterminated string"),
    ],
)
def test_a_text_that_is_not_json_is_refused(text: bytes, words: str) -> None:
    assert words in refusal(text)
    assert refusal(text).startswith("a.json ")
    assert refusal(text).endswith("; copy it again")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a.json is a list, not an object;"),
        ("{}", "a.json lacks the field parts;"),
        ('{"parts": 5}', "a.json: parts is a whole number, not an object;"),
        ('{"parts": {}, "scale": "1"}', "a.json: scale is a text, not a number;"),
        ('{"parts": {"a": [], "b-1": [{}]}}', "a.json: parts.b-1[0] lacks the field name;"),
        (
            '{"parts": {"a": [], "b": [], "c.d": [{"name": "x", "size": 1.5}]}}',
            "a.json: parts.c.d[0].size is a number, not a whole number;",
        ),
        (
            '{"parts": {"a": [{"name": "x", "size": 1, "seize": 1}]}}',
            "a.json has the unknown field parts.a[0].seize;",
        ),
        (
            '{"parts": {"a": [{"name": "x", "size": 1, "path": "b\\u0000"}]}}',
            "a.json: parts.a[0].path has the fault: 'b\\x00' is not a path;",
        ),
        ('{"parts": {"a": [{"name": "x", "size": -1}]}}', "a.json: size is -1; give 0 or more"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(text: str, words: str) -> None:
    assert words in refusal(text, Whole) + ";"


def test_brackets_within_texts_are_not_nesting() -> None:
    text = json.dumps({"a": "[" * 1000 + '\\"' + "{" * 1000})
    assert decode(text) == json.loads(text)


def test_the_deepest_allowed_nesting_is_read() -> None:
    assert decode("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_a_byte_order_mark_is_accepted() -> None:
    assert decode('{"a": 1}'.encode("utf-8-sig")) == {"a": 1}


def test_numbers_of_64_bits_are_read() -> None:
    assert decode(f"[{2**64 - 1}, {-(2**63)}, 1e308]") == [2**64 - 1, -(2**63), 1e308]


def test_names_of_files_that_are_not_utf_8_are_read_on_request() -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    text = json.dumps({"file": name})
    read = decode_json(text, dict[str, str], "a", error=ConfigError, remedy="mend", file_names=True)
    assert os.fsencode(read["file"]) == b"caf\xe9.mp4"


def test_a_typed_dict_keeps_further_keys() -> None:
    row = {"step": 1, "loss": 0.5, "other": {"a": [1]}}
    assert typed(row, Row, "a", error=ConfigError, remedy="mend") == row


def test_a_torn_last_line_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step"')
    assert read_lines(path, Row) == [{"step": 1}, {"step": 2}]
    assert f"{path}, line 3 is cut short and is left out" in capsys.readouterr().err

    path.write_bytes(b'{"step": 1}\n\0\0\0\0')
    assert read_lines(path, Row) == [{"step": 1}]
    assert "line 2 is cut short" in capsys.readouterr().err


def test_a_complete_last_line_needs_no_line_break(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    assert read_lines(path, Row) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("line", ["garbage", "", "\0\0", '{"step": "2"}', "[]", '{"loss": 1.0}'])
def test_a_bad_line_before_the_last_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(ConfigError, match=r"rows\.jsonl, line 2[ :].*; mend it$"):
        read_lines(path, Row)


def test_a_missing_file_of_lines_has_no_rows(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "rows.jsonl", Row) == []


def test_a_file_that_is_not_regular_is_refused_at_once(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, words in (
        (pipe, "a named pipe, not a regular file"),
        (loop, "Too many levels of symbolic links"),
        (tmp_path, "Is a directory"),
        (Path("/dev/zero"), "a device, not a regular file"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_json(path, dict, error=ConfigError, remedy="mend it")
    with pytest.raises(ConfigError, match="named pipe"):
        read_lines(pipe, Row)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="larger than 268,435,456 bytes"):
        read_json(path, dict, error=ConfigError, remedy="mend it")
    with pytest.raises(ConfigError, match="line 1 is larger than 268,435,456 bytes"):
        read_lines(path, Row)


def test_any_number_that_python_writes_is_read_on_request() -> None:
    text = f"[NaN, -Infinity, 1e400, {10**30}]"
    read = decode_json(text, list[Any], "a", error=ConfigError, remedy="mend", any_number=True)
    assert str(read) == f"[nan, -inf, inf, {10**30}]"
    with pytest.raises(ConfigError, match="has a number of 5000 digits"):
        decode_json("9" * 5000, int, "a", error=ConfigError, remedy="mend", any_number=True)
