"""Probes of a task on tokens: the heads of each encoder, their choice, and the results."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from torch import Tensor

from surgrec.evaluation.tasks import Check
from surgrec.supervised._choice import Choice
from surgrec.supervised._config import TokenProbeConfig
from surgrec.supervised._few_shot import FewShot
from surgrec.supervised._folds import fold_of_windows, head_weights
from surgrec.supervised._grid import HeadSetting, head_settings
from surgrec.supervised._held_out import RULES
from surgrec.supervised._outputs import WindowOutputs
from surgrec.supervised._pixels import pixels_of_windows
from surgrec.supervised._probe_stage import FewShotStage, ProbeStage
from surgrec.supervised._results import StageResult, write_stage_results
from surgrec.supervised._task import SupervisedTask
from surgrec.training.session import Session

ATTENTIVE = "attentive"
"""Name of the classifier in files."""
LABELS = {
    "vjepa2": "attentive probe",
    "vjepa1": "attentive probe, one block",
    "mean": "linear probe",
}
"""Names of the kinds of pooler in text."""
_AT_EDGE = "grids whose chosen learning rate is at an edge"


@dataclass(kw_only=True)
class TokenProbe:
    """The probe of one task. Nothing is computed before the audit has passed.

    Example:
        >>> probe = TokenProbe.open(config, session)
        >>> for stage in probe.stages():
        ...     ...  # train the heads of this encoder
        ...     stage.predict(heads)
        >>> probe.write()
    """

    config: TokenProbeConfig
    session: Session
    task: SupervisedTask
    settings: list[HeadSetting]
    """The settings of all heads of an encoder."""
    weights: Float32[Tensor, "heads n"]
    """Weight of each train window in the loss of each head."""
    folds: Int64[np.ndarray, " n"] | None
    """Fold of each train window; None if a val part decides."""
    few_shot: FewShot
    """The subsets of train cases on which further heads are trained; maybe none."""
    _few: list[StageResult] = field(default_factory=list)
    _results: list[StageResult] = field(default_factory=list)
    _chosen: dict[str, Choice] = field(default_factory=dict)

    @classmethod
    def open(cls, config: TokenProbeConfig, session: Session) -> "TokenProbe":
        """Audit the task, record the start, and listen for requests to stop.

        Raises:
            SurgrecError: An input is missing, or the audit refuses the task.
        """
        task = SupervisedTask.open(config, session)

        # Without a val part, the head is chosen over folds of the train cases.
        folds = None
        if task.planned.val is None:
            folds = fold_of_windows(task.train_cases, config.grid.folds)
        settings = head_settings(config.grid, 0 if folds is None else config.grid.folds)
        weights = head_weights(settings, folds, len(task.planned.train.rows))

        few_shot = FewShot.of(task, tuple(map(str, config.few_shot)))
        session.begin(config.out, config, first_step=0)
        return cls(
            config=config,
            session=session,
            task=task,
            settings=settings,
            weights=weights,
            folds=folds,
            few_shot=few_shot,
        )

    def stages(self) -> Iterator[ProbeStage]:
        """Yield the trained encoder, then the encoders with random weights.

        Each is followed by its heads on few train cases, if there are any.
        """
        for seed in (None, *self.config.random_seeds):
            stage = ProbeStage.open(
                self.config,
                self.session,
                self.task,
                self.settings,
                self.weights,
                self.folds,
                random_seed=seed,
            )
            yield stage
            stage.close()

            self._results.append(stage.result)
            self._chosen[stage.training.name] = stage.choice

            # On few train cases, heads have the settings that were chosen on all of them.
            if self.few_shot.amounts:
                few = FewShotStage.open(
                    self.config,
                    self.session,
                    self.task,
                    self.few_shot.settings(stage.choice),
                    self.few_shot.weights,
                    None,
                    random_seed=seed,
                )
                yield few
                few.close()
                self._few.append(few.result)

    def write(self) -> dict[str, Any]:
        """Score the predictions of all encoders, and write the files of an evaluation.

        A collective. Returns the content of `evaluation.json`.
        """
        pixels = pixels_of_windows(self.task, self.session)
        return self.session.on_main(lambda: self._write(pixels))

    def _write(self, pixels: WindowOutputs) -> dict[str, Any]:
        edges = sum(choice.at_edge for choice in self._chosen.values())
        return write_stage_results(
            self.task,
            self._results,
            pixels,
            classifier=ATTENTIVE,
            label=LABELS[self.config.pooler.kind],
            methods=self._methods(),
            few_shot=self.few_shot,
            few_stages=self._few,
            checks=[Check(check=_AT_EDGE, found=edges, of=len(self._chosen))],
        )

    def _methods(self) -> list[str]:
        """Return the parts of the protocol: every setting that moves a number."""
        config, grid = self.config, self.config.grid

        held_out = (
            "the val cases"
            if self.task.planned.val is not None
            else f"{grid.folds} folds of train cases, seed {grid.seeds[0]}"
        )
        chosen = ", ".join(f"{choice.text} for {name}" for name, choice in self._chosen.items())
        return [
            "frozen encoder, as trained and with random weights (its own initialization, seeds "
            f"{_listed(config.random_seeds)})",
            f"{LABELS[config.pooler.kind]}: pooler {config.pooler.kind} with "
            f"{config.pooler.num_heads} attention heads on the tokens of the last "
            f"{config.last_blocks} blocks (joined: {config.joining}), AdamW",
            f"learning rates {_listed(grid.lr)} and weight decays {_listed(grid.weight_decay)}, "
            f"chosen by {RULES[self.task.targets.kind]} on {held_out} (chosen: {chosen}); scores "
            f"are means over the heads' seeds {_listed(grid.seeds)}",
        ]


def _listed(values: tuple[float | int, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
