"""The mapping: how the rows of annotation files become labels. It is data, read from YAML."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from surgrec.errors import ManifestError
from surgrec.json_files import typed
from surgrec.user_patterns import NamedPattern
from surgrec.yaml_files import read_yaml

Grammar = Literal[
    "frames", "ticks", "segments", "starts", "json", "folder", "list", "coco", "questions"
]
Unit = Literal["frame", "s", "ms", "HH:MM:SS"]

_TICKS: tuple[Grammar, ...] = ("frames", "ticks", "coco", "questions")
_WHOLE: tuple[Grammar, ...] = ("folder", "list")
_ENCODING = re.compile(
    r"utf-(8|16|32)(-[lb]e|-sig)?|ascii|iso8859-\d+|cp\d+|mac-\w+|gb18030|gbk|big5|shift_jis|euc_\w+"
    r"|koi8-\w"
)
_FIELD = re.compile(r"\{([^{}]+)\}")
_TEXTS = frozenset(
    (
        *("names", "ignore", "none", "columns", "column", "flags"),
        *("only", "require", "time", "start", "end"),
    )
)
"""Fields whose whole numbers are meant as text."""
_REMEDY = "correct the mapping"


@dataclass(frozen=True, kw_only=True)
class Track:
    """One task: the place of its values in a row, and their names."""

    task: str
    """Name of the task. `{column}` in it is replaced by the cell of that column."""
    column: str = ""
    """Column of the value. In JSON also a path, such as `ds.0`."""
    columns: list[str] = field(default_factory=list)
    """Several columns that each hold a value of the task, instead of `column`."""
    flags: dict[str, list[str]] = field(default_factory=dict)
    """Columns of numbers for each value, instead of `column`: it is present where their mean is 0.5
    or more."""
    names: dict[str, str] = field(default_factory=dict)
    """Name of each value as the file writes it. Empty: values keep the names of the file."""
    names_at: str = ""
    """Path of the names in a JSON file, instead of `names`."""
    ignore: list[str] = field(default_factory=list)
    """Values of the file that are no label, such as `-1` or an empty cell."""
    none: list[str] = field(default_factory=list)
    """Values of the file by which the annotator says that no class of the task is present, stored
    as `NONE_PRESENT`. With `flags`, a row without any of them says so itself."""
    at: str = ""
    """Path of the rows in a JSON file. Default: that of the mapping."""
    overlaps: Literal["keep", "latest"] = "keep"
    """Where segments overlap: keep all, or only the one that starts last."""
    mean: bool = False
    """Whether values are numbers of which labels of one time are averaged, such as the scores of
    several raters."""
    drop: bool = False
    """Whether a build leaves these stretches out. Their values are no labels, but reasons."""

    def __post_init__(self) -> None:
        given = [bool(self.column), bool(self.columns), bool(self.flags)]
        if not self.task or sum(given) != 1:
            raise ManifestError(
                f"the track {self.task!r} needs a task, and either column, columns or flags; "
                f"{_REMEDY}"
            )

        if any(not columns for columns in self.flags.values()):
            raise ManifestError(
                f"the track {self.task!r} has a flag without columns; list its columns"
            )
        if self.none and self.flags:
            raise ManifestError(
                f"the track {self.task!r} has flags, of which a row may have none; remove `none`"
            )

        if self.mean and (self.flags or self.names or self.names_at):
            raise ManifestError(
                f"the track {self.task!r} has `mean`, which needs numbers; remove flags and names"
            )
        if self.drop and fields_of(self.task):
            raise ManifestError(
                f"the track {self.task!r} has `drop` and a column in its task; give it one name"
            )

    def used_columns(self) -> list[str]:
        """Return the columns of the values, and those in the name of the task."""
        flags = [column for columns in self.flags.values() for column in columns]
        values = [self.column] if self.column else [*self.columns, *flags]
        return [*values, *fields_of(self.task)]


@dataclass(frozen=True, kw_only=True)
class LabelMapping:
    """How the rows of annotation files become labels."""

    grammar: Grammar
    """Meaning of a row: see the README of this room."""
    tracks: list[Track]
    """The tasks. Side tracks that overlap the main one are tracks of their own."""
    time: str = ""
    """Column of the time of a row: its frame, its tick or its start. A time in several columns is a
    template, such as `{minute}:{second}`."""
    start: str = ""
    """Column of the start of a segment."""
    end: str = ""
    """Column of the end of a segment."""
    unit: Unit = "s"
    """Unit of all times. `HH:MM:SS` also takes `MM:SS` and decimals."""
    fps: float | Literal["video"] = "video"
    """Frames per second of the frame numbers; `video` looks each frame up in the video's clock."""
    origin: int = 0
    """Number of the first frame or tick."""
    every: float = 1.0
    """Distance from one tick to the next, in the unit. Ticks that are missing are gaps."""
    every_s: float = 0.0
    """Instead of `every`: the length of a tick, seconds. For frame numbers of a slower clock."""
    end_included: bool = False
    """Whether the frame or tick that `end` names belongs to the segment."""
    first_rows: int = 0
    """Number of rows to read of each file, for files whose further lines are of another kind. 0:
    all."""
    delimiter: str = ""
    """Character between cells; a space matches any number of spaces and tabs. Default: found in
    the first lines."""
    header: bool | None = None
    """Whether the first line names the columns. Default: found by its content."""
    columns: list[str] = field(default_factory=list)
    """Names of the columns, for files without a header."""
    encoding: str = ""
    """Such as `latin-1`. Default: the encoding of the byte order mark, else UTF-8."""
    extra_columns: Literal["skip", "refuse"] = "skip"
    """Treatment of columns that the mapping does not name."""
    at: str = ""
    """Path of the rows in a JSON file, such as `annotations`."""
    path: str = ""
    """Expression with named groups, searched in the path of each annotation file. The groups are
    further columns."""
    only: dict[str, str] = field(default_factory=dict)
    """Columns and the cells that the rows of this video have. `{name}` is replaced by a named group
    of the video's path."""
    require: list[str] = field(default_factory=list)
    """Columns that must have a cell: a row in which one is empty is no label, such as a value that
    was interpolated and not annotated."""
    start_part: str = ""
    """Column of the part of the recording in which a segment starts."""
    end_part: str = ""
    """Column of the part in which it ends."""
    drop_repeats: bool = False
    """Leave out labels that are equal to another one."""
    drop_backward: bool = False
    """Leave out segments that end before they start, instead of refusing the file."""

    def __post_init__(self) -> None:
        if not self.tracks:
            raise ManifestError(f"the mapping has no tracks; {_REMEDY}")
        self._check_times()
        self._check_text()
        if self.path:
            NamedPattern(self.path, "path")

    @property
    def has_segments(self) -> bool:
        """Return whether rows have a start and an end."""
        return self.grammar == "segments" or (self.grammar == "json" and bool(self.start))

    @property
    def has_ticks(self) -> bool:
        """Return whether a row labels one frame or tick."""
        return self.grammar in _TICKS or (self.grammar == "json" and bool(self.time))

    @property
    def is_json(self) -> bool:
        """Return whether the files are JSON."""
        return self.grammar in ("json", "coco")

    @property
    def needs_clock(self) -> bool:
        """Return whether the times cannot be known without the video."""
        looks_up = self.unit == "frame" and self.fps == "video"
        is_whole = not (self.has_ticks or self.has_segments)  # also starts: the last one runs on
        return looks_up or is_whole or bool(self.start_part)

    @property
    def time_columns(self) -> list[str]:
        """Return the columns of times."""
        columns = [column for column in (self.time, self.start, self.end) if column]
        return [name for column in columns for name in fields_of(column) or [column]]

    def used_columns(self, track: Track) -> list[str]:
        """Return all columns that labels of a track need, without repeats."""
        parts = [column for column in (self.start_part, self.end_part) if column]
        used = [*self.time_columns, *parts, *self.only, *self.require, *track.used_columns()]
        return list(dict.fromkeys(used))

    def _check_times(self) -> None:
        is_json = self.grammar == "json"
        needs_time = self.grammar in (*_TICKS, "starts") or (is_json and not self.start)
        if needs_time and not self.time:
            raise ManifestError(f"the grammar {self.grammar} needs `time`; name its column")

        if (self.grammar == "segments" or (is_json and self.start)) and not (
            self.start and self.end
        ):
            raise ManifestError(
                f"the grammar {self.grammar} needs `start` and `end`; name their columns"
            )

        # Columns of another grammar are an error, not ignored.
        unused = [self.start, self.end] if needs_time else [self.time]
        if any(unused) or (self.grammar in _WHOLE and self.time_columns):
            raise ManifestError(
                f"the grammar {self.grammar} has no use for {', '.join(filter(None, unused))}; "
                "remove it, or choose another grammar"
            )

        if self.grammar == "frames" and (self.unit != "frame" or self.every != 1):
            raise ManifestError("the grammar frames needs `unit: frame` and every frame; use ticks")
        self._check_numbers()

        if bool(self.start_part) != bool(self.end_part):
            raise ManifestError("start_part and end_part belong together; name both columns")
        if self.start_part and not self.has_segments:
            raise ManifestError("start_part and end_part need segments; remove them")

    def _check_numbers(self) -> None:
        if self.first_rows < 0:
            raise ManifestError(f"first_rows is {self.first_rows}; give 0 or more")
        if not 0 < self.every < float("inf"):
            raise ManifestError(f"every is {self.every}; give a number above 0")
        if not 0 <= self.every_s < float("inf"):
            raise ManifestError(f"every_s is {self.every_s}; give a number above 0")
        if self.unit == "frame" and self.every != int(self.every):
            raise ManifestError(f"every is {self.every}; give a whole number of frames")
        if self.fps != "video" and not 0 < self.fps <= 1000:
            raise ManifestError(f"fps is {self.fps}; give a number up to 1000, or video")

    def _check_text(self) -> None:
        if len(self.delimiter) > 1 or self.delimiter in ("\n", "\r", '"'):
            raise ManifestError(f"the delimiter is {self.delimiter!r}; give one character")

        repeated = {column for column in self.columns if self.columns.count(column) > 1}
        if repeated or "" in self.columns:
            raise ManifestError(
                f"columns has {', '.join(map(repr, repeated or ['']))} twice or empty; "
                "give each column a name of its own"
            )

        if not self.encoding:
            return
        try:
            name = codecs.lookup(self.encoding).name
        except (LookupError, ValueError):
            name = ""
        if not _ENCODING.fullmatch(name):
            raise ManifestError(
                f"encoding {self.encoding!r} is not known; use one such as utf-8, latin-1 or cp1252"
            )


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """Annotation files of one video with one mapping."""

    paths: tuple[Path, ...] = ()
    """Empty only for the grammar `folder`, which reads the names alone."""
    mapping: LabelMapping
    names: Mapping[str, str] = field(default_factory=dict)
    """Named groups of the video's path, such as its case and its part."""
    rows: tuple[tuple[str, Mapping[str, str]], ...] = ()
    """Instead of files: place and cells of each row."""


