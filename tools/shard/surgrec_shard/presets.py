"""Presets: published data sets as data. A preset names videos, cases, labels, splits and totals.

Each is a file of `sources/`. The class `Preset` defines the fields of a file.
"""

import difflib
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from surgrec.annotations import (
    LabelFiles,
    LabelMapping,
    Track,
    VideoClock,
    fill,
    numbers_as_text,
    parse_mapping,
    read_column,
    read_labels,
)
from surgrec.errors import ConfigError, ManifestError
from surgrec.json_files import typed
from surgrec.manifest import SPLITS, Split, Video
from surgrec.recordings import BadVideoError
from surgrec.recordings.picture_files import (
    HIGHEST_RATE,
    LOWEST_RATE,
    PICTURE_SUFFIXES,
    PictureFiles,
    number_of,
)
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
from surgrec.yaml_files import read_yaml

FOLDER = Path(__file__).parent / "sources"
SplitOf = Callable[[Mapping[str, str]], str]
_SPELLINGS = {"validation": "val", "valid": "val", "dev": "val", "testing": "test"}
_REMEDY = "correct the preset"
_GENERATED = "_"
"""First letter of groups that find a file but do not tell recordings apart, such as `_frame`."""


@dataclass(frozen=True, kw_only=True)
class VideoRule:
    """Which files are videos, and the names in their paths."""

    pattern: str
    """Expression with named groups, searched in the path relative to the folder. In sets of
    pictures, groups that begin with `_` differ within one recording."""
    case: str
    """Name of the case; `{name}` is replaced by a group."""
    view: str = ""
    """As `case`; such as `left`."""


@dataclass(frozen=True, kw_only=True)
class CaseTable:
    """A file that says the case of each recording."""

    file: str
    key: str
    """Column of what `case` of the video rule names."""
    column: str
    """Column of the case."""


@dataclass(frozen=True, kw_only=True)
class LabelRule:
    """Where the annotation files of a recording are, and how they are read."""

    files: str
    """Path relative to the folder, or below any folder in it. `{name}` is replaced by a group of
    the recording's path; `*` matches any name. Empty: the path of the recording itself holds the
    class."""
    mapping: LabelMapping
    optional: bool = False
    """Whether some recordings have no such file."""

    @property
    def is_shared(self) -> bool:
        """Return whether one file holds the labels of many recordings."""
        return bool(self.mapping.only)


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """A rule over cases."""

    status: Literal["official", "convention", "ours"]
    """Its origin: the authors of the set, later publications, or this project."""
    of: str = "{case}"
    """The names that `parts` lists; `{name}` is replaced by a group of the recording's path."""
    parts: dict[str, str] = field(default_factory=dict)
    """For each stored split the names in it, separated by spaces. `1-40` is a range; `*` is all
    others."""
    shares: dict[str, float] = field(default_factory=dict)
    """Instead of `parts`: shares of the cases, which a digest of each case's name decides."""
    lists: dict[str, str] = field(default_factory=dict)
    """Instead of `parts`: files whose first column lists the names."""
    table: str = ""
    """Instead of `parts`: a file with the columns `key` and `column`, the name and its split."""
    key: str = ""
    column: str = ""

    def __post_init__(self) -> None:
        given = [bool(self.parts), bool(self.shares), bool(self.lists), bool(self.table)]
        if sum(given) != 1:
            raise ManifestError(f"a split needs one of parts, shares, lists and table; {_REMEDY}")
        if any(not 0 < share <= 1 for share in self.shares.values()):
            raise ManifestError(f"a split has the shares {self.shares}; give numbers from 0 to 1")
        unknown = {*self.parts, *self.shares, *self.lists} - set(SPLITS)
        if unknown:
            raise ManifestError(f"a split has the part {', '.join(unknown)}; {_REMEDY}")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Totals that the authors of the set published."""

    videos: int | None = None
    cases: int | None = None
    hours: float | None = None
    pictures: int | None = None
    rows: int | None = None
    """Rows of the shared annotation file."""
    label_s: dict[str, float] = field(default_factory=dict)
    """Labeled seconds of each task."""
    classes: dict[str, int] = field(default_factory=dict)
    """Number of values of each task."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published data set."""

    name: str
    """Also the name of the source."""
    title: str
    domain: str
    license: str
    case_is: str
    """Meaning of a case: a patient, an operation, a trial."""
    origin: str
    """Number of the first frame, and the clock of the labels."""
    videos: list[VideoRule]
    case_table: CaseTable | None = None
    labels: list[LabelRule] = field(default_factory=list)
    splits: dict[str, SplitRule] = field(default_factory=dict)
    """The first one is the default."""
    expected: Expected = field(default_factory=Expected)
    media: Literal["videos", "pictures"] = "videos"
    frame_fps: float = 0.0
    """Of a set of pictures: how many of their numbers pass per second. 0: it is not published."""
    procedure: str = ""
    public: bool = False
    """Whether the names of cases are published, and so are stored unchanged."""
    traps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.videos:
            raise ManifestError(f"a preset needs at least one rule of videos; {_REMEDY}")
        if self.frame_fps and not LOWEST_RATE <= self.frame_fps <= HIGHEST_RATE:
            raise ManifestError(
                f"frame_fps is {self.frame_fps:g}; give a number from {LOWEST_RATE:g} to "
                f"{HIGHEST_RATE:g}"
            )
        if self.frame_fps and self.media == "videos":
            raise ManifestError("frame_fps needs `media: pictures`; remove it")


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
    pictures: tuple[tuple[int, Path], ...] = ()
    """Number and file of each picture, of a set of pictures."""


