"""Expressions of users mean what they mean in Python, and cannot hang."""

import re
import warnings

import pytest

from surgrec.errors import ManifestError
from surgrec.user_patterns import NamedPattern, UserPattern

SUBJECTS = [
    "2024/case07/left.mp4",
    "Müller_01/ö-2.mp4",
    "Mu\u0308ller/case\u0301 1.mp4",
    "a b/٣x².mp4",
    "x[1]/y{,3}\\.mp4",
    "UPPER/é/ẞß/\u212a\u017f\u0130.mp4",
    "case07\n",
    "case07\ncase08\n",
    "nul\0case\0.mp4",
    "tab\t\v\x85\xa0\u2028case-ª",
    "aaaab\u200düa\u0301a",
    "",
]
WITHOUT_SPACES = r"""
case(\d+)   ^([^/]+)/   ^(\w+)   ^([\w-]+)/   (\W)   (\W+)   ([^\d/]+)   (?i)(upper)   ([]x]+)
(?:2024|UPPER)/(?P<case>.*)\.mp4$   (\S+)/   (\s)   ([\s\W])   ([^\s\W]+)   ([\S\d]+)   (é)
(\w)\b   \b(\w+)\b   \b(case\w*)   (a)\b   (a\B)   \B(\w)   (case\d+)$   (case\d+)\Z   (\w+)\s*$
(.*)$   (?m)(case\d+)$   (?m)^(case08)   (?s)(.*)$   (?s)(.+)   (a{,3})   (a{2,})   (a{3})
(a{,})   (y\{,3})   (a{x})   (?#note)(b)   (a++)b   (a*+)b   (?>a+)(b)   (a?+)   (a{2}+)
(?=case)(\w+)   (?<=case)(\d+)   (?<!\w)(\w)   (?!2)(\d)   (.)\1   (\w)(?:.*)\Z   (?i)(ß)
(?i)(k)   (?i)(s)   (?i)(i)   (?i)([a-z]+)   (?i)([^a-z]+)   (?a)(\w+)   (?a)(\W+)
(?a:\b(\w+))   (?a)(\d)   (?a)(\s)   (?i:CASE)(\d+)   (?-i:case)(\d)   (\u00fc)   (\xe9)
(\101)   (\0)   ([\0-\x1f])   ([\b])   (\a)   ([[:alpha:]])   ([a-])   ([^]a]+)   (\p{L})   (\z)
(\Qa\E)   (?<x>a)   (?U)(a+)   (\C)   (a**)   (a{2}{3})   ((?:a|a)*)b   (?:|a)(b)   (a|ab)(?:b)
(?(1)a|b)   (\d)   ([\d]+)   (\w+?)\b   (ü)   (u\u0308)   (?L)(a)   (?u)(\w+)   (\x{41})   (\e)
(\_)   ([\w--a])   (()|b)   (?:(a)|b)*   (^)   ($)   (\A\w)   (^a|b$)   (?:b(a)?)+
(\D+)\.mp4\Z   (   abc   (a)(b)   (a{2000})   \\(   (\ud83d)
"""
WITH_SPACES = ["(?x)( a b ) # comment", "(?:a b|x)/(.*)", r"( ?\w+ )", r"(\N{DIGIT ZERO})"]


@pytest.mark.parametrize("text", [*WITHOUT_SPACES.split(), *WITH_SPACES])
def test_an_expression_finds_what_python_finds(text: str) -> None:
    try:
        with warnings.catch_warnings(action="ignore"):
            python = re.compile(text)
    except re.error:
        python = None
    if python is None or python.groups != 1:
        with pytest.raises(ManifestError, match=r"is not a regular expression|groups; put"):
            UserPattern(text, "case_from")
        return

    expected = []
    for subject in SUBJECTS:
        groups = [match.group(1) for match in python.finditer(subject)]
        used = [group for group in groups if group is not None]
        expected.append(used[0] if used else "" if groups else None)
    assert UserPattern(text, "case_from").search(SUBJECTS) == expected


def test_a_match_without_the_group_is_empty() -> None:
    names = ["my_op_left.mp4", "my_op.mp4", "op.mp4", "op.avi"]
    assert UserPattern("_(left|right)?", "view_from").search(names) == ["left", "", None, None]
    suffix = r"(?:_(left|right))?\.mp4$"
    assert UserPattern(suffix, "view_from").search(names) == ["left", "", "", None]


@pytest.mark.parametrize("text", ["(a+)+$", "(?:a|a)*(b)", "(.*.*.*.*.*.*.*x)", "(a+)+(?=!!)"])
def test_no_expression_hangs(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgrec.user_patterns._CPU_S", 1)
    with pytest.raises(ManifestError) as error:
        UserPattern(text, "case_from").search(["a?", "a" * 5000 + "?"])
    assert f"case_from {text!r} needs too much time or memory for aaaa" in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"(a)\2", r"case_from '\(a\).*' is not .* of Python \(invalid group reference 2"),
        ("(", "missing"),
        ("abc", "has 0 groups; put parentheses around the case only"),
        ("(a)(b)", "has 2 groups"),
        ("(" * 900 + ")" * 90, "is not a regular expression|needs too much"),
        ("((?:(?:a{9999}){9999}){99999999999})", "is not a regular expression"),
        ("(" + "a" * 2000 + ")", "case_from has 2002 characters; give at most 1000"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        UserPattern(text, "case_from")


def test_many_names_are_searched_in_one_process() -> None:
    names = [f"case{number}/op.mp4" for number in range(100_000)]
    found = UserPattern(r"case(\d+)/", "case_from").search(names)
    assert found == [str(number) for number in range(100_000)]


def test_named_groups_are_found_in_each_text() -> None:
    pattern = NamedPattern(r"(?P<case>\d+)/(?P<side>left)?", "pattern")
    assert pattern.names == ["case", "side"]
    assert pattern.search(["07/left.mp4", "08/x.mp4", "none"]) == [
        {"case": "07", "side": "left"},
        {"case": "08", "side": ""},
        None,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"(\d+)", r"has no named group; write \(\?P<name>\.\.\.\)"),
        ("(?P<a>", "is not a regular expression of Python"),
        ("(?P<a>x)" + "y" * 1000, "has 1008 characters"),
    ],
)
def test_an_expression_without_named_groups_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        NamedPattern(text, "pattern")


def test_a_named_expression_cannot_hang() -> None:
    with pytest.raises(ManifestError, match="needs too much time or memory"):
        NamedPattern("(?P<a>(a+)+)$", "pattern").search(["a" * 60 + "b"])
