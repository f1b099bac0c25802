"""The recordings of a published data set in the user's copy. Nothing is decoded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from surgrec.annotations import LabelFiles, fill
from surgrec.errors import ConfigError, ManifestError
from surgrec.manifest import Split, Video
from surgrec.picture_folder import sort_pictures
from surgrec.recordings import BadVideoError
from surgrec.recordings.picture_files import PictureFiles, number_of
from surgrec.text import counted
from surgrec.user_patterns import NamedPattern
from surgrec.video_folder import (
    FolderFiles,
    LeftOut,
    files_below,
    open_archives,
    printable_name,
    search_files,
)
from surgrec_shard.picture_labels import on_pictures
from surgrec_shard.preset_files import PresetFiles, path_expression, plain_name
from surgrec_shard.preset_splits import SplitOf, split_function, split_rule
from surgrec_shard.presets import Preset, VideoRule

_GENERATED = "_"
"""First letter of groups that find a file but do not tell recordings apart, such as `_frame`."""


class _Match(NamedTuple):
    """Files of one recording."""

    rule: VideoRule
    names: dict[str, str]
    """The names in their paths."""
    members: list[tuple[int, Path]]
    """The video, or number and file of each picture."""


@dataclass(frozen=True, kw_only=True)
class FoundRecording:
    """A recording of a preset that was found in a folder."""

    path: Path
    """The video, or the first of the pictures by name."""
    names: Mapping[str, str]
    case: str
    view: str
    split: str
    """Empty if the rule has no place for the case."""
    labels: tuple[LabelFiles, ...]
    missing: tuple[str, ...]
    """Annotation files that are not there."""
    absent: tuple[str, ...] = ()
    """Optional annotation files that are not there."""
    pictures: PictureFiles | None = None
    """The pictures, of a set of pictures."""


@dataclass(frozen=True, kw_only=True)
class FoundSource:
    """The files of a preset in a folder."""

    recordings: list[FoundRecording]
    left_out: list[LeftOut]
    """Videos and pictures that the preset does not know, and places that could not be searched."""
    unused: list[str]
    """Annotation files whose recording is not there."""


@dataclass(frozen=True, kw_only=True)
class PresetVideos:
    """The videos of a data set with their metadata."""

    videos: list[Video]
    left_out: list[LeftOut]
    absent: list[LeftOut] = field(default_factory=list)
    """Optional annotation files that are not there, each with its video."""


def find_source(
    preset: Preset, folder: Path, protocol: str = "", frame_fps: float = 0.0
) -> FoundSource:
    """Return the files of a preset in a folder. Nothing is decoded.

    Args:
        preset: The preset.
        folder: The user's copy of the data set.
        protocol: Name of the split. Default: the first one of the preset.
        frame_fps: Of a set of pictures without a published rate: how many numbers pass per second.
            Default: 1.

    Raises:
        ConfigError: The preset has no such split.
        ManifestError: The folder holds no recording of the preset.
    """
    rule = split_rule(preset, protocol)
    all_files = files_below(folder)
    matches, left_out = _matches(preset, all_files)
    if not matches:
        first = f" (left out: {left_out[0].path}: {left_out[0].detail})" if left_out else ""
        raise ManifestError(
            f"{folder} holds no file that {preset.name} describes{first}; give the folder of the "
            f"data set, whose paths match {' or '.join(rule.pattern for rule in preset.videos)}"
        )

    files = PresetFiles(all_files)
    split_of = split_function(rule, files)
    case_of = files.table(preset.case_table) if preset.case_table else None
    rate = frame_fps or 1.0
    recordings = [_recording(preset, match, files, split_of, case_of, rate) for match in matches]
    used = {path for each in recordings for labels in each.labels for path in labels.paths}
    return FoundSource(recordings=recordings, left_out=left_out, unused=files.unused(preset, used))


def _recording(
    preset: Preset,
    match: _Match,
    files: PresetFiles,
    split_of: SplitOf,
    case_of: Mapping[str, str] | None,
    rate: float,
) -> FoundRecording:
    """Return a recording with its case, split and annotation files.

    The rate is that of pictures for which none is published.
    """
    pictures = None
    if preset.media == "pictures":
        rate = match.rule.frame_fps or preset.frame_fps or rate
        pictures = PictureFiles(rate=rate, files=tuple(sorted(match.members)))
    case = fill(match.rule.case, match.names, preset.name)
    if preset.case_table and case_of is not None:
        if plain_name(case) not in case_of:
            raise ManifestError(f"{preset.case_table.file} has no row of {case}; add it there")
        case = case_of[plain_name(case)]
    names = {**match.names, "case": case}

    labels: list[LabelFiles] = []
    missing: list[str] = []
    absent: list[str] = []
    for label in preset.labels:
        matching = files.find(label.files, names) if label.files else ()
        if matching or not label.files:
            mapping = on_pictures(preset, label, pictures) if pictures else label.mapping
            labels.append(LabelFiles(paths=matching, mapping=mapping, names=names))
        else:
            lacking = absent if label.optional else missing
            lacking.append(fill(label.files, names, preset.name))
    return FoundRecording(
        path=match.members[0][1],
        names=names,
        case=case,
        view=fill(match.rule.view, names, preset.name),
        split=split_of(names),
        labels=tuple(labels),
        missing=tuple(missing),
        absent=tuple(absent),
        pictures=pictures,
    )


def videos_of_preset(
    preset: Preset, folder: Path, protocol: str = "", frame_fps: float = 0.0
) -> PresetVideos:
    """Return the videos of a data set with their metadata, and the files left out.

    Args:
        preset: The preset.
        folder: The user's copy of the data set.
        protocol: Name of the split. Default: the first one of the preset.
        frame_fps: Of a set of pictures without a published rate: how many numbers pass per second.

    Raises:
        ConfigError: The preset has pictures without a rate, or no such split.
        ManifestError: The folder holds no video of the preset, or lacks annotation files.
    """
    if preset.needs_rate and not frame_fps:
        raise ConfigError(
            f"{preset.name} consists of pictures, and the rate of their numbers is not published; "
            "give it with --frame_fps, such as 1 for one number per second"
        )
    found = find_source(preset, folder, protocol, frame_fps)
    lacking = [recording for recording in found.recordings if recording.missing]
    if lacking:
        first = lacking[0]
        raise ManifestError(
            f"{len(lacking)} of {len(found.recordings)} videos lack annotation files (the first, "
            f"{first.path}: {first.missing[0]}); `surgrec-shard check-source PRESET "
            f"{folder}` lists them: complete the copy, or remove these videos"
        )

    videos, left_out = [], list(found.left_out)
    for recording in found.recordings:
        if not recording.split:
            detail = f"the split has no place for the case {recording.case}"
            left_out.append(LeftOut(path=recording.path, reason="no_split", detail=detail))
            continue
        split: Split = recording.split  # type: ignore[assignment]  # checked with the rule
        videos.append(
            Video(
                path=recording.path,
                source=preset.name,
                domain=preset.domain,
                case=recording.case,
                split=split,
                procedure=preset.procedure,
                view=recording.view,
                license=preset.license,
                labels=recording.labels,
                public=preset.public,
                pictures=recording.pictures,
            )
        )
    if not videos:
        raise ManifestError(f"{folder}: the split has no place for any case; give another one")
    absent = [
        LeftOut(
            path=folder / name,
            reason="no_annotation",
            detail=f"an optional annotation file of {recording.path} that is not there",
        )
        for recording in found.recordings
        for name in recording.absent
    ]
    return PresetVideos(videos=videos, left_out=left_out, absent=absent)


def _matches(preset: Preset, files: FolderFiles) -> tuple[list[_Match], list[LeftOut]]:
    """Return the recordings of a folder, and the files that are none."""
    files = open_archives(files)
    is_of_pictures = preset.media == "pictures"
    if is_of_pictures:
        pictures = sort_pictures(files, f"a video file, and {preset.name} consists of pictures")
        paths, left_out = pictures.paths, pictures.left_out
    else:
        videos = search_files(files)
        paths, left_out = videos.paths, list(videos.left_out)

    grouped: dict[tuple[str, tuple[tuple[str, str], ...]], _Match] = {}
    unmatched = []
    for path, (rule, groups) in zip(paths, _rules_of(preset, files.folder, paths), strict=True):
        if rule is None:
            unmatched.append(path)
            continue
        names = _names(preset, path, groups)
        match = grouped.setdefault((rule.pattern, tuple(names.items())), _Match(rule, names, []))
        match.members.append((_number(path, groups) if is_of_pictures else 0, path))
    left_out += _unmatched(preset, files.folder, unmatched)

    if is_of_pictures:
        return list(grouped.values()), left_out
    matches = []
    for rule, names, members in grouped.values():
        matches.append(_Match(rule, names, members[:1]))
        detail = f"its path says the same as that of {members[0][1]}, which is used"
        left_out += [
            LeftOut(path=path, reason="not_in_preset", detail=detail) for _, path in members[1:]
        ]
    return matches, left_out


def _rules_of(
    preset: Preset, folder: Path, paths: Sequence[Path]
) -> Iterator[tuple[VideoRule | None, dict[str, str]]]:
    """Yield the first rule that matches each path, and its groups."""
    texts = [printable_name(path.relative_to(folder)) for path in paths]
    answers = [NamedPattern(rule.pattern, "pattern").search(texts) for rule in preset.videos]
    for groups_of_rules in zip(*answers, strict=True):
        matches = zip(preset.videos, groups_of_rules, strict=True)
        yield next(((rule, groups) for rule, groups in matches if groups), (None, {}))


def _unmatched(preset: Preset, folder: Path, paths: Sequence[Path]) -> Iterator[LeftOut]:
    """Yield a line for each video that the preset does not know, and each folder of pictures."""
    because = f"no pattern of the preset {preset.name} matches"
    if preset.media == "videos":
        for path in paths:
            yield LeftOut(path=path, reason="not_in_preset", detail=f"{because} its path")
        return

    # Sets have other pictures beside the frames, such as masks.
    others = [path_expression(template, None) for template in preset.other_pictures]
    unknown = Counter(
        path.parent
        for path in paths
        if not any(other.search(path.relative_to(folder).as_posix()) for other in others)
    )
    for parent, count in unknown.items():
        detail = f"{counted(count, 'picture')} of this folder: {because} their paths"
        yield LeftOut(path=parent, reason="not_in_preset", detail=detail)


def _names(preset: Preset, path: Path, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the names that identify a recording: the groups of its path, and its own name."""
    if preset.media == "pictures":
        return {name: text for name, text in groups.items() if not name.startswith(_GENERATED)}
    return {"file": path.name, "stem": path.stem, **groups}


def _number(path: Path, groups: Mapping[str, str]) -> int:
    """Return the number of a picture: the group `_frame`, else the last number in its name."""
    try:
        return number_of(groups.get("_frame", path.name))
    except BadVideoError as error:
        raise ManifestError(f"{path}: {error}; correct the group _frame of the preset") from None
