"""Evaluation splits: a file with two rules over the cases of a corpus, to read and to cite."""

import difflib
import fnmatch
import hashlib
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError, shown
from surgrec.manifest import SPLITS
from surgrec.shards import Source
from surgrec.text import one_line
from surgrec.yaml_files import parse_yaml, read_yaml_bytes

_RANGE = re.compile(r"(\{[0-9]+\.\.[0-9]+\})")
_MOST_NAMES, _MOST_DIGITS = 100_000, 12
"""Limits of the ranges of a rule: their number of names, digits of a number."""
_MOST_LETTERS = 60
"""Longest name in a message."""
_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, kw_only=True, order=True)
class CaseVideo:
    """One video of a corpus, with its case."""

    source: str
    case: str
    video: str
    stored: str
    """Stored split of the video."""

    @property
    def case_name(self) -> str:
        """Name of the case, unique over all sources."""
        return f"{self.source}/{self.case}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Conditions on the videos of one part of a split. A video must meet all of them.

    A pattern is an exact name, a shell pattern (`video*`), or has a range (`video{01..40}`).
    """

    sources: list[str]
    """Patterns for the source; empty: any."""
    cases: list[str]
    """Patterns for the case; empty: any."""
    stored: list[str]
    """Allowed stored splits of the video; empty: any."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The content of a split file."""

    name: str
    train: Rule
    test: Rule
    sha256: str
    """Digest of the file."""

    @property
    def rules(self) -> dict[str, dict[str, list[str]]]:
        """The conditions of the file, by part."""
        parts = {"train": self.train, "test": self.test}
        return {
            part: {key: value for key, value in asdict(rule).items() if value}
            for part, rule in parts.items()
        }


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The videos that a split selects from a corpus."""

    train: list[CaseVideo]
    test: list[CaseVideo]
    absent: list[str]
    """Case names of ranges that the corpus does not contain."""
    named: int
    """Number of case names in ranges."""


def read_split(path: Path) -> Split:
    """Read a split from a YAML file with the keys `name`, `train` and `test`.

    Raises:
        ConfigError: The file is missing or not YAML, or has an unknown key or a wrong value.

    Example:
        >>> read_split(Path("recipes/splits/phantom_phases.yaml")).rules["train"]["stored"]
        ['train']
    """
    data = read_yaml_bytes(path)
    content = parse_yaml(data, str(path))
    content = _checked_mapping(content, ("name", "train", "test"), str(path))
    for key in ("name", "train", "test"):
        if key not in content:
            raise ConfigError(f"{path} has no '{key}'; a split has name, train and test")
    if not isinstance(content["name"], str) or not content["name"]:
        raise ConfigError(
            f"{path}: name is {shown(content['name'])}; give a string, such as 'phases'"
        )

    train, test = (_rule(content[part], f"{path}, {part}") for part in ("train", "test"))
    digest = hashlib.sha256(data).hexdigest()
    return Split(name=content["name"], train=train, test=test, sha256=digest)


def corpus_videos(sources: Mapping[str, Source]) -> list[CaseVideo]:
    """Return the videos of opened corpora that have a stored clip, sorted."""
    videos = set()
    for source in sources.values():
        columns = (source.index.column(name).to_pylist() for name in ("case", "video", "split"))
        videos |= set(zip(*columns, [source.name] * source.index.num_rows, strict=True))
    return sorted(
        CaseVideo(source=name, case=case, video=video, stored=split)
        for case, video, split, name in videos
    )


def divide(split: Split, videos: Sequence[CaseVideo]) -> Parts:
    """Return the videos of both parts of a split.

    Raises:
        ConfigError: A pattern or a rule matches nothing.
    """
    train = choose(split.train, videos, f"split {split.name}, train")
    test = choose(split.test, videos, f"split {split.name}, test")

    # Names that ranges spell out may be missing in the corpus: count them.
    patterns = [pattern for rule in (split.train, split.test) for pattern in rule.cases]
    ranges = [pattern for pattern in patterns if _RANGE.search(pattern)]
    names = {name for pattern in ranges for name in _expand(pattern) if not _has_wildcard(name)}
    cases = {video.case for video in [*train, *test]}
    return Parts(train=train, test=test, absent=sorted(names - cases), named=len(names))


def choose(rule: Rule, videos: Sequence[CaseVideo], context: str) -> list[CaseVideo]:
    """Return the videos that meet a rule.

    Args:
        rule: The rule.
        videos: All videos of the corpora.
        context: Name of the split and its part, for errors.

    Raises:
        ConfigError: A pattern matches no source or case, or no video meets all conditions.
    """
    sources = _matching(rule.sources, {video.source for video in videos}, "source", context)
    candidates = [video for video in videos if video.source in sources]
    cases = _matching(rule.cases, {video.case for video in candidates}, "case", context)

    chosen = [
        video
        for video in candidates
        if video.case in cases and (not rule.stored or video.stored in rule.stored)
    ]
    if not chosen:
        raise ConfigError(f"{context}: no case of the corpus meets all its conditions; loosen one")
    return chosen


def some_of(names: Collection[str], at_most: int = 5) -> str:
    """Return the first names in alphabetical order, and the number of all others."""
    more = len(names) - at_most
    some = ", ".join(one_line(name, _MOST_LETTERS) for name in sorted(names)[:at_most])
    return some + (f" and {more} more" if more > 0 else "")


def _matching(patterns: Sequence[str], names: set[str], kind: str, context: str) -> set[str]:
    """Return the names that at least one pattern matches; without patterns, all of them."""
    if not patterns:
        return names

    matches: set[str] = set()
    for pattern in patterns:
        alternatives = _expand(pattern)
        new = names.intersection(alternatives)
        for shell_pattern in filter(_has_wildcard, alternatives):
            new |= set(fnmatch.filter(names, shell_pattern))
        if not new:
            near = difflib.get_close_matches(alternatives[0], sorted(names), n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"it has {some_of(names)}"
            raise ConfigError(
                f"{context}: no {kind} of the corpus matches {shown(pattern)}; {remedy}"
            )
        matches |= new
    return matches


def _has_wildcard(name: str) -> bool:
    return bool(_WILDCARDS & set(name))


def _expand(pattern: str) -> list[str]:
    """Expand the ranges of a pattern. As in a shell, `{01..40}` keeps the leading zero."""
    texts = _RANGE.split(pattern)
    alternatives = [_numbers(text) if index % 2 else [text] for index, text in enumerate(texts)]
    return ["".join(parts) for parts in itertools.product(*alternatives)]


def _numbers(ends: str) -> list[str]:
    first, last = ends[1:-1].split("..")
    width = max(len(first), len(last)) if first.startswith("0") else 1
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _check_ranges(patterns: Sequence[str], context: str) -> None:
    """Refuse ranges that run backwards or have too many names, before they are expanded."""
    total = 0
    for pattern in patterns:
        names = 1
        for ends in _RANGE.findall(pattern):
            first, last = ends[1:-1].split("..")
            if max(len(first), len(last)) > _MOST_DIGITS:
                raise ConfigError(
                    f"{context}: the range {ends:.40} has numbers of more than {_MOST_DIGITS} "
                    "digits; give smaller numbers"
                )
            if int(first) > int(last):
                raise ConfigError(
                    f"{context}: the range in {shown(pattern)} runs backwards; write the smaller "
                    "number first"
                )

            names = min(names * (int(last) - int(first) + 1), _MOST_NAMES + 1)

        total += names
        if total > _MOST_NAMES:
            raise ConfigError(
                f"{context}: the ranges up to {shown(pattern)} stand for more than {_MOST_NAMES:,} "
                "names; use smaller ranges or a pattern with *"
            )


def _rule(content: object, context: str) -> Rule:
    names = tuple(field.name for field in fields(Rule))
    rule = _checked_mapping(content, names, context)
    if not rule:
        raise ConfigError(f"{context} has no condition; give at least one of {', '.join(names)}")

    for name, value in rule.items():
        if not isinstance(value, list) or not value or not all(map(_is_text, value)):
            raise ConfigError(
                f"{context}: {name} is {shown(value)}; give a list of strings, with numbers in "
                "quotes"
            )
    lists = {name: rule.get(name, []) for name in names}

    for stored in lists["stored"]:
        if stored not in SPLITS:
            raise ConfigError(
                f"{context}: stored contains {shown(stored)}; give one or several of "
                f"{', '.join(SPLITS)}"
            )
    for name in ("sources", "cases"):
        _check_ranges(lists[name], f"{context}, {name}")
    return Rule(**lists)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _checked_mapping(content: object, known: Sequence[str], context: str) -> dict[str, Any]:
    """Return the content if it is a mapping with known keys only."""
    if not isinstance(content, dict):
        raise ConfigError(
            f"{context} is {shown(content)}; give a mapping with the keys {', '.join(known)}"
        )
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"use {', '.join(known)}"
            raise ConfigError(f"{context}: unknown key '{key}'; {remedy}")
    return content
