"""Checks of the rows and the labels of a split."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from surgrec.audit._clips import Clip, SplitClips, label_counts
from surgrec.audit._findings import Finding, some, some_files
from surgrec.text import counted

_COLUMNS = (
    "action", "annotation", "case", "category", "class", "clip", "file", "frame", "gesture",
    "image", "instrument", "label", "phase", "step", "target", "task", "tool", "triplet", "verb",
    "video",
)  # fmt: skip
"""Names of columns in the annotation files of public sets, alone or with an ending."""
_COLUMNS_WITH_ENDING = ("event", "finding", "operation", "organ", "surgery")
"""The same, but alone they may be a class."""
_ENDINGS = ("id", "no", "number", "name", "index", "label", "class", "category")
_HEADERS = frozenset(
    {
        *(f"{name}{end}{s}" for name in _COLUMNS for end in ("", *_ENDINGS) for s in ("", "s")),
        *(f"{name}{end}" for name in _COLUMNS_WITH_ENDING for end in _ENDINGS),
        "categories", "classes", "comment", "commercialtoolname", "groundtruthtaskname",
        "groundtruthtoolname", "intinstrument1", "intinstrument2", "intstep", "meaning",
    }
)  # fmt: skip
"""Names of columns that a reader may take for labels, in small letters and digits."""

_CATCH_ALL = frozenset(
    {
        "background", "idle", "misc", "miscellaneous", "na", "nan", "nolabel", "nolabels", "none",
        "notinitialized", "null", "other", "others", "outofbody", "rest", "undefined", "unknown",
        "unlabeled", "unlabelled", "unspecified", "unspecifiedphase",
    }
)  # fmt: skip
"""Names of classes that stand for everything else, in small letters and digits."""
_SIDE_TRACK = 0.5
"""Share of a label's time in which another label holds, from which it is a side track."""


def check_rows(split: SplitClips) -> Iterator[Finding]:
    """Yield findings on repeated and conflicting rows."""
    for part, clips in split.parts.items():
        counts = Counter((clip.path, clip.label, clip.start, clip.end) for clip in clips)
        repeated = {key[0]: number for key, number in counts.items() if number > 1}
        if repeated:
            more = sum(repeated.values()) - len(repeated)
            yield Finding(
                name="repeated_rows",
                severity="warn",
                parts=(part,),
                found=more,
                of=len(clips),
                sentence=(
                    f"{counted(more, 'row')} of {len(clips)} in {part} "
                    f"{'repeats' if more == 1 else 'repeat'} another one"
                ),
                remedy="keep each row once",
                examples=some_files(repeated),
            )

    if split.multilabel:
        return
    labels: dict[tuple[str, float | None, float | None], set[str]] = defaultdict(set)
    for clip in split.clips:
        if clip.label:
            labels[clip.path, clip.start, clip.end].add(clip.label)
    conflicting = [key[0] for key, values in labels.items() if len(values) > 1]
    if conflicting:
        yield Finding(
            name="conflicting_rows",
            severity="fail",
            found=len(conflicting),
            of=len(labels),
            sentence=f"{len(conflicting)} of {counted(len(labels), 'clip')} have several labels",
            remedy="correct them, or give --multilabel if several labels hold at once",
            examples=some_files(conflicting),
        )


def check_labels(split: SplitClips) -> Iterator[Finding]:
    """Yield findings on the values and the names of labels."""
    yield from _named("header_labels", split, is_header)
    yield from _named("catch_all_labels", split, lambda name: plain(name) in _CATCH_ALL)
    yield from _joined(split)
    yield from _divided(split)


def check_side_tracks(split: SplitClips) -> Iterator[Finding]:
    """Yield a finding for each label whose time is mostly covered by other labels."""
    if split.multilabel:
        return

    length, covered = _covered(split.clips)
    counts = label_counts(split.clips)
    for label in sorted(length):
        if covered[label] > _SIDE_TRACK * length[label]:
            share = covered[label] / length[label]
            yield _about_label(
                split,
                counts,
                label,
                name="side_tracks",
                sentence=f"other labels hold in {share:.0%} of the time of {{clips}}",
                remedy="make it a task of its own",
                examples=some([split.shown_label(label)]),
            )


