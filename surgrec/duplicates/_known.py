"""Overlaps between published data sets that are documented. They are data, with their sources."""

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import cut
from surgrec.yaml_files import read_yaml

_FILE = Path(__file__).with_name("known_overlaps.yaml")
_YEAR = re.compile("20[0-9]{2}$")
_WORD_END = re.compile("[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z][a-z])")
"""Signs between words, and the place before a capital letter: `KvasirCapsule` has two words."""


@dataclass(frozen=True, kw_only=True)
class KnownOverlap:
    """Two published sets that share videos."""

    first: str
    second: str
    what: str
    """The overlap in words."""
    documented: str
    """The publication or page that documents it."""

    def sentence(self) -> str:
        """Return the overlap and its source as a line."""
        return f"{self.first} and {self.second}: {self.what} ({self.documented})"


def known_overlaps(
    sources: Collection[str], others: Collection[str] | None = None
) -> list[KnownOverlap]:
    """Return the documented overlaps between sources that have the names of published sets.

    Names are compared without case and without signs: `Cholec-80` is `cholec80`.

    Args:
        sources: Names of sources.
        others: Names of the sources to compare with; None: the same ones.
    """
    here = {_plain(name) for name in sources}
    there = here if others is None else {_plain(name) for name in others}
    return [
        overlap
        for overlap in _all_overlaps()
        if (_plain(overlap.first) in here and _plain(overlap.second) in there)
        or (_plain(overlap.second) in here and _plain(overlap.first) in there)
    ]


def overlaps_of(source: str) -> list[KnownOverlap]:
    """Return the documented overlaps of one published set with all others.

    Names are compared as in `known_overlaps`.

    Args:
        source: Name of the set.
    """
    name = _plain(source)
    return [each for each in _all_overlaps() if name in (_plain(each.first), _plain(each.second))]


def overlaps_by_name(source: str, published: Collection[str]) -> list[str]:
    """Return how a source shares videos with published sets, judged by names, as sentences.

    A source has the videos of a set if its name has that of the set as whole words: so
    `m2cai16-workflow` has videos of M2CAI16, and `lemonade` has none of LEMON. A year at the end of
    a name does not count. Documented overlaps are those of `known_overlaps`.

    Args:
        source: Name of the source.
        published: Names of the sets.
    """
    parts = _parts(source)
    same = [
        f"{source} has the name of {cut(each)}"
        for each in published
        if not parts.isdisjoint(_names(each))
    ]
    others = {name for each in published for name in _names(each)}
    return [*same, *(overlap.sentence() for overlap in known_overlaps(parts, others))]


def _names(name: str) -> set[str]:
    """Return a name without signs, and the same without a year."""
    plain = _plain(name)
    return {plain, _YEAR.sub("", plain)} - {""}


def _parts(name: str) -> set[str]:
    """Return the neighboring words of a name, joined, as `_names`."""
    words = _WORD_END.split(name)
    return {
        part
        for first, last in itertools.combinations(range(len(words) + 1), 2)
        for part in _names("".join(words[first:last]))
    }


@functools.cache
def _all_overlaps() -> tuple[KnownOverlap, ...]:
    """Return the overlaps of the file, and those that follow from sets with the same videos."""
    content = read_yaml(_FILE)
    same = [_overlap(row) for row in content["same_videos"]]
    overlaps = [_overlap(row) for row in content["overlaps"]]
    return tuple([*same, *overlaps, *_derived(same, overlaps)])


def _overlap(row: Mapping[str, str]) -> KnownOverlap:
    return KnownOverlap(
        first=row["first"], second=row["second"], what=row["what"], documented=row["from"]
    )


def _derived(
    same: Sequence[KnownOverlap], overlaps: Sequence[KnownOverlap]
) -> Iterator[KnownOverlap]:
    """Yield the overlaps of sets that have the videos of another one."""
    copies: dict[str, list[KnownOverlap]] = defaultdict(list)
    for each in same:
        copies[each.second].append(each)
    for siblings in copies.values():
        for one, other in itertools.combinations(siblings, 2):
            yield _joined(one.first, other.first, [one, other])

    for overlap in overlaps:
        firsts = [(overlap.first, []), *((copy.first, [copy]) for copy in copies[overlap.first])]
        seconds = [(overlap.second, []), *((copy.first, [copy]) for copy in copies[overlap.second])]
        for (first, why), (second, why_too) in itertools.product(firsts, seconds):
            if why or why_too:
                yield _joined(first, second, [*why, *why_too, overlap])


def _joined(first: str, second: str, because: Sequence[KnownOverlap]) -> KnownOverlap:
    return KnownOverlap(
        first=first,
        second=second,
        what="; ".join(each.what for each in because),
        documented="; ".join(dict.fromkeys(each.documented for each in because)),
    )


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
