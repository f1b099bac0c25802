"""Expressions of users mean what they mean in Python, and cannot hang."""

import contextlib
import re
import time

import pytest

from surgrec.errors import ManifestError
from surgrec.user_patterns import UserPattern

PATHS = ["2024/case07/left.mp4", "Müller_01/ö-2.mp4", "a b/٣x.mp4", "x[1]/y.mp4", "UPPER/é.mp4"]


@pytest.mark.parametrize(
    "text",
    [
        r"case(\d+)",
        r"^([^/]+)/",
        r"^(\w+)",
        r"^([\w-]+)/",
        r"(\W)",
        r"([^\d/]+)",
        r"(?i)(upper)",
        r"([]x]+)",
        r"(\D+)\.mp4\Z",
        r"(?:a b|2024)/(?P<case>.*)\.mp4$",
        r"(\S+)/",
        r"\\(",
        r"(é)",
    ],
)
def test_an_expression_finds_what_pythons_own_engine_finds(text: str) -> None:
    try:
        python = re.compile(text)
    except re.error:
        with pytest.raises(ManifestError, match="is not a regular expression"):
            UserPattern(text, "case_from")
        return
    pattern = UserPattern(text, "case_from")
    for path in PATHS:
        match = python.search(path)
        assert pattern.search(path) == (match.group(1) if match else None)


@pytest.mark.parametrize("text", ["(a+)+$", "((a|a)*)*b", "(.*.*.*.*.*.*.*x)", "(a?){500}a{500}"])
def test_no_expression_hangs(text: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(ManifestError):
        UserPattern(text, "case_from").search("a" * 5000 + "!")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            r"(?=x)(a)",
            r"case_from '\(\?=x\)\(a\)' is not .* without look-around and",
        ),
        (r"(a)\1", "invalid escape sequence"),
        (r"(a{100000})", "invalid repetition size"),
        ("(", "missing"),
        ("abc", "has 0 groups; put parentheses around the case only"),
        ("(a)(b)", "has 2 groups"),
        ("(" + "a" * 2000 + ")", "case_from has 2002 characters; give at most 1000"),
        ("\udce9(a)", "is not a regular expression"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        UserPattern(text, "case_from")