PLAIN = LabelMapping(
    grammar="segments",
    tracks=[Track(task="{task}", column="value")],
    start="start_s",
    end="end_s",
    extra_columns="refuse",
)
"""The mapping of files with the columns task, start_s, end_s and value."""


def read_mapping(path: Path) -> LabelMapping:
    """Return the mapping of a YAML file.

    Raises:
        ConfigError: The file is not YAML.
        ManifestError: It is not a mapping of annotation files.
    """
    return parse_mapping(read_yaml(path), str(path))


def parse_mapping(value: Any, context: str) -> LabelMapping:
    """Return plain values as a mapping.

    Args:
        value: Content of a YAML file.
        context: Name of the file, for messages.

    Raises:
        ManifestError: The values are no mapping of annotation files.
    """
    plain = numbers_as_text(value)
    return typed(plain, LabelMapping, context, error=ManifestError, remedy=_REMEDY)


def numbers_as_text(value: Any, is_text: bool = False) -> Any:
    """Return plain values in which whole numbers used as cells and names of a mapping are text.

    Args:
        value: Content of a YAML file that is a mapping, or holds one.
        is_text: Whether all whole numbers in it are text.
    """
    if isinstance(value, dict):
        return {key: numbers_as_text(item, is_text or key in _TEXTS) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers_as_text(item, is_text) for item in value]
    return str(value) if is_text and type(value) is int else value


def fields_of(template: str) -> list[str]:
    """Return the names in braces of a template."""
    return _FIELD.findall(template)


def fill(template: str, values: Mapping[str, str], context: str) -> str:
    """Return a template with its names in braces replaced.

    Raises:
        ManifestError: A name has no value.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            raise ManifestError(
                f"{context}: no group is named {name!r} (known: {', '.join(values) or 'none'}); "
                f"correct {template!r}"
            )
        return values[name]

    return _FIELD.sub(value_of, template)
