"""An audited task for a vision-language model: its windows, and the prompts about them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError, shown
from surgrec.evaluation.tasks import (
    AuditedTask,
    LabeledWindows,
    TaskChoice,
    WindowKey,
    audit_task,
)
from surgrec.features import WindowRow
from surgrec.stream import hash_int
from surgrec.vlms._config import ModelConfig, PromptConfig, WindowConfig
from surgrec.vlms._constraints import Mode, form_of, most_tokens
from surgrec.vlms._images import WindowImages
from surgrec.vlms._model import Prompt
from surgrec.vlms._prompts import (
    MAIN,
    Condition,
    Question,
    conditions,
    image_captions,
    introduction,
    option_orders,
    question_text,
)


@dataclass(frozen=True, kw_only=True)
class VlmConfig:
    """The evaluation of a vision-language model."""

    task: TaskChoice
    """Task to evaluate on."""
    model: ModelConfig
    """The model."""
    out: Path
    """Folder for answers and results."""
    windows: WindowConfig = WindowConfig()
    """Windows of videos."""
    prompts: PromptConfig = PromptConfig()
    """Prompts about a window."""


@dataclass(frozen=True, kw_only=True)
class _VlmFacts:
    """A vision-language model as the audit of a task needs it."""

    sampling: ClipSampling
    facts: dict[str, Any]
    provenance: dict[str, Any]


class VlmTask:
    """A task that passed its audit, and every prompt about its test windows.

    Args:
        config: The evaluation.
        identity: What distinguishes the answers of the model (see `Model.identity`).

    Raises:
        SurgrecError: An input is missing, or the audit refuses the task.
    """

    def __init__(self, config: VlmConfig, identity: Mapping[str, Any]) -> None:
        self.config = config
        # In one order, as `model.json` has it: the same answers give the same bytes.
        self._identity = json.loads(json.dumps(identity, sort_keys=True))
        _require_offered(config)
        windows = config.windows
        self.audited: AuditedTask = audit_task(
            config.task,
            _VlmFacts(
                sampling=ClipSampling(num_frames=windows.num_frames, fps=windows.fps),
                facts=self._facts(),
                provenance={},
            ),
            stride_s=windows.stride_s,
        )
        self._rows = self.audited.videos.windows(self.audited.sampling, windows.stride_s)
        self.planned: LabeledWindows = self.audited.windows(self._rows)
        """The labeled windows, before any is decoded."""
        self.images = WindowImages(self.audited.videos, self.audited.sampling, config.prompts)
        self._require_classes()
        self._orders = option_orders(
            len(self.planned.classes), config.prompts.orders, config.prompts.seed
        )

    @property
    def several(self) -> bool:
        """Whether several classes may be right at a time."""
        return self.audited.kind.several

    @property
    def controls(self) -> list[Condition]:
        """The conditions without the images of the window."""
        return [each for each in self._conditions if each.images != "own"]

    @property
    def variations(self) -> list[Condition]:
        """The conditions with the images of the window and other words."""
        return [each for each in self._conditions if each.is_variation]

    @cached_property
    def varied(self) -> frozenset[WindowKey]:
        """The test windows that are asked in all wordings and orders: a random sample."""
        rows, wanted = self.planned.test.rows, self.config.prompts.variation_windows
        seed = self.config.prompts.seed
        order = sorted(range(len(rows)), key=lambda index: hash_int(seed, 1 << 32, index))
        return frozenset(rows[index].key for index in order[: wanted or len(rows)])

    def windows(self, unreadable: Mapping[WindowKey, str]) -> LabeledWindows:
        """Return the labeled windows without those whose frames cannot be read.

        Args:
            unreadable: The reason of each such window.

        Raises:
            ConfigError: Too few cases have a window.
        """
        return self.audited.windows_without(self._rows, unreadable)

    def shown(self, condition: Condition, windows: LabeledWindows) -> list[WindowRow | None]:
        """Return the window whose images are shown for each test window; None for no images."""
        rows = windows.test.rows
        if condition.images == "own":
            return list(rows)
        if condition.images == "no_image":
            return [None] * len(rows)
        cases = windows.test.case_indices
        others = {case: np.flatnonzero(cases != case) for case in np.unique(cases).tolist()}
        seed = self.config.prompts.seed
        found: list[WindowRow | None] = []
        for index, case in enumerate(cases.tolist()):
            donors = others[case]
            found.append(rows[int(donors[hash_int(seed, 2 << 32, index) % len(donors)])])
        return found

    def question(self, condition: Condition) -> Question:
        """Return the options of a condition."""
        order, classes = self._orders[condition.order], self.planned.classes
        names = tuple(classes[index] for index in order)
        texts = self.config.prompts.class_names
        return Question(
            task=self.config.task.task,
            names=names,
            several=self.several,
            texts=tuple(texts.get(name, name) for name in names),
        )

    def key(self, condition: Condition, row: WindowRow, shown: WindowRow | None, mode: Mode) -> str:
        """Return the digest of all that decides an answer. Nothing is decoded.

        Args:
            condition: The condition.
            row: The window.
            shown: The window whose images are shown; None for none.
            mode: How the answer is constrained.
        """
        references = [] if shown is None else self.images.references(shown)
        content = {
            "model": self._identity,
            "mode": mode,
            "max_tokens": self._max_tokens(condition),
            "parts": self._parts(condition, row, mode, references),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def prompt(
        self, condition: Condition, row: WindowRow, mode: Mode, images: Sequence[bytes]
    ) -> Prompt:
        """Return a prompt with its images, maybe none. Other arguments are those of `key`."""
        return Prompt(
            parts=tuple(self._parts(condition, row, mode, images)),
            asked=self.question(condition),
            mode=mode,
            max_tokens=self._max_tokens(condition),
        )

    def _parts(
        self, condition: Condition, row: WindowRow, mode: Mode, images: Sequence[Any]
    ) -> list[Any]:
        """Return texts and images in their order; an image may be a reference to it.

        The times beside the images are those of the window, also if the images are of another one.
        """
        prompts = self.config.prompts
        parts: list[Any] = [introduction(len(images), prompts.context)]
        if images:
            captions = image_captions(self.images.times_s(row).tolist(), prompts.times)
            for caption, image in zip(captions, images, strict=True):
                parts += [caption, image]
        form = form_of(mode, self.several)
        return [*parts, question_text(self.question(condition), condition.wording, form)]

    @cached_property
    def _conditions(self) -> list[Condition]:
        return conditions(self.config.prompts, len(self._orders))

    def _require_classes(self) -> None:
        """Refuse texts of classes that the split does not have, and texts that repeat."""
        texts, classes = self.config.prompts.class_names, self.planned.classes
        unknown = sorted(set(texts) - set(classes))
        if unknown:
            raise ConfigError(
                f"--class_names has a text for {shown(unknown[0])}, which is not a label of "
                f"{self.config.task.task}; the labels are {', '.join(classes)}"
            )
        if len({texts.get(name, name) for name in classes}) < len(classes):
            raise ConfigError(
                "--class_names gives a class the label of another one; give each a text of its own"
            )

    def _max_tokens(self, condition: Condition) -> int:
        return self.config.model.max_tokens or most_tokens(self.question(condition))

    def _facts(self) -> dict[str, Any]:
        """Return the origin of the answers, with a digest over all that decides them."""
        prompts = self.config.prompts
        options = {
            name: value
            for name, value in asdict(prompts).items()
            if name in ("frames", "times", "context", "class_names", "image_px", "jpeg_quality")
        }
        content = json.dumps(
            [self._identity, options, self.config.model.max_tokens], sort_keys=True
        )
        return {
            "name": self.config.model.name,
            "kind": "vlm",
            "config": {**options, "max_tokens": self.config.model.max_tokens},
            "identity": self._identity,
            "provenance": {},
            "sha256": hashlib.sha256(content.encode("utf-8")).hexdigest(),
        }


def scored_conditions(task: VlmTask) -> list[Condition]:
    """Return the conditions that are asked for every test window: the main one, the controls."""
    return [MAIN, *task.controls]


def _require_offered(config: VlmConfig) -> None:
    if config.task.kind == "numbers":
        raise ConfigError(
            "answers are classes, and the task kind is numbers; give --task_kind classes, phases, "
            "labels or triplets"
        )
    if config.task.relaxed != "no":
        raise ConfigError("relaxed metrics need a phase at every moment; give --relaxed no")
    if config.prompts.frames > config.windows.num_frames:
        raise ConfigError(
            f"a window has {config.windows.num_frames} frames, but {config.prompts.frames} shall "
            "be shown; give a smaller --frames, or a larger --window_frames"
        )
