"""Findings: their names, which options and reports use, and their severities."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from surgrec.errors import ConfigError, cut
from surgrec.text import one_line

Severity = Literal["fail", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("fail", "warn", "note")

FINDINGS = {
    "equal_parts": "two parts have the same clips",
    "shared_clips": "a clip is in two parts",
    "shared_cases": "a case is in two parts",
    "shared_videos": "a video is in two parts",
    "shared_patients": "a patient has cases in two parts",
    "shared_subjects": "a larger unit than a case, such as a surgeon, is in two parts",
    "shared_times": "clips of two parts show the same time of a video",
    "neighbors": "clips of two parts follow one another in a video",
    "shared_copies": "videos of two parts show the same, though their cases differ",
    "copies_in_part": "videos of different cases of a part show the same",
    "copies_unknown": "the videos were not searched for near-duplicates",
    "repeated_rows": "a part has a clip several times",
    "conflicting_rows": "a clip has several labels",
    "header_labels": "a label is a word of a table's header",
    "catch_all_labels": "a label stands for everything else",
    "joined_classes": "a label joins several classes of the file names",
    "divided_classes": "a class of the file names has several labels",
    "side_tracks": "clips of a label overlap clips of other labels in time",
    "unseen_classes": "a class of a part has no train clip",
    "untested_classes": "a train class has no test clip",
    "few_cases": "a class has few cases in a part",
    "few_test_cases": "the test part has too few cases for a verdict",
    "wide_interval": "the test part is too small for the claimed precision",
    "absent_parts": "there is no train part, or no test part",
    "no_val": "there is no val part",
    "absent_cases": "the split names cases that the corpus lacks",
    "pretraining_cases": "a case is in the pretraining corpus",
    "pretraining_videos": "a video is in the pretraining corpus",
    "pretraining_patients": "a patient has other cases in the pretraining corpus",
    "pretraining_copies": "a video looks like one of the pretraining corpus",
    "pretraining_unknown": "cases cannot be compared with the pretraining corpus",
    "pretraining_sets": "the set and a source of the pretraining are documented to share videos",
}
"""All names of findings, with their meaning."""

_SHOWN_EXAMPLES = 5
_EXAMPLE_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One defect or limit of a split."""

    name: str
    """One of FINDINGS."""
    severity: Severity
    parts: tuple[str, ...] = ()
    """The parts that it is about."""
    found: int
    """How often it holds."""
    of: int
    """Among how many."""
    sentence: str
    remedy: str = ""
    examples: tuple[str, ...] = ()
    """Some of the names, on one line each."""
    allowed: bool = False
    """Whether an option allowed it by its name."""

    @property
    def fails(self) -> bool:
        """Whether the finding makes an audit fail."""
        return self.severity == "fail" and not self.allowed


def some(names: Iterable[str]) -> tuple[str, ...]:
    """Return the first names in alphabetical order, shortened and inert."""
    chosen = sorted(names)[:_SHOWN_EXAMPLES]
    return tuple(one_line(name, _EXAMPLE_CHARACTERS) for name in chosen)


def some_files(paths: Collection[str]) -> tuple[str, ...]:
    """Return the first file names in alphabetical order of their paths, without folders."""
    return tuple(some([path.rpartition("/")[2]])[0] for path in sorted(paths)[:_SHOWN_EXAMPLES])


def allow_findings(findings: Sequence[Finding], names: Collection[str]) -> list[Finding]:
    """Return the findings, with those of these names allowed.

    Raises:
        ConfigError: There is no finding of such a name.
    """
    for name in names:
        if name not in FINDINGS:
            near = difflib.get_close_matches(name, FINDINGS, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(FINDINGS)}"
            raise ConfigError(f"--allow {cut(name)!r} is not a finding; {remedy}")
    return [
        replace(finding, allowed=finding.severity == "fail" and finding.name in names)
        for finding in findings
    ]
