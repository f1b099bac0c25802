"""Text of unknown origin stays on its line, in its direction and at a readable length."""

import pytest

from surgrec.text import as_list, counted, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("case\u202e7", r"case\u202e7"),
        ("a\nb\r\x1b[31m\x00", r"a\nb\r\x1b[31m\x00"),
        ("\udc80\ufeff\u2028", r"\udc80\ufeff\u2028"),
        ("häkchen 手術 נתח \N{WOMAN}\u200d\N{PERSONAL COMPUTER}", None),
    ],
)
def test_characters_without_a_shape_become_escapes(text: str, shown: str | None) -> None:
    assert visible(text) == (text if shown is None else shown)
    visible(text).encode("utf-8")


def test_kept_characters_stay() -> None:
    assert visible("a\nb\x00", kept="\n") == "a\nb\\x00"


def test_a_long_line_keeps_its_start_and_its_end() -> None:
    line = one_line("start " + "x" * 5000 + " end", 100)
    assert len(line) == 100
    assert line.startswith("start x")
    assert line.endswith("x end")
    assert " ... " in line


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(number, "video") for number in (0, 1, 2)] == [
        "0 videos",
        "1 video",
        "2 videos",
    ]
    assert counted(2, "process", "processes") == "2 processes"


def test_one_name_and_a_list_of_names_are_a_list() -> None:
    assert as_list("") == as_list([]) == []
    assert as_list("a") == as_list(["a"]) == ["a"]