@dataclass(frozen=True, kw_only=True)
class FoundSource:
    """The files of a preset in a folder."""

    recordings: list[FoundRecording]
    left_out: list[LeftOut]
    """Videos that the preset does not know, and places that could not be searched."""
    unused: list[str]
    """Annotation files whose recording is not there."""


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_preset(name: str) -> Preset:
    """Return a preset by its name, or from a YAML file of the user.

    Raises:
        ConfigError: There is no such preset, or the file is not YAML.
        ManifestError: The file is no preset.
    """
    names = preset_names()
    if name in names:
        return _read(FOLDER / f"{name}.yaml")
    if name.endswith((".yaml", ".yml")):
        return _read(Path(name))
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; choose from {', '.join(names)}"
    raise ConfigError(f"there is no preset {name!r}{hint}")


def find_source(preset: Preset, folder: Path, protocol: str = "") -> FoundSource:
    """Return the files of a preset in a folder. Nothing is decoded.

    Args:
        preset: The preset.
        folder: The user's copy of the data set.
        protocol: Name of the split. Default: the first one of the preset.

    Raises:
        ConfigError: The preset has no such split.
        ManifestError: The folder holds no recording of the preset.
    """
    rule = _split_rule(preset, protocol)
    all_files = files_below(folder)
    found, left_out = _matches(preset, all_files)
    if not found:
        first = f" (left out: {left_out[0].path}: {left_out[0].detail})" if left_out else ""
        raise ManifestError(
            f"{folder} holds no file that {preset.name} describes{first}; give the folder of the "
            f"data set, whose paths match {' or '.join(rule.pattern for rule in preset.videos)}"
        )

    files = _Files(all_files)
    split_of = _split_function(rule, files)
    table = preset.case_table
    case_of = _table(files, table) if table else {}
    recordings = []
    used: set[Path] = set()
    for video, members, names in found:
        case = fill(video.case, names, preset.name)
        if table:
            if plain_name(case) not in case_of:
                raise ManifestError(f"{table.file} has no row of {case}; add it there")
            case = case_of[plain_name(case)]
        names = {**names, "case": case}
        labels, missing = [], []
        for label in preset.labels:
            matching = files.find(label.files, names) if label.files else ()
            used.update(matching)
            if matching or not label.files:
                labels.append(LabelFiles(paths=matching, mapping=label.mapping, names=names))
            elif not label.optional:
                missing.append(fill(label.files, names, preset.name))
        recordings.append(
            FoundRecording(
                path=members[0][1],
                names=names,
                case=case,
                view=fill(video.view, names, preset.name),
                split=split_of(names),
                labels=tuple(labels),
                missing=tuple(missing),
                pictures=tuple(sorted(members)) if preset.media == "pictures" else (),
            )
        )
    return FoundSource(recordings=recordings, left_out=left_out, unused=files.unused(preset, used))


def videos_of_preset(
    preset: Preset, folder: Path, protocol: str = "", frame_fps: float = 0.0
) -> tuple[list[Video], list[LeftOut]]:
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
    rate = preset.frame_fps or frame_fps
    if preset.media == "pictures" and not rate:
        raise ConfigError(
            f"{preset.name} consists of pictures, and the rate of their numbers is not published; "
            "give it with --frame_fps, such as 1 for one number per second"
        )
    found = find_source(preset, folder, protocol)
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
                labels=_on_pictures(recording, rate),
                public=preset.public,
                pictures=PictureFiles(rate=rate, files=recording.pictures)
                if recording.pictures
                else None,
            )
        )
    if not videos:
        raise ManifestError(f"{folder}: the split has no place for any case; give another one")
    return videos, left_out


