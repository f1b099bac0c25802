"""A split: two rules over the cases of a corpus, in a file that one can read and cite."""

import difflib
import fnmatch
import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from surgrec.errors import ConfigError
from surgrec.manifest import SPLITS
from surgrec.shards import Source

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True, kw_only=True, order=True)
class CaseVideo:
    """One video of a corpus, and the case that it belongs to."""

    source: str
    case: str
    video: str
    stored: str
    """The split it is stored under."""

    @property
    def case_name(self) -> str:
        """The case's name that is unique over all sources."""
        return f"{self.source}/{self.case}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which videos belong to one part of a split: those that meet every condition that is given.

    A pattern is an exact name, a shell-style one (`video*`), or one with a range (`video{01..40}`).
    """

    sources: list[str]
    """Patterns for the source; empty: any."""
    cases: list[str]
    """Patterns for the case; empty: any."""
    stored: list[str]
    """Splits that the video may be stored under; empty: any."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The content of a split file."""

    name: str
    train: Rule
    test: Rule
    sha256: str
    """Of the file."""

    @property
    def rules(self) -> dict[str, dict[str, list[str]]]:
        """The conditions that are given, by part."""
        parts = {"train": self.train, "test": self.test}
        return {
            part: {key: value for key, value in asdict(rule).items() if value}
            for part, rule in parts.items()
        }


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The videos that a split chooses from a corpus."""

    train: list[CaseVideo]
    test: list[CaseVideo]
    absent: list[str]
    """Case names that a range spells out and the corpus does not have."""
    named: int
    """Case names that ranges spell out."""


def read_split(path: Path) -> Split:
    """The split of a YAML file with the keys `name`, `train` and `test`.

    Raises:
        ConfigError: The file is missing, is no YAML, or a key or value of it is not a split's.
    """
    try:
        data = path.read_bytes()
        content = yaml.safe_load(data)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a split file with --split") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML ({' '.join(str(error).split())}); mend it") from None
    content = _with_keys(content, ("name", "train", "test"), str(path))
    for key in ("name", "train", "test"):
        if key not in content:
            raise ConfigError(f"{path} has no '{key}'; a split has name, train and test")
    if not isinstance(content["name"], str) or not content["name"]:
        raise ConfigError(f"{path}: name is {content['name']!r}; give the split a name in words")
    train, test = (_rule(content[part], f"{path}, {part}") for part in ("train", "test"))
    return Split(
        name=content["name"], train=train, test=test, sha256=hashlib.sha256(data).hexdigest()
    )


def corpus_videos(sources: Mapping[str, Source]) -> list[CaseVideo]:
    """The videos of opened corpora that have at least one stored clip, sorted."""
    found = set()
    for source in sources.values():
        columns = (source.index.column(name).to_pylist() for name in ("case", "video", "split"))
        found |= set(zip(*columns, [source.name] * source.index.num_rows, strict=True))
    return sorted(
        CaseVideo(source=name, case=case, video=video, stored=split)
        for case, video, split, name in found
    )


def divide(split: Split, videos: Sequence[CaseVideo]) -> Parts:
    """The videos of both parts of a split.

    Raises:
        ConfigError: A pattern or a rule matches nothing.
    """
    train = choose(split.train, videos, f"split {split.name}, train")
    test = choose(split.test, videos, f"split {split.name}, test")
    cases = {video.case for video in [*train, *test]}
    patterns = [
        pattern
        for rule in (split.train, split.test)
        for pattern in rule.cases
        if _RANGE.search(pattern)
    ]
    named = {
        name for pattern in patterns for name in _spelled_out(pattern) if not set("*?[") & set(name)
    }
    return Parts(train=train, test=test, absent=sorted(named - cases), named=len(named))


def choose(rule: Rule, videos: Sequence[CaseVideo], where: str) -> list[CaseVideo]:
    """The videos that meet a rule.

    Raises:
        ConfigError: A pattern matches no source or case, or no video meets all conditions.
    """
    sources = _matching(rule.sources, {video.source for video in videos}, "source", where)
    chosen = [video for video in videos if video.source in sources]
    cases = _matching(rule.cases, {video.case for video in chosen}, "case", where)
    chosen = [
        video
        for video in chosen
        if video.case in cases and (not rule.stored or video.stored in rule.stored)
    ]
    if not chosen:
        raise ConfigError(f"{where}: no case of the corpus meets all its conditions; loosen one")
    return chosen


def _matching(patterns: Sequence[str], names: set[str], kind: str, where: str) -> set[str]:
    """The names that at least one pattern matches; all of them without patterns."""
    if not patterns:
        return names
    matched: set[str] = set()
    for pattern in patterns:
        alternatives = _spelled_out(pattern)
        found = names.intersection(alternatives)
        for shell_style in (name for name in alternatives if set("*?[") & set(name)):
            found |= set(fnmatch.filter(names, shell_style))
        if not found:
            near = difflib.get_close_matches(alternatives[0], sorted(names), n=1, cutoff=0.5)
            instead = f"did you mean {near[0]!r}?" if near else f"it has {some_of(names)}"
            raise ConfigError(f"{where}: no {kind} of the corpus matches {pattern!r}; {instead}")
        matched |= found
    return matched


def _spelled_out(pattern: str) -> list[str]:
    """A pattern without ranges for each number of its ranges; `{01..40}` keeps the leading zero, as a shell does."""
    found = _RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    width = max(len(first), len(last)) if first.startswith("0") else 1
    numbers = range(int(first), int(last) + 1)
    return [
        name
        for number in numbers
        for name in _spelled_out(
            f"{pattern[: found.start()]}{number:0{width}d}{pattern[found.end() :]}"
        )
    ]


def _rule(content: object, where: str) -> Rule:
    names = tuple(field.name for field in fields(Rule))
    rule = _with_keys(content, names, where)
    if not rule:
        raise ConfigError(f"{where} has no condition; give at least one of {', '.join(names)}")
    lists = {name: rule.get(name, []) for name in names}
    for name in rule:
        value = lists[name]
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(item, str) and item for item in value)
        ):
            raise ConfigError(
                f"{where}: {name} is {value!r}; it is a list of texts (put numbers in quotes)"
            )
    for stored in lists["stored"]:
        if stored not in SPLITS:
            raise ConfigError(
                f"{where}: stored names {stored!r}; it is one or several of {', '.join(SPLITS)}"
            )
    for pattern in [*lists["sources"], *lists["cases"]]:
        if not _spelled_out(pattern):
            raise ConfigError(
                f"{where}: the range in {pattern!r} runs backwards; write the smaller number first"
            )
    return Rule(**lists)


def _with_keys(content: object, known: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{where} is {content!r}; it has the keys {', '.join(known)}")
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            instead = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key '{key}'; {instead}")
    return content


def some_of(names: Collection[str], at_most: int = 5) -> str:
    """The first of these names in alphabetical order, for a message, and how many more there are."""
    more = len(names) - at_most
    return ", ".join(sorted(names)[:at_most]) + (f" and {more} more" if more > 0 else "")
