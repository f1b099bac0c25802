"""The one reader of YAML: plain values, within limits, each fault in one sentence."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import ConfigError
from surgrec.yaml_files import parse_yaml, read_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1e-6", 1e-6),
        ("90_000", 90_000),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0.5", -0.5),
        ("0", 0),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T12:00:00Z", "2024-01-31T12:00:00Z"),
        ("12:30:00", "12:30:00"),
        ("'0300'", "0300"),
        ("!!str 12", "12"),
        ("1e3e", "1e3e"),
        ("7.1.2", "7.1.2"),
        ("1_000", 1000),
        ("1_0.5_0", 10.5),
        ("0x_ff", 255),
        ("1__0", "1__0"),
        ("1_", "1_"),
        ("1._5", "1._5"),
        ("1_.5", "1_.5"),
        ("1_e5", "1_e5"),
        ("0x_", "0x_"),
        ("0b1__0", "0b1__0"),
        ("0o7_", "0o7_"),
    ],
)
def test_a_plain_scalar_is_the_value_of_yaml_12(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}", "x")["a"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_text_as_it_is_written() -> None:
    text = "{12: a, yes: b, 2024-01-31: c, 0x1: d, 007: e, '': f}"
    assert list(parse_yaml(text, "x")) == ["12", "yes", "2024-01-31", "0x1", "007", ""]


def test_anchors_and_merge_keys_work() -> None:
    text = """
