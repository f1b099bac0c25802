"""The rows of a split: clips with their part, label, case and time."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from surgrec.errors import ManifestError, cut
from surgrec.text import one_line

_LABEL_CHARACTERS = 60
_TIME = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")

PARTS = ("train", "val", "test")
"""Parts of a split, in the order of reports."""


class Clip(NamedTuple):
    """One row of a split. Empty text: unknown."""

    part: str
    """`train`, `val` or `test`."""
    path: str
    """Name of the clip, as the split writes it."""
    label: str = ""
    case: str = ""
    video: str = ""
    """Name of the recording, unique over all cases."""
    subject: str = ""
    """A larger unit than a case, such as a surgeon."""
    patient: str = ""
    """Patient of the case. Empty: unknown, or the case is the patient."""
    class_name: str = ""
    """Name of the class in the path."""
    start: float | None = None
    """Start in units of the name: frames, seconds or clip numbers."""
    end: float | None = None


@dataclass(frozen=True, kw_only=True)
class SplitClips:
    """All rows of a split."""

    name: str
    clips: Sequence[Clip]
    case_rule: str
    """How the cases were found, in words."""
    dataset: str = ""
    """Name of the published set; empty: another one."""
    subject_is: str = ""
    """Kind of the larger unit, such as `surgeon`."""
    subject_severity: Literal["fail", "warn"] = "warn"
    """Severity of a larger unit in two parts."""
    subject_caveat: str = ""
    """Why such a unit does not fail, in words."""
    sources: tuple[str, ...] = ()
    """Sources of the corpora whose videos the rows are; empty for rows of files."""
    multilabel: bool = False
    """Whether a clip may have several labels at once."""
    label_names: dict[str, str] = field(default_factory=dict)
    """Names of labels that the split gives beside its rows."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the split."""
    duplicate_groups: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    """For rows of corpora: by video, the duplicate group of each clip that has near-duplicates;
    None: the video was not searched for them."""
    absent: tuple[str, ...] = ()
    """Cases that the split names and the corpus lacks."""

    @cached_property
    def parts(self) -> dict[str, list[Clip]]:
        """The rows of each part that has one."""
        parts: dict[str, list[Clip]] = {part: [] for part in PARTS}
        for clip in self.clips:
            parts[clip.part].append(clip)
        return {part: clips for part, clips in parts.items() if clips}

    @cached_property
    def classes(self) -> dict[str, set[str]]:
        """The names of each label: the split's own, and those in the paths of its clips."""
        names: dict[str, set[str]] = {}
        for clip in self.clips:
            if clip.label:
                names.setdefault(clip.label, set()).add(clip.class_name)
        for label, found in names.items():
            found.discard("")
            if label in self.label_names:
                found.add(self.label_names[label])
        return names

    def shown_label(self, label: str) -> str:
        """Return a label with its name, shortened and inert."""
        names = sorted(self.classes.get(label, ()))
        has_name = len(names) == 1 and names[0] != label
        return one_line(f"{label} ({names[0]})" if has_name else label, _LABEL_CHARACTERS)


def label_counts(clips: Sequence[Clip]) -> Counter[str]:
    """Return the clips of each label."""
    return Counter(clip.label for clip in clips if clip.label)


def parse_time(text: str, place: str) -> float | None:
    """Return a time in any unit; None for empty text.

    Raises:
        ManifestError: The text is no number of at least 0.
    """
    if not text:
        return None
    if not _TIME.fullmatch(text):
        raise ManifestError(f"{place} is {cut(text)!r}; give a number of at least 0")
    return float(text)
