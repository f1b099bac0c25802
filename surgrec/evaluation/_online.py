"""The probe of a run: kNN and a linear head on features of its encoder, while it trains."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from surgrec.clips import ClipSampling
from surgrec.errors import TrainingError
from surgrec.evaluation._audit import (
    audit_split,
    require_task,
    require_windows,
    train_values,
)
from surgrec.evaluation._labeled_windows import labeled_windows
from surgrec.evaluation._run_probes import probe_inputs
from surgrec.evaluation._window_labels import require_one_value, task_labels
from surgrec.evaluation.kinds import KINDS
from surgrec.evaluation.probes import (
    MAJORITY,
    PRIMARY_PROBE,
    Knn,
    LogisticRegression,
)
from surgrec.evaluation.probes.baselines import majority
from surgrec.features import FailedWindow, VideoFeatures, WindowRow, open_videos
from surgrec.features.in_memory import features_of_videos, frozen
from surgrec.models import Encoder
from surgrec.ranges import Range, check_ranges
from surgrec.runs.drawn import NamedVideos
from surgrec.scores import PRIMARY, GroundTruth, count_predictions
from surgrec.shards import open_corpus
from surgrec.splits import Rule, Split, corpus_videos, divide, read_split
from surgrec.storage import PATIENT

_STORED = Split(
    name="stored",
    train=Rule(sources=[], cases=[], stored=["train"]),
    test=Rule(sources=[], cases=[], stored=["val", "test"]),
    sha256="",
)
"""The split without a file."""
_KIND = KINDS["classes"]
_PROBES = (Knn(), LogisticRegression(c_grid=(0.01,)))
"""The probes. The penalty is fixed, so scores of different steps differ by the features alone."""


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A probe of the encoder while it trains, on a small corpus with labels."""

    corpus: str | list[str] | None = None
    """One or several corpora with labels. None: no probe."""
    task: str = "phase"
    """Labels to predict."""
    split: Path | None = None
    """Split file; its val cases score the probe, or its test cases if it has none. None: the
    corpus's own split, train against val and test."""
    every: Annotated[int, Range(1, 10**9)] = 1000
    """Steps from one probe to the next. There is one before the first step and after the last."""
    clips: Annotated[int, Range(10, 10**6)] = 1000
    """Windows in all, spread evenly over the videos."""

    def __post_init__(self) -> None:
        check_ranges(self, context="probe.")


