"""A task that is audited before anything is computed: its inputs, labels and windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError, shown
from surgrec.evaluation._audit import (
    Check,
    audit_label_times,
    audit_pretraining,
    audit_split,
    require_task,
    require_windows,
    train_values,
)
from surgrec.evaluation._labeled_windows import LabeledWindows, labeled_windows
from surgrec.evaluation._published_sets import audit_published_sets
from surgrec.evaluation._window_labels import LabelsByVideo, require_one_value, task_labels
from surgrec.evaluation.kinds import (
    KINDS,
    KindName,
    RelaxedName,
    RelaxedPhases,
    ScopeName,
    TaskKind,
)
from surgrec.features import FailedWindow, WindowRow
from surgrec.features.corpora import CorpusVideos
from surgrec.runs.drawn import pretraining_data
from surgrec.scores.kinds import VIDEO_KINDS
from surgrec.shards import Source, open_corpus
from surgrec.splits import Parts, Split, corpus_videos, divide

WindowKey = tuple[str, str, float]
"""Source, video and start of a window."""


@runtime_checkable
class EvaluatedModel(Protocol):
    """The facts of a model that an audit needs: every `VideoEncoder` has them."""

    @property
    def sampling(self) -> ClipSampling:
        """Frames of a window and their rate."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of how the weights were made."""

    @property
    def facts(self) -> dict[str, Any]:
        """The origin of the model as JSON: at least its name, provenance and sha256."""


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """A task on corpora, and the findings of the audit that do not stop it."""

    corpora: list[str]
    """Corpus roots."""
    task: str
    """Labels to predict, such as `phase`."""
    split: Split
    """Rules that select train and test cases, and maybe val cases."""
    kind: KindName = "classes"
    """What a label is, and how it is scored."""
    scope: ScopeName = "moment"
    """Whether a label holds for a moment, and windows are scored, or for a whole video: then the
    mean over its windows is scored."""
    relaxed: RelaxedName = "no"
    """Rule of relaxed metrics, which are computed beside the others, for the kind `phases`."""
    phase_order: list[str] = field(default_factory=list)
    """The phases in their usual order, for relaxed metrics."""
    allow: tuple[str, ...] = ()
    """Findings about the split that do not stop the evaluation (`surgrec.audit.FINDINGS`)."""
    allow_pretraining_overlap: bool = False
    """Continue if the encoder was pretrained on test cases or on a published set that shares
    videos with their sources, or if that is unknown."""
    allow_unknown_pretraining: bool = False
    """Continue if it is unknown whether the encoder was pretrained on test cases."""
    allow_repeated_frames: bool = False
    """Continue with videos of fewer frames per second than a window. Their frames repeat."""

    @property
    def rules(self) -> TaskKind:
        """The kind with all of its settings.

        Raises:
            ConfigError: Relaxed metrics of another kind than phases, or without an order; or an
                order without them; or labels of videos of a kind that is of moments alone.
        """
        if self.scope == "video" and self.kind not in VIDEO_KINDS:
            raise ConfigError(
                f"the kind {self.kind} is of moments of a video, and the scope is video; give "
                f"--task_scope moment, or a kind among {', '.join(VIDEO_KINDS)}"
            )

        # Relaxed metrics need phases and their order.
        if self.relaxed == "no":
            if self.phase_order:
                raise ConfigError(
                    f"the phase order {shown(self.phase_order)} is for relaxed metrics only, and "
                    "relaxed is no; give --relaxed a rule, or leave out --phase_order"
                )
            return KINDS[self.kind]
        if self.kind != "phases":
            raise ConfigError(
                f"relaxed metrics are of phases, and the kind is {self.kind}; give --task_kind "
                "phases, or --relaxed no"
            )
        return RelaxedPhases(self.relaxed, self.phase_order)