def plain(name: str) -> str:
    """Return a name in small letters and digits."""
    return re.sub("[^a-z0-9]", "", name.lower())


def is_header(name: str) -> bool:
    """Return whether a label is the usual name of a column: the header was read as a row.

    Case, spaces and underscores do not count: `Phase name` is `phase_name`.
    """
    return plain(name) in _HEADERS


def _named(name: str, split: SplitClips, is_found: Callable[[str], bool]) -> Iterator[Finding]:
    """Yield a finding for labels whose value or only name meets a condition."""
    counts = label_counts(split.clips)

    # The condition holds for the label itself, or for all of its names.
    labels = {
        label
        for label, names in split.classes.items()
        if is_found(label) or (names and all(map(is_found, names)))
    }
    if not labels:
        return

    is_header = name == "header_labels"
    found = sum(counts[label] for label in labels)
    words = "look like the header of a table" if is_header else "stand for everything else"
    tests = label_counts(split.parts.get("test", ()))
    tested = sum(tests[label] for label in labels)

    yield Finding(
        name=name,
        severity="fail" if is_header else "warn",
        found=found,
        of=counts.total(),
        sentence=(
            f"{found} of {counted(counts.total(), 'label')} {words}, {tested} of them in test"
        ),
        remedy=(
            "remove the rows: a reader took the header for a row"
            if is_header
            else "leave the class out, or report scores without it, too"
        ),
        examples=some({split.shown_label(label) for label in labels}),
    )


def _joined(split: SplitClips) -> Iterator[Finding]:
    """Yield a finding if clips of several class names have one label."""
    counts = label_counts(split.clips)
    for label in sorted(split.classes):
        names = split.classes[label] - {split.label_names.get(label, "")}
        if len(names) > 1:
            yield _about_label(
                split,
                counts,
                label,
                name="joined_classes",
                sentence=f"{{clips}} are of {len(names)} classes by their names",
                remedy="give each class its own label",
                examples=some(names),
            )


def _about_label(
    split: SplitClips,
    counts: Counter[str],
    label: str,
    *,
    name: str,
    sentence: str,
    remedy: str,
    examples: tuple[str, ...],
) -> Finding:
    """Return a warning about one label; `{clips}` in the sentence stands for its clips."""
    clips = f"the {counted(counts[label], 'clip')} of label {split.shown_label(label)}"
    return Finding(
        name=name,
        severity="warn",
        found=counts[label],
        of=counts.total(),
        sentence=sentence.replace("{clips}", clips),
        remedy=remedy,
        examples=examples,
    )


def _divided(split: SplitClips) -> Iterator[Finding]:
    """Yield a finding if clips of one class name have several labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    for clip in split.clips:
        if clip.class_name and clip.label:
            labels[clip.class_name].add(clip.label)

    divided = {name for name, values in labels.items() if len(values) > 1}
    if divided:
        clips = sum(clip.class_name in divided for clip in split.clips)
        yield Finding(
            name="divided_classes",
            severity="warn",
            found=clips,
            of=len(split.clips),
            sentence=(
                f"{counted(len(divided), 'class', 'classes')} of the file names "
                f"{'has' if len(divided) == 1 else 'have'} several labels"
            ),
            remedy="compare the labels with the names",
            examples=some(divided),
        )


def _covered(clips: Sequence[Clip]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the time of each label, and the part of it in which another label holds, too."""
    by_video: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for clip in clips:
        if clip.label and clip.start is not None and clip.end is not None and clip.end > clip.start:
            by_video[clip.video] += [(clip.start, 1, clip.label), (clip.end, 0, clip.label)]

    length: dict[str, float] = defaultdict(float)
    covered: dict[str, float] = defaultdict(float)
    for events in by_video.values():
        events.sort()
        active: Counter[str] = Counter()
        since: dict[str, tuple[float, float]] = {}
        now = both = 0.0  # time, and the time so far in which two labels held
        for time, is_start, label in events:
            both += time - now if len(active) > 1 else 0.0
            now = time
            if is_start:
                active[label] += 1
                since.setdefault(label, (now, both))
                continue
            active[label] -= 1
            if not active[label]:
                del active[label]
                start, both_before = since.pop(label)
                length[label] += now - start
                covered[label] += both - both_before
    return length, covered