base: &base {width: 1, depth: 2}
other: &other {depth: 3, heads: 4}
one: {<<: *base, depth: 9}
two: {<<: [*base, *other]}
three: [*base, *base]
"""
    value = parse_yaml(text, "x")
    assert value["one"] == {"width": 1, "depth": 9}
    assert value["two"] == {"width": 1, "depth": 2, "heads": 4}
    assert value["three"] == [value["base"]] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "x, line 3: the key 'a' stands twice, first in line 1; remove one"),
        ("a:\n  b: {c: 1, d: 2, c: 3}", "x, line 2: the key 'c' stands twice, first in line 2"),
        ("'1': a\n1: b", "x, line 2: the key '1' stands twice"),
        ("steps: 0300", "x, line 1: 0300 begins with a zero; write 300, or '0300' for text"),
        ("steps: -007", "write -7, or '-007' for text"),
        ("a: .nan", "x, line 1: .nan is not a finite number"),
        ("a: -.inf", "-.inf is not a finite number"),
        ("a: 1e999", "1e999 is too large for a number"),
        (f"a: {'9' * 400}", "x, line 1: a number has 400 digits; give a shorter one"),
        ("a: [1, 2", "x is not YAML (line "),
        ("a: *b", "*b has no anchor above it"),
        ("a: &a [*a]", "*a stands inside its own value"),
        ("a: &a {<<: *a}", "*a stands inside its own value"),
        ("a: {<<: 3}", "<< has a value that is not a mapping"),
        ("? [a, b]\n: 1", "a key is a list or a mapping; write the key as text"),
        ("a: !!python/name:os.system", "is not known; remove it"),
        ("a: !!binary aGVsbG8=", "is not known; remove it"),
        ("--- 1\n--- 2", "x, line 2: a second document begins"),
        ("a: b\0c", "x is not YAML ("),
    ],
)
def test_what_is_ambiguous_or_no_plain_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_yaml(text, "x")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def billion_laughs(levels: int) -> str:
    """Lists of ten aliases each, one level above the other."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    """Mappings that merge a hundred mappings each."""
    lines = ["a0: &a0 {x: 1, y: {z: 2}}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 100)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (billion_laughs(10), "it has more than 100,000 values"),
        (merge_bomb(6), "it has more than 100,000 values"),
        ("[" * 10_000, "values are nested deeper than 50 levels"),
        ("[" * 100_000 + "]" * 100_000, "values are nested deeper than 50 levels"),
        ("{a: " * 100_000, "values are nested deeper than 50 levels"),
        ("- " * 100_000, "values are nested deeper than 50 levels"),
        ("[" + "1," * 110_000 + "]", "it has more than 100,000 values"),
        ("a: " + "x" * 5_000_000, "x is larger than 4,000,000 characters"),
        (b"a: \xff\xfe", "x is not UTF-8 text (byte 3); save it as UTF-8"),
        ("a: 1".encode("utf-16"), "x is not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_bomb_is_refused_at_once(text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_yaml(text, "x")
    assert message in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_pipe_a_socket_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.yaml"))
        for path, kind in (
            (tmp_path / "pipe.yaml", "named pipe"),
            (tmp_path / "socket.yaml", "socket"),
            (Path("/dev/zero"), "device"),
            (tmp_path, "Is a directory"),
            (tmp_path / "a\0b", "null byte"),
        ):
            with pytest.raises(ConfigError, match=f"cannot be read .*{kind}"):
                read_yaml(path)

    (tmp_path / "huge.yaml").touch()
    os.truncate(tmp_path / "huge.yaml", 1 << 40)
    with pytest.raises(ConfigError, match="larger than 4,000,000 bytes"):
        read_yaml(tmp_path / "huge.yaml")


@pytest.mark.parametrize(
    "value",
    ["12", "1e3", "0300", "yes", "null", "", ".nan", "2024-01-31", "a: b", "ü\n x", "9" * 60, "<<"],
)
def test_written_yaml_reads_back_as_it_was(value: str) -> None:
    content = {"text": value, value: [value, 1e-5, 3, True, None, {}, []], "again": [value] * 2}
    assert parse_yaml(to_yaml(content), "x") == content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("!!int 5", 5), ("!!int 0x10", 16), ("!!int '5'", 5), ("&a !!int -3", -3)),
        *(("!!float 1.5", 1.5), ("!!float 1", 1.0), ("!!float 1e3", 1000.0)),
        *(("!!bool yes", True), ("!!null ~", None), ("!!null", None), ("!!null ''", None)),
        *(
            ("!!str 5", "5"),
            ("!!str", ""),
            ("!!str null", "null"),
            ("! 5", "5"),
            ("!!str |\n  5", "5"),
        ),
        *(("!<tag:yaml.org,2002:str> 5", "5"), ("!!map {a: 1}", {"a": 1}), ("!!seq [1]", [1])),
        *(("! [1]", [1]), ("{!!str 5: 1}", {"5": 1}), ("{! <<: 1}", {"<<": 1})),
    ],
)
def test_a_tag_that_agrees_with_its_value_is_honored(text: str, value: object) -> None:
    read = parse_yaml(f"a: 1\nk: {text}", "x")["k"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        *(("!!int abc", "!!int 'abc' is not a whole number"), ("!!int 1.5", "!!int '1.5' is not")),
        *(
            ("!!int", "!!int '' is not"),
            ("!!int true", "!!int 'true' is not"),
        ),
        *(("!!float x", "!!float 'x' is not a number"), ("!!float", "!!float '' is not a number")),
        *(("!!bool 1", "!!bool '1' is not true or false"), ("!!null x", "!!null 'x' is not null")),
        *(("[!!int abc]", "!!int 'abc'"), ("!!int 012", "012 begins with a zero")),
        ("!!float .inf", ".inf is not a finite number"),
        ("{!!int 5: 1}", "a key has the tag !!int, but keys are text"),
        ("{!!float x: 1}", "a key has the tag !!float"),
        ("!!python/object/apply:os.system [id]", "!!python/object/apply:os.system is not known"),
        *(
            ("!!python/name:os.system", "!!python/name:os.system is not known"),
            ("!x 1", "!x is not"),
        ),
        *(("!!binary aGk=", "!!binary is not"), ("!!timestamp 2001-01-01", "!!timestamp is not")),
        *(("!!set {a, b}", "!!set is not"), ("!!omap [a: 1]", "!!omap is not known")),
        *(("!!pairs [a: 1]", "!!pairs is not"), ("!!seq {a: 1}", "!!seq is not known here")),
        *(("!!map [1]", "!!map is not known here"), ("!!str [1]", "!!str is not known here")),
        *(("!<foo> 1", "the tag foo is not"), ("!!value =", "!!value is not")),
        ("{!!merge <<: {a: 1}}", "!!merge is not known"),
        ("!!" + "x" * 5000 + " 1", "xxx... is not known"),
    ],
)
def test_any_other_tag_is_refused_with_its_line(text: str, finding: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_yaml(f"a: 1\nk: {text}", "x")
    assert str(refused.value).startswith("x, line 2: ")
    assert finding in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_tag_by_another_handle_is_the_same_tag() -> None:
    head = "%TAG ! tag:yaml.org,2002:\n---\n"
    assert parse_yaml(head + "!int 5", "x") == 5
    with pytest.raises(ConfigError, match="x, line 3: !!int 'abc' is not a whole number"):
        parse_yaml(head + "!int abc", "x")
