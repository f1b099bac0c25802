"""Presets: published data sets as data. A preset names videos, cases, labels, splits and totals.

Each is a file of `sources/`. The class `Preset` defines the fields of a file.
"""

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from surgrec.annotations import LabelMapping, numbers_as_text, parse_mapping
from surgrec.errors import ConfigError, ManifestError
from surgrec.json_files import typed
from surgrec.manifest import SPLITS
from surgrec.recordings.picture_files import HIGHEST_RATE, LOWEST_RATE
from surgrec.yaml_files import read_yaml

FOLDER = Path(__file__).parent / "sources"
UNKNOWN_LICENSE = "unknown: ask the authors"
"""License of a set whose terms this project has not seen."""
_REMEDY = "correct the preset"


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
    frame_fps: float = 0.0
    """For pictures: rate of their numbers, per second, instead of the preset's rate."""


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
    of_video: bool = False
    """In sets of pictures: whether frames are those of the video from which pictures were taken."""

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
    """Rows of the annotation files of the first rule of labels."""
    left_out: int | None = None
    """Values that the mappings leave out, such as those of segments that end before they start."""
    labeled_cases: int | None = None
    """Cases with labels, of a set in which only some have any."""
    label_s: dict[str, float] = field(default_factory=dict)
    """Labeled seconds of each task: the sum of its labels."""
    covered_s: dict[str, float] = field(default_factory=dict)
    """Seconds with a label of each task, whatever their number."""
    part_label_s: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """As `label_s`, for the stored splits of a split of the preset."""
    label_tolerance: float = 1e-4
    """Share by which labeled seconds may differ: published ones may be counts of pictures. The
    default finds a second that each case lacks."""
    classes: dict[str, int] = field(default_factory=dict)
    """Number of values of each task."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """Values of each task, where they are published; they also give their number."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_tolerance < 1:
            raise ManifestError(
                f"label_tolerance is {self.label_tolerance:g}; give a share from 0 to 1"
            )

    @property
    def class_counts(self) -> dict[str, int]:
        """Return the number of values of each task that is published."""
        return {**self.classes, **{task: len(set(names)) for task, names in self.names.items()}}


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
    """For a set of pictures: rate of their numbers, per second. 0: it is not published."""
    first_picture: int = 0
    """Number of the picture with which the video begins, for labels `of_video`."""
    other_pictures: list[str] = field(default_factory=list)
    """Paths of pictures that are no frames, such as masks; templates like `files` of labels."""
    procedure: str = ""
    public: bool = False
    """Whether the names of cases are published, and so are stored unchanged."""
    traps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.videos:
            raise ManifestError(f"a preset needs at least one rule of videos; {_REMEDY}")

        rates = [
            rate for rate in (self.frame_fps, *(each.frame_fps for each in self.videos)) if rate
        ]
        for rate in rates:
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise ManifestError(
                    f"frame_fps is {rate:g}; give a number from {LOWEST_RATE:g} to {HIGHEST_RATE:g}"
                )
        if rates and self.media == "videos":
            raise ManifestError("frame_fps needs `media: pictures`; remove it")

        if any(rule.of_video and rule.mapping.fps == "video" for rule in self.labels):
            raise ManifestError(f"labels of_video need the fps of the video; {_REMEDY}")
        unknown = self.expected.part_label_s.keys() - self.splits.keys()
        if unknown:
            raise ManifestError(f"part_label_s names the split {', '.join(unknown)}; {_REMEDY}")

        if self.other_pictures and self.media == "videos":
            raise ManifestError("other_pictures needs `media: pictures`; remove it")

    @property
    def needs_rate(self) -> bool:
        """Return whether the set has pictures whose rate is not published."""
        rates = [rule.frame_fps or self.frame_fps for rule in self.videos]
        return self.media == "pictures" and not all(rates)


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


def _read(path: Path) -> Preset:
    content = numbers_as_text(read_yaml(path))
    # Mappings are read first, so that their errors name them.
    if isinstance(content, dict) and isinstance(content.get("labels"), list):
        for number, label in enumerate(content["labels"]):
            if isinstance(label, dict):
                parse_mapping(label.get("mapping"), f"{path}: labels[{number}].mapping")
    preset: Preset = typed(content, Preset, str(path), error=ManifestError, remedy=_REMEDY)
    return preset
