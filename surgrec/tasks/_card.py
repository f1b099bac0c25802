"""A task card: all that a benchmark needs to know of one task on a published data set, as data."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, get_args

from surgrec_shard.presets import Preset, SplitRule, read_preset

from surgrec.audit import FINDINGS
from surgrec.duplicates import KnownOverlap, overlaps_of
from surgrec.errors import ConfigError, shown
from surgrec.ranges import Range, check_ranges
from surgrec.scores.kinds import METRICS_OF, VIDEO_KINDS, KindName, ScopeName
from surgrec.splits import SplitKind
from surgrec.tasks._preset_labels import classes_in, has_task, tasks_of

Method = Literal["probes", "temporal"]
Domain = Literal["endoscopy", "laparoscopy", "cataract", "robotic", "open"]
"""Clinical domains of the benchmark."""
PAPER_DOMAINS = ("endoscopy", "laparoscopy", "cataract", "robotic")
"""Those of them that the paper of SurgRec (arXiv 2603.29966, abstract) names."""


@dataclass(frozen=True, kw_only=True)
class SplitChoice:
    """The split of a task: splits of the preset by name, or lists of clips by others."""

    source: str
    """Publication, page or repository that defines the split."""
    names: tuple[str, ...] = ()
    """Splits of the preset. Several are folds, each trained and tested on its own."""
    also: tuple[str, ...] = ()
    """Other splits of the preset that publications use for this task."""
    files: str = ""
    """Instead of names: the folder of a release with `train.csv`, `val.csv` and `test.csv`."""
    sizes: dict[str, Annotated[int, Range(0, 10_000_000)]] = field(default_factory=dict)
    """Published size of each part: cases, or clips if the split is `files`."""
    findings: dict[str, Annotated[int, Range(0, 10_000_000)]] = field(default_factory=dict)
    """Test clips that a failing finding of `surgrec audit` concerns, by its name, of `files`.
    Of two parts that are equal, only `equal_parts` counts."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.names) == bool(self.files):
            raise ConfigError("give either names of splits of the preset, or files")
        _choose("sizes", self.sizes, ("train", "val", "test"))
        _choose("findings", self.findings, FINDINGS)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Options of `surgrec evaluate` in a benchmark."""

    method: Method = "probes"
    """`probes`: kNN and regressions on frozen features. `temporal`: causal heads, too."""
    fps: Annotated[float, Range(0, 1000, above=True)] | None = None
    """Frames per second within a window. None: the rate of the encoder's training, or that of
    `surgrec vlm`."""
    num_frames: Annotated[int, Range(1, 65_536)] = 16
    """Frames of a window of a vision-language model. An encoder has its own number."""
    stride_s: Annotated[float, Range(0, 3600, above=True)] = 1.0
    """Seconds from the start of one window to the start of the next."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """One task of the benchmark. Facts of the data set are those of its preset (`data_set`)."""

    title: str
    preset: str
    """Preset of `surgrec-shard`: videos, cases, labels, splits, license and traps."""
    task: str
    """Column of the corpus's labels."""
    kind: KindName
    scope: ScopeName
    """Whether a label holds for a moment of the video, or for all of it."""
    split: SplitChoice
    metric: str
    """The headline metric."""
    beside: tuple[str, ...]
    """Further metrics, in the order of tables."""
    protocol: Protocol = Protocol()
    classes: tuple[str, ...] = ()
    """Names of the classes in order, where the preset does not have them."""
    num_classes: Annotated[int, Range(2, 100_000)] | None = None
    """Number of classes, where no names are published."""
    handled: tuple[str, ...] = ()
    """Traps of the task and how this project handles them, beside those of the preset."""
    faults: tuple[str, ...] = ()
    """Faults of published protocols of the task."""
    pretraining: tuple[str, ...] = ()
    """Pretraining corpora that are reported to hold videos of the set."""
    limits: tuple[str, ...] = ()
    """Limits of this project's evaluation of the task."""
    blocked: str = ""
    """Why the task cannot run yet. Empty: it can."""
    unknown: tuple[str, ...] = ()
    """Facts about the task that this project does not know."""
    legacy: bool = False
    """Whether this is a published protocol that is kept for comparison only."""
    legacy_reason: str = ""
    """Why its scores are not to be trusted."""
    audited: tuple[str, ...] = ()
    """Of a legacy card: the cards to use instead."""
    name: str = ""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.legacy != bool(self.legacy_reason):
            raise ConfigError(
                f"legacy is {str(self.legacy).lower()}, and legacy_reason is "
                f"{shown(self.legacy_reason)}; a legacy card, and no other, has a reason"
            )
        self._check_names()
        self._check_metrics()
        self._check_split()

    @cached_property
    def data_set(self) -> Preset:
        """The preset."""
        return read_preset(self.preset)

    @property
    def domain(self) -> str:
        """Clinical domain."""
        return self.data_set.domain

    @property
    def license(self) -> str:
        """License of the data set."""
        return self.data_set.license

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in order; empty if they are not published, or for numbers."""
        return self.classes or (() if self.legacy else classes_in(self.data_set, self.task))

    @property
    def class_count(self) -> int | None:
        """Number of classes; None if it is not published, or for numbers."""
        if self.legacy:
            return self.num_classes or len(self.classes) or None
        published = self.data_set.expected.class_counts.get(self.task)
        return self.num_classes or len(self.class_names) or published

    @property
    def split_rules(self) -> dict[str, SplitRule]:
        """The rules of the split's names."""
        return {name: self.data_set.splits[name] for name in self.split.names}

    @property
    def split_kind(self) -> SplitKind:
        """Origin of the split: `official`, `convention` or `ours`."""
        if self.split.files:
            return "convention"
        return next(iter(self.split_rules.values())).status

    @property
    def overlaps(self) -> list[KnownOverlap]:
        """Documented overlaps of the data set with others."""
        return overlaps_of(self.preset)

    def _check_names(self) -> None:
        try:
            preset = self.data_set
        except ConfigError as error:
            raise ConfigError(f"preset: {error}") from None

        if preset.domain not in get_args(Domain):
            raise ConfigError(
                f"preset: {preset.name} has the domain {preset.domain!r}; choose a set of "
                f"{', '.join(get_args(Domain))}"
            )

        if not (self.legacy or has_task(preset, self.task)):
            raise ConfigError(
                f"task is {shown(self.task)}; {preset.name} has labels of "
                f"{', '.join(tasks_of(preset)) or 'no task'}"
            )
        if self.classes and classes_in(preset, self.task) and not self.legacy:
            raise ConfigError(f"classes: {preset.name} has those of {self.task}; remove them here")

    def _check_metrics(self) -> None:
        if self.scope == "video":
            _choose("kind", [self.kind], VIDEO_KINDS, " of whole videos")
        known = METRICS_OF[self.kind]
        _choose("metric", [self.metric], known, f" of the kind {self.kind}")
        _choose("beside", self.beside, known, f" of the kind {self.kind}")
        if self.metric in self.beside:
            raise ConfigError(f"beside: {self.metric} is the headline metric; remove it here")

    def _check_split(self) -> None:
        splits = self.data_set.splits
        _choose("split.names", self.split.names, splits, f" of {self.preset}")
        _choose("split.also", self.split.also, splits, f" of {self.preset}")
        kinds = {rule.status for rule in self.split_rules.values()}
        if len(kinds) > 1:
            raise ConfigError(
                f"split.names are of several kinds ({', '.join(sorted(kinds))}); folds have one"
            )
        if bool(self.split.files) != self.legacy:
            raise ConfigError("split.files is for legacy cards; name a split of the preset")


def _choose(key: str, given: Iterable[str], known: Iterable[str], owner: str = "") -> None:
    """Refuse a name that is not among the known ones."""
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{key} has {shown(name)}; choose from those{owner}: {', '.join(names) or 'none'}"
            )
