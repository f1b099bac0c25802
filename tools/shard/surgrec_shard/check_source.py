"""Compare a copy of a published data set with its preset. Nothing is decoded."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from surgrec.annotations import (
    LabelFiles,
    VideoClock,
    VideoLabels,
    fill,
    read_column,
    read_labels,
)
from surgrec.errors import ManifestError
from surgrec.text import counted
from surgrec_shard.found_source import FoundRecording, FoundSource, find_source
from surgrec_shard.label_checks import latest_end_s
from surgrec_shard.label_ends import LabelEnd, doubt_clocks, label_ends
from surgrec_shard.picture_labels import picture_clock
from surgrec_shard.preset_files import plain_name
from surgrec_shard.presets import LabelRule, Preset
from surgrec_shard.source_totals import LabelTotals, Total, compare_totals, oddities
from surgrec_shard.video_headers import VideoHeader, read_headers

_MOST_FRAMES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The comparison of a folder with a preset."""

    totals: list[Total]
    splits: dict[str, int]
    """Recordings of each stored split."""
    missing: list[str] = field(default_factory=list)
    """Files that should be there."""
    odd: list[str] = field(default_factory=list)
    """Findings that are not expected: files, values, and totals above the published ones."""
    absent: list[str] = field(default_factory=list)
    """Optional annotation files that are not there."""
    traps: list[str] = field(default_factory=list)
    license: str = ""

    @property
    def is_complete(self) -> bool:
        """Return whether nothing is missing."""
        return not self.missing and not any(total.is_less for total in self.totals)


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
    totals = LabelTotals()
    rows: dict[Path, int] = {}
    """Rows of the files of the first rule of labels; recordings may share a file."""
    ends: dict[str, list[LabelEnd]] = defaultdict(list)
    for recording, header in zip(found.recordings, headers, strict=True):
        try:
            annotations = read_labels(recording.labels, _clock(recording, header))
        except ManifestError as error:
            missing.append(str(error))
            continue
        missing += _without_rows(recording, annotations, folder)
        name = str(recording.path.relative_to(folder))
        last_s = max((label.end_s for label in annotations.labels), default=0.0)
        if header.duration_s and last_s > latest_end_s(header.duration_s):
            missing.append(
                f"{name}: labels end at {last_s:.1f} s, but the "
                f"video lasts {header.duration_s:.1f} s; a build leaves it out"
            )
        elif header.duration_s:
            for task, end in label_ends(name, annotations, header.duration_s).items():
                ends[task].append(end)
        totals.add(recording.case, recording.split, annotations)
        for files, counts in zip(recording.labels, annotations.rows, strict=True):
            if files.mapping.tracks is preset.labels[0].mapping.tracks:
                rows.update(zip(files.paths, counts, strict=False))  # a folder is one count
    missing += _absent_recordings(preset, found)
    for task, of_videos in sorted(ends.items()):
        wrong, single = doubt_clocks(task, of_videos)
        missing += wrong
        odd += single
    totals.rows = sum(rows.values())

    name = protocol or next(iter(preset.splits), "")
    compared = compare_totals(preset, name, _counts(preset, found, headers), totals)
    return Findings(
        totals=compared,
        splits=dict(sorted(Counter(each.split or "none" for each in found.recordings).items())),
        missing=missing,
        odd=odd + oddities(preset, compared, totals),
        absent=[
            f"{recording.path.relative_to(folder)}: no {name}"
            for recording in found.recordings
            for name in recording.absent
        ],
        traps=preset.traps,
        license=preset.license,
    )


def _headers(preset: Preset, recordings: Sequence[FoundRecording]) -> list[VideoHeader]:
    if preset.media == "pictures":
        return [VideoHeader() for _ in recordings]
    return read_headers([recording.path for recording in recordings])


def _clock(recording: FoundRecording, header: VideoHeader) -> VideoClock:
    """Return the clock of the pictures, or one of the constant rate in the header."""
    if recording.pictures is not None:
        return picture_clock(recording.pictures)
    fps = header.fps or 25.0
    count = min(max(round(header.duration_s * fps), 1), _MOST_FRAMES)
    return VideoClock(pictures_s=np.arange(count) / fps, end_s=count / fps)


def _without_rows(recording: FoundRecording, annotations: VideoLabels, folder: Path) -> list[str]:
    """Return a sentence for each annotation file of a recording alone that has no row."""
    return [
        f"{files.paths[0].relative_to(folder)}: the annotation file of "
        f"{recording.path.relative_to(folder)} is empty: it has no rows"
        for files, counts in zip(recording.labels, annotations.rows, strict=True)
        if files.paths and not files.mapping.only and not sum(counts)
    ]


def _absent_recordings(preset: Preset, found: FoundSource) -> list[str]:
    """Return a sentence for each shared annotation file that names recordings not in the folder."""
    missing: list[str] = []
    for rule in preset.labels:
        if not rule.is_shared:
            continue

        template = next(iter(rule.mapping.only.values()))
        there = {
            plain_name(fill(template, recording.names, preset.name))
            for recording in found.recordings
        }

        absent = sorted({plain_name(cell) for cell in _cells(found, rule)} - there)
        if absent:
            missing.append(
                f"{counted(len(absent), 'recording')} that {rule.files} names: "
                f"{', '.join(absent[:10])}"
                f"{', ...' if len(absent) > 10 else ''}"
            )
    return missing


def _cells(found: FoundSource, rule: LabelRule) -> list[str]:
    """Return one cell of each row of the annotation files of a rule."""
    paths = {
        path
        for recording in found.recordings
        for files in recording.labels
        if files.mapping.tracks is rule.mapping.tracks
        for path in files.paths
    }
    mapping = rule.mapping
    columns = [*mapping.only, *mapping.time_columns, *mapping.tracks[0].used_columns()]
    try:
        return read_column(LabelFiles(paths=tuple(sorted(paths)), mapping=mapping), columns[0])
    except ManifestError:
        return []  # the error is told for the first recording


def _counts(
    preset: Preset, found: FoundSource, headers: Sequence[VideoHeader]
) -> dict[str, int | float]:
    """Return the numbers of a copy, by their names in the preset."""
    cases = len({each.case for each in found.recordings})
    if preset.media == "pictures":
        pictures = sum(len(each.pictures.files) for each in found.recordings if each.pictures)
        return {"cases": cases, "pictures": pictures}
    hours = round(sum(header.duration_s for header in headers) / 3600, 2)
    return {"videos": len(found.recordings), "cases": cases, "hours": hours}
