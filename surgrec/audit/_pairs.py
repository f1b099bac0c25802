"""Checks of two parts of a split against each other: clips, cases, videos and times."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from surgrec.audit._clips import Clip, SplitClips
from surgrec.audit._findings import Finding, some, some_files
from surgrec.text import counted, one_line

_PAIRS = (("train", "test"), ("val", "test"), ("train", "val"))
_NEXT = 1.0
"""Largest distance of clips that follow one another: a frame, a second or a clip number."""


class _Pair(NamedTuple):
    """Two parts with their rows."""

    first: str
    second: str
    seen: Sequence[Clip]
    clips: Sequence[Clip]

    def finding(
        self,
        name: str,
        found: Sequence[Clip],
        relation: str,
        remedy: str,
        examples: tuple[str, ...],
    ) -> Iterator[Finding]:
        """Yield a finding about clips of the second part, if there are any."""
        if found:
            yield Finding(
                name=name,
                severity="fail",
                parts=(self.first, self.second),
                found=len(found),
                of=len(self.clips),
                sentence=(
                    f"{len(found)} of {counted(len(self.clips), f'{self.second} clip')} {relation}"
                ),
                remedy=remedy,
                examples=examples,
            )


def check_pairs(split: SplitClips) -> Iterator[Finding]:
    """Yield the findings about each pair of parts."""
    parts, same = split.parts, set[str]()
    for first, second in _PAIRS:
        if first not in parts or second not in parts or second in same:
            continue
        pair = _Pair(first, second, parts[first], parts[second])
        # Who is shown is found in any case: equal parts are allowed by another name.
        yield from _shared(pair, "shared_cases", "case", lambda clip: clip.case)
        yield from _shared_patients(pair)
        yield from _shared_subjects(split, pair)
        rows = {_row(clip) for clip in pair.clips}
        if rows != {_row(clip) for clip in pair.seen}:
            yield from _check_clips(split, pair)
            continue

        # Findings about clips, videos and times of the two would follow from this one.
        same.add(first)
        relation = f"are all {counted(len(rows), 'clip')} of {first}"
        yield from pair.finding(
            "equal_parts", pair.clips, relation, f"choose other cases for {first}", ()
        )


def _row(clip: Clip) -> tuple[str, float | None, float | None]:
    """Return the identity of a clip: its name, and its time in it."""
    return clip.path, clip.start, clip.end


def _check_clips(split: SplitClips, pair: _Pair) -> Iterator[Finding]:
    yield from _shared(pair, "shared_clips", "file", lambda clip: clip.path)
    if any(clip.video not in (clip.case, clip.path) for clip in split.clips):
        yield from _shared(pair, "shared_videos", "video", lambda clip: clip.video)

    # Clips of one video that overlap or follow one another.
    spans = _Spans(pair.seen)
    for name, is_found, relation in (
        ("shared_times", spans.overlap, f"show a time of a video that {pair.first} shows"),
        ("neighbors", spans.touch, f"begin or end where a clip of {pair.first} ends or begins"),
    ):
        found = list(filter(is_found, pair.clips))
        examples = some_files([clip.path for clip in found])
        yield from pair.finding(name, found, relation, "divide the set by case", examples)


def _shared(pair: _Pair, name: str, unit: str, key: Callable[[Clip], str]) -> Iterator[Finding]:
    """Yield a finding if a value of the key is in both parts."""
    values = {key(clip) for clip in pair.seen} - {""}
    found = [clip for clip in pair.clips if key(clip) in values]
    shared = {key(clip) for clip in found}
    is_file = unit == "file"
    yield from pair.finding(
        name,
        found,
        f"are of {counted(len(shared), unit)} that {pair.first} has, too",
        "leave the clips out of one part" if is_file else f"divide the set by {unit}",
        some_files(shared) if is_file else some(shared),
    )


def _shared_subjects(split: SplitClips, pair: _Pair) -> Iterator[Finding]:
    """Yield a finding if a larger unit is in both parts, with the severity that its set states."""
    subject = split.subject_is or "subject"
    for finding in _shared(pair, "shared_subjects", subject, lambda clip: clip.subject):
        caveat = one_line(split.subject_caveat, 200) if split.subject_severity == "warn" else ""
        reason = f", which does not fail: {caveat}" if caveat else ""
        yield replace(
            finding, severity=split.subject_severity, sentence=f"{finding.sentence}{reason}"
        )


def _shared_patients(pair: _Pair) -> Iterator[Finding]:
    """Yield a finding if a patient has one case in each part. Shared cases are counted apart."""
    patients = {clip.patient for clip in pair.seen} - {""}
    cases = {clip.case for clip in pair.seen}
    found = [clip for clip in pair.clips if clip.patient in patients and clip.case not in cases]
    shared = {clip.patient for clip in found}
    yield from pair.finding(
        "shared_patients",
        found,
        f"are of {counted(len(shared), 'patient')} of whom {pair.first} has other cases",
        "divide the set by patient",
        some(shared),
    )


class _Spans:
    """The times of the clips of a part, by video."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        by_video: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for clip in clips:
            if clip.start is not None and clip.end is not None:
                by_video[clip.video].append((clip.start, clip.end))

        self._starts: dict[str, list[float]] = {}
        self._ends: dict[str, list[float]] = {}
        self._latest: dict[str, list[float]] = {}
        for video, spans in by_video.items():
            spans.sort()
            self._starts[video] = [start for start, _ in spans]
            self._ends[video] = sorted(end for _, end in spans)
            self._latest[video] = list(accumulate((end for _, end in spans), max))

    def overlap(self, clip: Clip) -> bool:
        """Return whether a clip of the part shows some of the same time."""
        if clip.start is None or clip.end is None or clip.video not in self._starts:
            return False
        starts, latest = self._starts[clip.video], self._latest[clip.video]
        if clip.start == clip.end:  # numbers of clips, not times
            at = bisect_left(starts, clip.start)
            return at < len(starts) and starts[at] == clip.start
        before = bisect_left(starts, clip.end)
        return before > 0 and latest[before - 1] > clip.start

    def touch(self, clip: Clip) -> bool:
        """Return whether a clip of the part ends where this one begins, or the reverse."""
        if clip.start is None or clip.end is None or clip.video not in self._starts:
            return False
        starts, ends = self._starts[clip.video], self._ends[clip.video]
        follows = bisect_left(ends, clip.start - _NEXT) < bisect_right(ends, clip.start)
        precedes = bisect_left(starts, clip.end) < bisect_right(starts, clip.end + _NEXT)
        if clip.start == clip.end:
            follows = bisect_left(ends, clip.start - _NEXT) < bisect_left(ends, clip.start)
            precedes = bisect_right(starts, clip.end) < bisect_right(starts, clip.end + _NEXT)
        return follows or precedes
