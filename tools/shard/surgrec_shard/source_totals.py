"""Totals of a copy of a published data set beside the published ones. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from surgrec.annotations import NONE_PRESENT, VideoLabels
from surgrec.text import counted
from surgrec_shard.presets import Preset

_HOURS_ACCEPTED = 0.02
"""Share by which hours may differ from those published, which are rounded."""
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class Total:
    """A published total beside the one that was found."""

    what: str
    expected: int | float | None
    """None: not published."""
    found: int | float
    is_less: bool
    """Whether the copy has less than was published."""
    is_more: bool
    """Whether it has more."""


@dataclass(kw_only=True)
class LabelTotals:
    """Totals of the labels of a copy."""

    label_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Sum of the lengths of each task's labels, seconds."""
    covered_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Time with a label of each task, seconds. Labels at the same time count once."""
    part_label_s: dict[str, dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    """As `label_s`, by stored split."""
    values: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Values of each task."""
    labeled_cases: set[str] = field(default_factory=set)
    left_out: int = 0
    rows: int = 0
    """Rows of the files of the first rule of labels."""

    def add(self, case: str, split: str, annotations: VideoLabels) -> None:
        """Count the labels of a recording."""
        labels = annotations.labels  # sorted by time
        self.left_out += annotations.left_out
        if labels:
            self.labeled_cases.add(case)
        covered_until: dict[str, float] = defaultdict(float)
        for label in labels:
            if label.value == NONE_PRESENT:
                continue
            seconds = label.end_s - label.start_s
            self.label_s[label.task] += seconds
            self.part_label_s[split][label.task] += seconds
            self.values[label.task].add(label.value)

            new_s = label.end_s - max(label.start_s, covered_until[label.task])
            self.covered_s[label.task] += max(new_s, 0.0)
            covered_until[label.task] = max(covered_until[label.task], label.end_s)


def compare_totals(
    preset: Preset, protocol: str, counts: dict[str, int | float], labels: LabelTotals
) -> list[Total]:
    """Return the totals of a copy beside the published ones.

    Args:
        preset: The preset.
        protocol: Name of the split, whose parts may have published totals.
        counts: Number of `videos` or `pictures`, of `cases`, and the `hours` of videos.
        labels: Totals of the labels.
    """
    expected = preset.expected
    totals = [
        _total(what, getattr(expected, what), found, _HOURS_ACCEPTED if what == "hours" else 0.0)
        for what, found in counts.items()
    ]
    for what, published, found in (
        ("rows of annotations", expected.rows, labels.rows),
        ("values left out", expected.left_out, labels.left_out),
        ("cases with labels", expected.labeled_cases, len(labels.labeled_cases)),
    ):
        if published is not None:
            totals.append(_total(what, published, found))

    classes = expected.class_counts
    accepted = expected.label_tolerance
    for task in sorted({*labels.label_s, *expected.label_s, *expected.covered_s, *classes}):
        seconds = expected.label_s.get(task)
        totals.append(_total(f"{task}: seconds", seconds, round(labels.label_s[task]), accepted))
        if task in expected.covered_s:
            covered = round(labels.covered_s[task])
            what = f"{task}: seconds with a label"
            totals.append(_total(what, expected.covered_s[task], covered, accepted))
        totals.append(_total(f"{task}: classes", classes.get(task), len(labels.values[task])))

    totals += [
        _total(
            f"{task}: seconds of {part}",
            published,
            round(labels.part_label_s[part][task]),
            accepted,
        )
        for part, tasks in expected.part_label_s.get(protocol, {}).items()
        for task, published in tasks.items()
    ]
    return totals


def oddities(preset: Preset, totals: Iterable[Total], labels: LabelTotals) -> list[str]:
    """Return a sentence for each total above the published one and each task's unknown values."""
    odd = [
        f"{total.what}: {total.found:g} found, but {total.expected:g} published"
        for total in totals
        if total.is_more
    ]
    for task, names in preset.expected.names.items():
        unknown = sorted(labels.values[task] - set(names))
        if unknown:
            number = counted(len(unknown), "value is", "values are")
            listed = ", ".join(map(repr, unknown[:_LISTED]))
            more = ", ..." if len(unknown) > _LISTED else ""
            odd.append(f"{task}: {number} not among the published names: {listed}{more}")
    return odd


def _total(
    what: str, expected: int | float | None, found: int | float, accepted: float = 0.0
) -> Total:
    return Total(
        what=what,
        expected=expected,
        found=found,
        is_less=expected is not None and found < expected * (1 - accepted),
        is_more=expected is not None and found > expected * (1 + accepted),
    )