class OnlineProbe:
    """A task on held-out cases, for the features of an encoder that is in memory.

    Args:
        config: The probe, with a corpus.
        sampling: Frames of a window.
        precision: Autocast of the forward passes.
        allow_repeated_frames: Accept videos with fewer frames per second than a window.

    Raises:
        SurgrecError: An input is missing, or the split or the labels are refused.
    """

    def __init__(
        self,
        config: ProbeConfig,
        sampling: ClipSampling,
        *,
        precision: Any,
        allow_repeated_frames: bool,
    ) -> None:
        self.config = config
        self._sampling, self._precision = sampling, precision
        self._allow_repeated_frames = allow_repeated_frames

        corpora = [config.corpus] if isinstance(config.corpus, str) else config.corpus or []
        sources = open_corpus(corpora, policy=PATIENT)
        split = read_split(config.split) if config.split else _STORED
        parts = divide(split, corpus_videos(sources))
        # The score chooses the best encoder of the run: no test case may take part in this.
        self._parts = replace(parts, test=parts.val or parts.test, val=[])
        labels = task_labels(sources, parts.videos, config.task)
        audit_split(split, parts, labels)
        chosen = {(video.source, video.video) for video in self._parts.videos}
        self._labels = {video: rows for video, rows in labels.items() if video in chosen}
        require_task(config.task, self._parts, self._labels)
        _KIND.require(config.task, train_values(self._parts, self._labels))

        only = {(video.source, video.video) for video in self._parts.videos}
        self._videos = open_videos(corpora, only)
        self._videos.require(sampling, allow_repeated_frames=allow_repeated_frames)
        seconds = sum(
            float(source.index.column("duration_s").to_numpy()[row])
            for name, source in sources.items()
            for row, video in enumerate(source.index.column("video").to_pylist())
            if (name, video) in only
        )
        self._stride_s = max(round(seconds / config.clips, 3), 0.001)
        require_one_value(self._labels, sampling, self._stride_s)

        self.identity = {
            "task": config.task,
            "split": split.rules,
            "stride_s": self._stride_s,
            "digests": {
                name: sources[name].entry.digest for name in sorted({name for name, _ in only})
            },
        }
        """All that decides a score besides the features, as JSON."""

    @property
    def test_cases(self) -> set[str]:
        """The held-out cases that are scored, as `source/case`."""
        return {video.case_name for video in self._parts.test}

    def drawn_test_cases(self, drawn: Mapping[str, NamedVideos]) -> list[str]:
        """Return the held-out cases that a run draws, as `source/case`, sorted.

        A case is drawn if one of its videos is, or if a source of the same name has its case.

        Args:
            drawn: The videos that the run draws, by name of the source.
        """
        videos = {video for named in drawn.values() for video in named.videos}
        cases = {f"{source}/{case}" for source, named in drawn.items() for case in named.cases}
        return sorted(
            {
                video.case_name
                for video in self._parts.test
                if video.video in videos or video.case_name in cases
            }
        )

    @property
    def numbers(self) -> range:
        """The numbers of the videos of both parts."""
        return range(len(self._videos.entries))

    def features(self, encoder: Encoder, numbers: Sequence[int]) -> list[VideoFeatures]:
        """Return the features of some of the videos. Changes no mode.

        Raises:
            StorageError: The store cannot be read.
        """
        with frozen(encoder, self._sampling) as encoder_:
            return features_of_videos(
                self._videos,
                [self._videos.entries[number] for number in numbers],
                encoder_,
                stride_s=self._stride_s,
                precision=self._precision,
                allow_repeated_frames=self._allow_repeated_frames,
            )

    def scores(self, videos: Sequence[VideoFeatures]) -> dict[str, Any]:
        """Return the scores of each probe on the test cases, as a row of probe.jsonl.

        Args:
            videos: The features of all videos, in the order of their numbers.

        Raises:
            ConfigError: Too few cases or values have a labeled window.
            TrainingError: A feature is not finite.
        """
        rows, failed = self._rows(videos)
        values = torch.cat([video.features for video in videos])
        if not bool(values.isfinite().all()):
            raise TrainingError(
                "features of the probe are not finite; go on with --resume true "
                "--resume_with_changes optimizer and a smaller --optimizer.lr.value"
            )

        windows = labeled_windows(
            self._parts, rows, failed, self._labels, num_frames=self._sampling.num_frames
        )
        require_windows(windows)
        _KIND.require(self.config.task, set(windows.train.names))
        train, test = windows.train, windows.test

        fitted, queries, _ = probe_inputs(values, windows)
        scores = {
            probe.name: _scores(windows.truth, probe.fit_predict(fitted, queries).label)
            for probe in _PROBES
        }
        baseline = _scores(windows.truth, majority(fitted, queries).label)
        return {
            "task": self.config.task,
            "score": scores[PRIMARY_PROBE.name][PRIMARY],
            **scores,
            MAJORITY.name: baseline,
            "train": train.counts,
            "test": test.counts,
        }

    def _rows(self, videos: Iterable[VideoFeatures]) -> tuple[list[WindowRow], list[FailedWindow]]:
        """Return all windows, and those that could not be decoded."""
        rows, failed = [], []
        for entry, video in zip(self._videos.entries, videos, strict=True):
            rows += [
                WindowRow(
                    **vars(entry),
                    start_s=float(start_s),
                    end_s=float(start_s) + self._sampling.span_s,
                    file="",
                    row=row,
                )
                for row, start_s in enumerate(video.start_s)
            ]
            failed += [
                FailedWindow(
                    source=entry.source,
                    case=entry.case,
                    video=entry.video,
                    start_s=failure.start_s,
                    reason=failure.reason,
                )
                for failure in video.failed
            ]
        return rows, failed


def _scores(truth: GroundTruth, predicted: Any) -> dict[str, float]:
    counts = count_predictions(truth, predicted)
    every_case_once = np.ones((1, truth.num_cases))
    return {name: float(value[0]) for name, value in counts.scores(every_case_once).items()}