def _on_pictures(recording: FoundRecording, rate: float) -> tuple[LabelFiles, ...]:
    """Return the labels of a recording on the clock that begins with its first picture."""
    if not recording.pictures:
        return recording.labels
    first = recording.pictures[0][0]
    return tuple(
        replace(
            files, mapping=replace(files.mapping, origin=files.mapping.origin + first, fps=rate)
        )
        if files.mapping.unit == "frame"
        else files
        for files in recording.labels
    )


def _read(path: Path) -> Preset:
    content = numbers_as_text(read_yaml(path))
    # Mappings are read first, so that their errors name them.
    if isinstance(content, dict) and isinstance(content.get("labels"), list):
        for number, label in enumerate(content["labels"]):
            if isinstance(label, dict):
                parse_mapping(label.get("mapping"), f"{path}: labels[{number}].mapping")
    preset: Preset = typed(content, Preset, str(path), error=ManifestError, remedy=_REMEDY)
    return preset


def _split_rule(preset: Preset, protocol: str) -> SplitRule | None:
    if not protocol:
        return next(iter(preset.splits.values()), None)
    if protocol not in preset.splits:
        raise ConfigError(
            f"{preset.name} has no split {protocol!r}; choose from "
            f"{', '.join(preset.splits) or 'none'}"
        )
    return preset.splits[protocol]


def _matches(
    preset: Preset, files: FolderFiles
) -> tuple[list[tuple[VideoRule, list[tuple[int, Path]], dict[str, str]]], list[LeftOut]]:
    """Return the recordings of a folder: rule, numbered files, and the names in their paths."""
    if preset.media == "pictures":
        files = open_archives(files)
        paths = [path for path in files.paths if path.suffix.lower() in PICTURE_SUFFIXES]
        left_out = list(files.left_out)
    else:
        videos = search_files(open_archives(files))
        paths, left_out = videos.paths, list(videos.left_out)

    texts = [printable_name(path.relative_to(files.folder)) for path in paths]
    answers = [NamedPattern(rule.pattern, "pattern").search(texts) for rule in preset.videos]
    grouped: dict[
        tuple[str, tuple[tuple[str, str], ...]], tuple[VideoRule, list[tuple[int, Path]]]
    ] = {}
    for path, *groups_of_rules in zip(paths, *answers, strict=True):
        matches = zip(preset.videos, groups_of_rules, strict=True)
        rule, groups = next(((rule, each) for rule, each in matches if each), (None, {}))
        if rule is not None:
            names = _names(preset, path, groups)
            grouped.setdefault((rule.pattern, tuple(names.items())), (rule, []))[1].append(
                (_number(path, groups) if preset.media == "pictures" else 0, path)
            )
        elif preset.media == "videos":
            detail = f"no pattern of the preset {preset.name} matches its path"
            left_out.append(LeftOut(path=path, reason="not_in_preset", detail=detail))

    recordings = []
    for (_, names_of), (rule, members) in grouped.items():
        recordings.append(
            (rule, members[:1] if preset.media == "videos" else members, dict(names_of))
        )
        if preset.media == "videos":
            left_out += [
                LeftOut(
                    path=path,
                    reason="not_in_preset",
                    detail=f"its path says the same as that of {members[0][1]}, which is used",
                )
                for _, path in members[1:]
            ]
    return recordings, left_out


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


class _Files:
    """The files below a folder, found by templates of their paths.

    Copies of a set may spell paths in upper or lower case, so these are equal.
    """

    def __init__(self, files: FolderFiles) -> None:
        self._by_name: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for path in files.paths:
            self._by_name[path.name.casefold()].append(
                (path.relative_to(files.folder).as_posix(), path)
            )

    def find(self, template: str, names: Mapping[str, str]) -> tuple[Path, ...]:
        """Return the files whose path ends like a template, sorted."""
        expression = _path_expression(template, names)
        last = template.rpartition("/")[2]
        candidates: Iterable[tuple[str, Path]]
        if "*" in last:
            candidates = [each for same in self._by_name.values() for each in same]
        else:
            candidates = self._by_name.get(fill(last, names, "the preset").casefold(), [])
        return tuple(sorted(path for text, path in candidates if expression.search(text)))

    def one(self, template: str) -> tuple[Path, ...]:
        """Return the only file of a path.

        Raises:
            ManifestError: It is not there, or several times.
        """
        found = self.find(template, {})
        if len(found) != 1:
            raise ManifestError(
                f"{counted(len(found), 'file is', 'files are')} called {template}, which holds the "
                "split; give a complete copy, or another split"
            )
        return found

    def unused(self, preset: Preset, used: set[Path]) -> list[str]:
        """Return annotation files that belong to no recording."""
        found = []
        for label in preset.labels:
            if not label.files:
                continue

            expression = _path_expression(label.files, None)
            found += [
                text
                for same in self._by_name.values()
                for text, path in same
                if path not in used and expression.search(text)
            ]

        return sorted(set(found))


