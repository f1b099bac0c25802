"""Evaluation splits: rules over cases, and the videos that they select."""

from dataclasses import asdict, dataclass, field
from typing import Literal

SplitKind = Literal["official", "convention", "ours"]
"""Origin of a split: the authors of the data set, later publications, or the user."""


@dataclass(frozen=True, kw_only=True, order=True)
class CaseVideo:
    """One video of a corpus, with its case."""

    source: str
    case: str
    video: str
    stored: str
    """Stored split of the video."""
    patient: str = ""
    """Name of the patient, the same in all sources; empty: unknown."""
    duplicate_groups: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """Duplicate group of each of its clips that has near-duplicates, unique over all corpora. None:
    its corpus was not searched, or the video was added after the search."""

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
    val: Rule | None = None
    """Cases on which settings are chosen. None: folds of the train cases serve instead."""
    kind: SplitKind | None = None
    """Origin of the split; None if the file does not state it."""
    source: str = ""
    """Publication or page that defines the split; empty if the file does not state it."""
    definition: str = ""
    """Digest of the rule by which the cases of one copy of the data were listed. It is the same for
    other copies. Empty if the file does not state it."""
    sha256: str
    """Digest of the file."""

    @property
    def parts(self) -> dict[str, Rule]:
        """The rule of each part, in the order train, val, test."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {part: rule for part, rule in parts.items() if rule is not None}

    @property
    def rules(self) -> dict[str, dict[str, list[str]]]:
        """The conditions of the file, by part."""
        return {
            part: {key: value for key, value in asdict(rule).items() if value}
            for part, rule in self.parts.items()
        }


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The videos that a split selects from a corpus."""

    train: list[CaseVideo]
    test: list[CaseVideo]
    val: list[CaseVideo] = field(default_factory=list)
    """Empty if the split has no such part."""
    absent: list[str]
    """Case names of ranges that the corpus does not contain."""
    named: int
    """Number of case names in ranges."""

    @property
    def by_name(self) -> dict[str, list[CaseVideo]]:
        """The videos of each part that the split has, in the order train, val, test."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {part: videos for part, videos in parts.items() if videos}

    @property
    def videos(self) -> list[CaseVideo]:
        """The videos of all parts."""
        return [*self.train, *self.val, *self.test]
