"""Compare a copy of a published data set with its preset. Nothing is decoded."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from surgrec.annotations import LabelFiles, VideoClock, fill, read_column, read_labels
from surgrec.errors import ManifestError
from surgrec.recordings import BadVideoError, FfmpegError, Recording, run_ffprobe
from surgrec.text import counted
from surgrec_shard.found_source import FoundRecording, FoundSource, find_source
from surgrec_shard.label_checks import latest_end_s
from surgrec_shard.preset_files import plain_name
from surgrec_shard.presets import Preset

_PROBE = (
    *("-select_streams", "v:0", "-of", "default=noprint_wrappers=1:nokey=0"),
    *("-show_entries", "stream=avg_frame_rate:format=duration"),
)
_ACCEPTED = 0.02
"""Share by which hours and labeled seconds may differ from those published."""
_MOST_FRAMES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Total:
    """A published total beside the one that was found."""

    what: str
    expected: int | float | None
    """None: not published."""
    found: int | float
    is_less: bool
    """Whether the copy has less than was published."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The comparison of a folder with a preset."""

    totals: list[Total]
    splits: dict[str, int]
    """Recordings of each stored split."""
    missing: list[str] = field(default_factory=list)
    """Files that should be there."""
    odd: list[str] = field(default_factory=list)
    """Files that are not expected."""
    absent: list[str] = field(default_factory=list)
    """Optional annotation files that are not there."""
    traps: list[str] = field(default_factory=list)
    license: str = ""

    @property
    def is_complete(self) -> bool:
        """Return whether nothing is missing."""
        return not self.missing and not any(total.is_less for total in self.totals)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """Facts from the header of a video."""

    duration_s: float = 0.0
    fps: float = 0.0
    fault: str = ""


def check_source(preset: Preset, folder: Path, protocol: str = "") -> Findings:
    """Compare a folder with a preset.

    Args:
        preset: The preset.
        folder: The copy of the data set.
        protocol: Name of the split. Default: the first one of the preset.

    Raises:
        ConfigError: The preset has no such split.
        ManifestError: The folder holds no recording of the preset.
    """
    found = find_source(preset, folder, protocol)
    headers = _headers(preset, found.recordings)
    missing = [
        f"{recording.path.relative_to(folder)}: no {name}"
        for recording in found.recordings
        for name in recording.missing
    ]
    missing += [
        f"{recording.path.relative_to(folder)}: {header.fault}"
        for recording, header in zip(found.recordings, headers, strict=True)
        if header.fault
    ]
    odd = [f"{left.path.relative_to(folder)}: {left.detail}" for left in found.left_out]
    odd += [f"{name}: its recording is not there" for name in found.unused]
    odd += [
        f"{recording.path.relative_to(folder)}: the split has no place for {recording.case}"
        for recording in found.recordings
        if not recording.split
    ]

    # Annotations are read on the clock of the header.
    label_s: dict[str, float] = defaultdict(float)
    part_label_s: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    classes: dict[str, set[str]] = defaultdict(set)
    for recording, header in zip(found.recordings, headers, strict=True):
        try:
            labels = read_labels(recording.labels, _clock(recording, header)).labels
        except ManifestError as error:
            missing.append(str(error))
            continue
        last_s = max((label.end_s for label in labels), default=0.0)
        if header.duration_s and last_s > latest_end_s(header.duration_s):
            missing.append(
                f"{recording.path.relative_to(folder)}: labels end at {last_s:.1f} s, but the "
                f"video lasts {header.duration_s:.1f} s; a build leaves it out"
            )
        for label in labels:
            label_s[label.task] += label.end_s - label.start_s
            part_label_s[recording.split][label.task] += label.end_s - label.start_s
            classes[label.task].add(label.value)

    shared_missing, rows = _shared_files(preset, found)
    return Findings(
        totals=[
            *_totals(preset, found, headers, rows, label_s, classes),
            *_totals_of_parts(preset, protocol, part_label_s),
        ],
        splits=dict(sorted(Counter(each.split or "none" for each in found.recordings).items())),
        missing=missing + shared_missing,
        odd=odd,
        absent=[
            f"{recording.path.relative_to(folder)}: no {name}"
            for recording in found.recordings
            for name in recording.absent
        ],
        traps=preset.traps,
        license=preset.license,
    )


def _headers(preset: Preset, recordings: Sequence[FoundRecording]) -> list[_Header]:
    if preset.media == "pictures":
        return [_Header() for _ in recordings]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda recording: _header(recording.path), recordings))