def _path_expression(template: str, names: Mapping[str, str] | None) -> re.Pattern[str]:
    """Return the expression of a template: `*` is any name; a name in braces is its group.

    Args:
        template: The template.
        names: The groups. None: each matches any name.
    """
    parts = []
    for part in re.split(r"(\{[^{}]+\}|\*)", template):
        if part.startswith("{"):
            name = fill(part, names, template) if names is not None else ""
            parts.append("[^/]*" if names is None else re.escape(name))
        else:
            parts.append("[^/]*" if part == "*" else re.escape(part))
    return re.compile(f"(?:^|/){''.join(parts)}$", re.IGNORECASE)


def _split_function(rule: SplitRule | None, files: "_Files") -> SplitOf:
    """Return the function that gives the stored split of a recording; empty if it has none."""
    if rule is None:
        return lambda names: "train"
    if rule.shares:
        shares = rule.shares
        return lambda names: _by_digest(fill(rule.of, names, "of"), shares)

    parts = {split: text.split() for split, text in rule.parts.items()}
    if rule.lists:
        listing = LabelMapping(
            grammar="list", tracks=[Track(task="name", column="1")], header=False
        )
        parts = {
            split: read_column(LabelFiles(paths=files.one(path), mapping=listing), "1")
            for split, path in rule.lists.items()
        }
    if rule.table:
        parts = _parts_of_table(rule, files)
    split_of_name: dict[str, str] = {}
    others = ""
    for split, tokens in parts.items():
        for token in tokens:
            if token == "*":
                others = split
            for name in _names_of(token):
                split_of_name[name] = split
    return lambda names: split_of_name.get(plain_name(fill(rule.of, names, "of")), others)


def _parts_of_table(rule: SplitRule, files: "_Files") -> dict[str, list[str]]:
    """Return the names of each split from a file with a column of names and one of splits."""
    parts: dict[str, list[str]] = defaultdict(list)
    table = CaseTable(file=rule.table, key=rule.key, column=rule.column)
    for name, value in _table(files, table).items():
        split = _SPELLINGS.get(value.lower(), value.lower())
        if split not in SPLITS:
            raise ManifestError(f"{rule.table}: the split {value!r} is not known; correct it")
        parts[split].append(name)
    return parts


def _table(files: "_Files", table: CaseTable) -> dict[str, str]:
    """Return a column of a file by its key."""
    track = Track(task=f"{{{table.key}}}", column=table.column)
    mapping = LabelMapping(grammar="list", tracks=[track])
    clock = VideoClock(pictures_s=np.zeros(1), end_s=1.0)
    read = read_labels([LabelFiles(paths=files.one(table.file), mapping=mapping)], clock)
    return {plain_name(label.task): label.value for label in read.labels}


def _names_of(token: str) -> list[str]:
    """Return the names that a word of a split lists: `7`, `1-40`, or `train1-25`."""
    match = re.fullmatch(r"([A-Za-z]*)([0-9]{1,6})-([0-9]{1,6})", token)
    if match is None:
        return [plain_name(token)]
    return [f"{match[1]}{number}" for number in range(int(match[2]), int(match[3]) + 1)]


def _by_digest(name: str, shares: Mapping[str, float]) -> str:
    """Return the split of a name: a digest of the name falls into its share."""
    digest = hashlib.sha256(name.encode()).digest()
    point = int.from_bytes(digest[:8]) / 2**64 * sum(shares.values())
    for split, share in shares.items():
        if point < share:
            return split
        point -= share
    return list(shares)[-1]


def plain_name(name: str) -> str:
    """Return a name whose number has no leading zeros: `BBP05` is `BBP5`."""
    match = re.fullmatch(r"([A-Za-z]*)([0-9]{1,18})", name)
    return f"{match[1]}{int(match[2])}" if match else name