@dataclass(frozen=True, kw_only=True)
class AuditedTask:
    """A task that passed its audit: opened corpora, chosen videos, labels, checks."""

    choice: TaskChoice
    sources: dict[str, Source]
    videos: CorpusVideos
    """The videos of all parts, to decode."""
    parts: Parts
    labels: LabelsByVideo
    encoder: dict[str, Any]
    """Facts about the trained encoder, as JSON."""
    sampling: ClipSampling
    """Frames of a window."""
    stride_s: float
    """Seconds from the start of one window to the start of the next."""
    checks: list[Check]
    overrides: list[str]
    """Findings that only an option allows, as sentences."""

    @property
    def kind(self) -> TaskKind:
        """What a label is, and how it is scored."""
        return self.choice.rules

    @property
    def video_names(self) -> set[tuple[str, str]]:
        """Source and video of the videos of all parts."""
        return {(video.source, video.video) for video in self.parts.videos}

    def planned_windows(self) -> LabeledWindows:
        """Return the labeled windows of each part, before any is decoded.

        Raises:
            ConfigError: Too few cases or values have a labeled window.
            SampleError: A video has too many windows.
        """
        return self.windows(self.videos.windows(self.sampling, self.stride_s))

    def windows(
        self, rows: Sequence[WindowRow], failed: Sequence[FailedWindow] = ()
    ) -> LabeledWindows:
        """Return the labeled windows of each part among windows that were read.

        Args:
            rows: The windows. `PartWindows.indices` are positions among them.
            failed: Windows that could not be read; they are counted.

        Raises:
            ConfigError: Too few cases or values have a labeled window.
        """
        windows = labeled_windows(
            self.parts,
            rows,
            failed,
            self.labels,
            num_frames=self.sampling.num_frames,
            several=self.kind.several,
        )
        require_windows(windows)
        self.kind.require(self.choice.task, set(windows.train.names))
        return windows

    def windows_without(
        self, rows: Sequence[WindowRow], unreadable: Mapping[WindowKey, str]
    ) -> LabeledWindows:
        """Return the labeled windows without those that could not be read, which are counted.

        Args:
            rows: All windows.
            unreadable: Reason of each window that could not be read, by `WindowRow.key`.

        Raises:
            ConfigError: Too few cases or values have a labeled window.
        """
        failed = [
            FailedWindow(
                source=row.source,
                case=row.case,
                video=row.video,
                start_s=row.start_s,
                reason=unreadable[row.key],
            )
            for row in rows
            if row.key in unreadable
        ]
        return self.windows([row for row in rows if row.key not in unreadable], failed)


def audit_task(choice: TaskChoice, encoder: EvaluatedModel, *, stride_s: float) -> AuditedTask:
    """Open the inputs of a task and audit them, before anything is computed.

    Args:
        choice: The task.
        encoder: The trained encoder, or another model. Its provenance shows whether it has seen
            test cases; its sampling decides the windows.
        stride_s: Seconds from the start of one window to the start of the next.

    Raises:
        SurgrecError: An input is missing, or the audit refuses the task.
    """
    sources = open_corpus(choice.corpora)
    parts = divide(choice.split, corpus_videos(sources))
    labels = task_labels(sources, parts.videos, choice.task)
    kind = choice.rules
    audited = audit_split(
        choice.split,
        parts,
        labels if kind.has_classes else {},
        several=kind.several,
        allow=choice.allow,
    )
    require_task(choice.task, parts, labels)
    kind.require(choice.task, train_values(parts, labels))
    if not kind.several:
        require_one_value(labels, encoder.sampling, stride_s)
    videos = CorpusVideos(choice.corpora, {(each.source, each.video) for each in parts.videos})
    repeated = videos.require(encoder.sampling, allow_repeated_frames=choice.allow_repeated_frames)

    drawn = pretraining_data(encoder.provenance, encoder.facts["name"])
    published = audit_published_sets(
        parts.test, drawn, allow_overlap=choice.allow_pretraining_overlap
    )
    pretraining = audit_pretraining(
        parts.test,
        drawn,
        sources,
        allow_overlap=choice.allow_pretraining_overlap,
        allow_unknown=choice.allow_unknown_pretraining,
    )
    return AuditedTask(
        choice=choice,
        sources=sources,
        videos=videos,
        parts=parts,
        labels=labels,
        encoder=encoder.facts,
        sampling=encoder.sampling,
        stride_s=stride_s,
        checks=[
            *audited.checks,
            audit_label_times(labels, sources),
            *published.checks,
            *pretraining.checks,
        ],
        overrides=[
            *audited.overrides,
            *published.overrides,
            *pretraining.overrides,
            *(
                f"allowed by --allow_repeated_frames: {row}, but a window has "
                f"{encoder.sampling.fps:g}"
                for row in repeated
            ),
        ],
    )
