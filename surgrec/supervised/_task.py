"""A task with its labeled windows: those to train on, to choose on and to predict."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from surgrec.config_values import as_plain
from surgrec.evaluation.kinds.numbers import numbers_of
from surgrec.evaluation.tasks import (
    AuditedTask,
    LabeledWindows,
    PartWindows,
    TaskChoice,
    WindowKey,
    audit_task,
    read_split,
)
from surgrec.features import VideoEncoder, WindowRow, open_encoder
from surgrec.features.window_clips import VideoEntry
from surgrec.supervised._config import SupervisedConfig
from surgrec.supervised._headed_encoder import HeadedEncoder
from surgrec.supervised._order import WindowOrder
from surgrec.supervised._outputs import WindowOutputs, window_outputs
from surgrec.supervised._part_gradients import rank_parts
from surgrec.supervised._targets import Targets
from surgrec.supervised._training import Training
from surgrec.supervised._window_loader import TrainWindows, WindowLoader
from surgrec.text import as_list
from surgrec.training.session import Session

_NOT_IN_IDENTITY = {
    "out",
    "corpus",
    "encoder",
    "weights",
    "split",
    "random_seeds",
    "few_shot",
    "relaxed",
    "phase_order",
    "decode_threads",
    "save_every",
    "resume",
    "allow",
    "allow_pretraining_overlap",
    "allow_unknown_pretraining",
    "allow_repeated_frames",
}
"""Fields that may differ between the starts of a training. Files are identified by digests."""


@dataclass(frozen=True, kw_only=True)
class SupervisedTask:
    """An audited task, and the windows that the corpora promise before any is decoded."""

    config: SupervisedConfig
    audited: AuditedTask
    rows: list[WindowRow]
    """All windows of all parts, with and without a label."""
    planned: LabeledWindows
    """Those with a label."""

    @classmethod
    def open(cls, config: SupervisedConfig, session: Session) -> "SupervisedTask":
        """Open and audit the task before anything is computed, and let the rank compute alike.

        Raises:
            SurgrecError: An input is missing, or the audit refuses the task.
        """
        if session.device.type == "cpu":
            torch.set_num_threads(1)  # the last bits of products depend on the number of threads
        choice = TaskChoice(
            corpora=config.corpora,
            task=config.task,
            kind=config.task_kind,
            relaxed=config.relaxed,
            phase_order=list(config.phase_order),
            split=read_split(config.split),
            allow=tuple(as_list(config.allow)),
            allow_pretraining_overlap=config.allow_pretraining_overlap,
            allow_unknown_pretraining=config.allow_unknown_pretraining,
            allow_repeated_frames=config.allow_repeated_frames,
        )
        trained = open_encoder(config.encoder_choice(None), torch.device("cpu"))
        audited = audit_task(choice, trained, stride_s=config.stride_s)
        rows = audited.videos.windows(audited.sampling, config.stride_s)
        return cls(config=config, audited=audited, rows=rows, planned=audited.windows(rows))

    @property
    def targets(self) -> Targets:
        """The targets of the train windows."""
        return self.targets_of(self.planned.train)

    def targets_of(self, part: PartWindows) -> Targets:
        """Return the targets of a part, in the units of the train windows."""
        planned, kind = self.planned, self.audited.kind
        if not kind.has_classes:
            train = Targets.of_values(torch.from_numpy(numbers_of(planned.train)))
            values = (torch.from_numpy(numbers_of(part)) - train.offset) / train.scale
            return replace(train, values=values.float())
        if kind.several:
            return Targets.of_labels(torch.from_numpy(planned.sets_of(part)))
        labels = torch.from_numpy(planned.labels_of(part))
        return Targets.of_classes(labels, len(planned.classes))

    @property
    def train_cases(self) -> Int64[np.ndarray, " n"]:
        """Case of each train window, as an index."""
        return self.planned.train.case_indices

    @property
    def train_windows(self) -> TrainWindows:
        """The train windows, to decode."""
        entries = self.entries(self.planned.train)
        index_of = {(entry.source, entry.video): index for index, entry in enumerate(entries)}
        rows = self.planned.train.rows
        return TrainWindows(
            video=np.array([index_of[row.source, row.video] for row in rows], dtype=np.int64),
            start_s=np.array([row.start_s for row in rows]),
            entries=entries,
        )

    def entries(self, *parts: PartWindows) -> list[VideoEntry]:
        """Return the videos of parts that have a labeled window."""
        members = {(row.source, row.video) for part in parts for row in part.rows}
        videos = self.audited.videos.entries
        return [entry for entry in videos if (entry.source, entry.video) in members]

    def identity(self, encoder: VideoEncoder, recipe: str) -> dict[str, Any]:
        """Return all that decides the training on an encoder, as JSON."""
        fields = {
            name: value
            for name, value in as_plain(self.config).items()
            if name not in _NOT_IN_IDENTITY
        }
        return {
            "recipe": recipe,
            "encoder_sha256": encoder.facts["sha256"],
            "split": self.audited.choice.split.rules,
            "digests": {
                name: source.entry.digest for name, source in sorted(self.audited.sources.items())
            },
            **fields,
        }

    def loader(self, encoder: VideoEncoder, session: Session) -> WindowLoader:
        """Return the loader of this rank's train windows for an encoder."""
        config, windows = self.config, self.train_windows
        return WindowLoader(
            self.audited.videos,
            windows,
            encoder,
            WindowOrder(len(windows), config.global_batch, config.seed),
            augment=config.augment if config.random_views else None,
            seed=config.seed,
            parts=rank_parts(session.rank, session.num_ranks),
            device=session.device,
            threads=config.decode_threads,
        )

    def training(
        self,
        encoder: VideoEncoder,
        session: Session,
        loader: WindowLoader,
        *,
        name: str,
        recipe: str,
    ) -> Training:
        """Return the training on an encoder, in the folder `name` of the results."""
        config = self.config
        return Training(
            session=session,
            folder=config.out / name,
            name=name,
            num_steps=config.num_steps(len(self.planned.train.rows)),
            save_every=config.save_every,
            identity=self.identity(encoder, recipe),
            resume=config.resume,
            failed=loader.failed,
        )

    def outputs(
        self,
        session: Session,
        encoder: HeadedEncoder,
        part: PartWindows,
        training: Training,
        *,
        num_heads: int,
        name: str,
        heads: Sequence[int] = (),
    ) -> WindowOutputs:
        """Return the outputs of heads for all windows of a part. A collective.

        Args:
            session: The ranks.
            encoder: The encoder with its heads.
            part: The part.
            training: The training of the heads, which is done.
            num_heads: Number of heads.
            name: Folder of the stored outputs, in that of the training.
            heads: Numbers of the heads among those of the training.
        """
        settings = {"training": training.identity, "heads": list(heads), "part": name}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8")).hexdigest()
        return window_outputs(
            session,
            self.audited.videos,
            self.entries(part),
            encoder,
            training.folder / name,
            num_heads=num_heads,
            stride_s=self.config.stride_s,
            precision=self.config.precision,
            settings={"sha256": digest},
            expected=[row.key for row in part.rows],
        )

    def failed(self, windows: Mapping[int, str]) -> dict[WindowKey, str]:
        """Return the reasons of unreadable train windows, given by their index, by their key."""
        rows = self.planned.train.rows
        return {rows[window].key: reason for window, reason in windows.items()}

    def final_windows(self, failed: Mapping[WindowKey, str]) -> LabeledWindows:
        """Return the labeled windows without those that could not be read, which are counted.

        Args:
            failed: Reason of each window that could not be read.

        Raises:
            ConfigError: Too few cases or values have a labeled window.
        """
        return self.audited.windows_without(self.rows, failed)
