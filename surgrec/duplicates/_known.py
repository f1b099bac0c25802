"""Overlaps between published data sets that are documented. They are data, with their sources."""

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from surgrec.yaml_files import read_yaml

_FILE = Path(__file__).with_name("known_overlaps.yaml")


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


@functools.cache
def _all_overlaps() -> tuple[KnownOverlap, ...]:
    return tuple(
        KnownOverlap(
            first=row["first"], second=row["second"], what=row["what"], documented=row["from"]
        )
        for row in read_yaml(_FILE)["overlaps"]
    )


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