def _header(path: Path) -> _Header:
    try:
        with Recording(path) as recording:
            text = run_ffprobe(recording, _PROBE)
    except (BadVideoError, FfmpegError) as error:
        return _Header(fault=f"the video cannot be read ({error})")

    values = dict(line.partition("=")[::2] for line in text.splitlines())
    duration_s = _positive(values.get("duration", ""))
    above, _, below = values.get("avg_frame_rate", "").partition("/")
    rate = _positive(above) / (_positive(below) or 1.0)

    if not rate:
        return _Header(fault="the file has no video stream")
    return _Header(duration_s=duration_s, fps=rate)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < math.inf else 0.0


def _clock(recording: FoundRecording, header: _Header) -> VideoClock:
    """Return a clock of constant rate: that of the header, or one picture per second."""
    if recording.pictures:
        count = len(recording.pictures)
        return VideoClock(pictures_s=np.arange(count, dtype=np.float64), end_s=float(count))
    fps = header.fps or 25.0
    count = min(max(round(header.duration_s * fps), 1), _MOST_FRAMES)
    return VideoClock(pictures_s=np.arange(count) / fps, end_s=count / fps)


def _shared_files(preset: Preset, found: FoundSource) -> tuple[list[str], int]:
    """Check the annotation files that hold many recordings against the folder.

    Returns:
        A sentence for each file that names missing recordings, and the rows of all these files.
    """
    missing: list[str] = []
    rows = 0
    for number, rule in enumerate(preset.labels):
        if not rule.is_shared:
            continue
        column, template = next(iter(rule.mapping.only.items()))
        paths = {
            path
            for recording in found.recordings
            for files in recording.labels
            if files.mapping is preset.labels[number].mapping
            for path in files.paths
        }
        files = LabelFiles(paths=tuple(sorted(paths)), mapping=rule.mapping)
        try:
            cells = [plain_name(cell) for cell in read_column(files, column)]
        except ManifestError:
            continue  # the error is told for the first recording
        rows += len(cells)
        there = {
            plain_name(fill(template, recording.names, preset.name))
            for recording in found.recordings
        }
        absent = sorted(set(cells) - there)
        if absent:
            missing.append(
                f"{counted(len(absent), 'recording')} that {rule.files} names: "
                f"{', '.join(absent[:10])}"
                f"{', ...' if len(absent) > 10 else ''}"
            )
    return missing, rows


def _totals(
    preset: Preset,
    found: FoundSource,
    headers: Sequence[_Header],
    rows: int,
    label_s: dict[str, float],
    classes: dict[str, set[str]],
) -> list[Total]:
    expected = preset.expected
    hours = sum(header.duration_s for header in headers) / 3600
    is_video = preset.media == "videos"

    counts: list[tuple[str, int | float | None, int | float, float]] = [
        ("cases", expected.cases, len({each.case for each in found.recordings}), 0.0),
    ]
    if is_video:
        counts = [
            ("videos", expected.videos, len(found.recordings), 0.0),
            *counts,
            ("hours", expected.hours, round(hours, 2), _ACCEPTED),
        ]
    else:
        pictures = sum(len(recording.pictures) for recording in found.recordings)
        counts.append(("pictures", expected.pictures, pictures, 0.0))

    if expected.rows is not None:
        counts.append(("rows of annotations", expected.rows, rows, 0.0))

    for task in sorted({*label_s, *expected.label_s, *expected.classes}):
        counts += [
            (
                f"{task}: seconds",
                expected.label_s.get(task),
                round(label_s.get(task, 0.0)),
                _ACCEPTED,
            ),
            (f"{task}: classes", expected.classes.get(task), len(classes.get(task, ())), 0.0),
        ]

    return [
        Total(
            what=what,
            expected=published,
            found=number,
            is_less=published is not None and number < published * (1 - accepted),
        )
        for what, published, number, accepted in counts
    ]


def _totals_of_parts(
    preset: Preset, protocol: str, part_label_s: dict[str, dict[str, float]]
) -> list[Total]:
    """Return the labeled seconds of each part of a split, where they were published."""
    name = protocol or next(iter(preset.splits), "")
    return [
        Total(
            what=f"{task}: seconds of {part}",
            expected=published,
            found=round(part_label_s.get(part, {}).get(task, 0.0)),
            is_less=part_label_s.get(part, {}).get(task, 0.0) < published * (1 - _ACCEPTED),
        )
        for part, tasks in preset.expected.part_label_s.get(name, {}).items()
        for task, published in tasks.items()
    ]
