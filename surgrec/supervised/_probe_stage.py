"""The probe of one encoder: its heads, their training, their choice and their predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from surgrec.evaluation.tasks import PartWindows, WindowKey
from surgrec.features import VideoEncoder, open_encoder
from surgrec.supervised._block_tokens import block_tokens, joined_width
from surgrec.supervised._choice import Choice, choose_setting
from surgrec.supervised._config import TokenProbeConfig
from surgrec.supervised._grid import HeadSetting
from surgrec.supervised._headed_encoder import HeadedEncoder
from surgrec.supervised._heads import ProbeHeads
from surgrec.supervised._held_out import held_out_score
from surgrec.supervised._outputs import WindowOutputs
from surgrec.supervised._results import StageResult
from surgrec.supervised._task import SupervisedTask
from surgrec.supervised._training import Training
from surgrec.supervised._window_loader import ClipPart, WindowLoader
from surgrec.training.session import Session


@dataclass(kw_only=True)
class ProbeStage:
    """The heads of one encoder, from their first step to their predictions."""

    config: TokenProbeConfig
    session: Session
    task: SupervisedTask
    settings: list[HeadSetting]
    weights: Float32[Tensor, "heads n"]
    """Weight of each train window in the loss of each head, on the device."""
    folds: Int64[np.ndarray, " n"] | None
    """Fold of each train window; None if a val part decides."""
    encoder: VideoEncoder
    random_seed: int | None
    """Seed of random weights; None for the trained encoder."""
    training: Training
    choice: Choice = field(init=False)
    """The chosen setting, from `predict`."""
    result: StageResult = field(init=False)
    _loader: WindowLoader
    folder_suffix: ClassVar[str] = ""
    """Added to the name of the encoder's folder."""

    @classmethod
    def open(
        cls,
        config: TokenProbeConfig,
        session: Session,
        task: SupervisedTask,
        settings: list[HeadSetting],
        weights: Float32[Tensor, "heads n"],
        folds: Int64[np.ndarray, " n"] | None,
        *,
        random_seed: int | None,
    ) -> "ProbeStage":
        """Open the encoder, its windows and the folder of its heads."""
        encoder = open_encoder(config.encoder_choice(random_seed), session.device)
        loader = task.loader(encoder, session)

        name = "trained" if random_seed is None else f"random-{random_seed}"
        recipe = "; ".join(["probe", *(each.name for each in settings if each.few)])
        training = task.training(
            encoder, session, loader, name=name + cls.folder_suffix, recipe=recipe
        )

        return cls(
            config=config,
            session=session,
            task=task,
            settings=settings,
            weights=weights.to(session.device),
            folds=folds,
            encoder=encoder,
            random_seed=random_seed,
            training=training,
            _loader=loader,
        )

    def close(self) -> None:
        """End the decoding threads."""
        self._loader.close()

    def new_heads(self) -> ProbeHeads:
        """Return the heads before their first step, on the device."""
        width = joined_width(self.encoder, self.config.last_blocks, self.config.joining)
        heads = ProbeHeads(
            self.settings,
            self.config.pooler,
            width=width,
            num_outputs=self.task.targets.num_outputs,
        )
        return heads.to(self.session.device)

    def parts(self, step: int) -> Iterator[ClipPart]:
        """Yield the parts of this rank in a step."""
        return self._loader.parts(step)

    def tokens(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens that heads see, without gradients."""
        with torch.no_grad(), self.session.autocast():
            return block_tokens(self.encoder, clips, self.config.last_blocks, self.config.joining)

    def predict(self, heads: ProbeHeads) -> None:
        """Choose a setting on held-out cases, then predict the test windows with its heads.

        A collective. Outputs that an earlier start has stored are not computed again.
        """
        planned = self.task.planned
        on_val = planned.val is not None
        held_out = planned.train if planned.val is None else planned.val
        taking_part = [
            number
            for number, setting in enumerate(self.settings)
            if (setting.fold is None) == on_val
        ]
        outputs = self._outputs(heads, taking_part, held_out, "held-out")
        scores: list[float | None] = [None] * len(self.settings)
        own = self._scores(outputs, taking_part, held_out)
        for number, score in zip(taking_part, own, strict=True):
            scores[number] = score
        self.choice = choose_setting(self.settings, scores)

        chosen = [
            number for number, setting in enumerate(self.settings) if self.choice.includes(setting)
        ]
        self.result = self._tested(heads, chosen, outputs.missing)

    def _tested(
        self, heads: ProbeHeads, numbers: Sequence[int], missing: Mapping[WindowKey, str]
    ) -> StageResult:
        """Predict the test windows with some heads.

        Args:
            heads: All heads.
            numbers: Those that predict.
            missing: Windows that could not be read before.
        """
        test = self._outputs(heads, numbers, self.task.planned.test, "test")
        return StageResult(
            random_seed=self.random_seed,
            head_seeds=[self.settings[number].seed for number in numbers],
            test=test,
            failed={**self.task.failed(self.training.failed), **missing, **test.missing},
        )

    def _outputs(
        self, heads: ProbeHeads, numbers: Sequence[int], part: PartWindows, name: str
    ) -> WindowOutputs:
        """Return the outputs of some heads for all windows of a part."""
        members = [heads.heads[number] for number in numbers]

        def head_outputs(clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "heads b k"]:
            tokens = self.tokens(clips)
            return torch.stack([head(tokens).float() for head in members])

        headed = HeadedEncoder(
            encoder=self.encoder,
            head_outputs=head_outputs,
            width=len(members) * self.task.targets.num_outputs,
        )
        return self.task.outputs(
            self.session,
            headed,
            part,
            self.training,
            num_heads=len(members),
            name=name,
            heads=numbers,
        )

    def _scores(
        self, outputs: WindowOutputs, numbers: Sequence[int], part: PartWindows
    ) -> list[float]:
        """Return the scores of some heads on the windows that they did not see."""
        keys = [row.key for row in part.rows]
        readable = np.array([key in outputs.outputs for key in keys])
        by_head = outputs.of([key for key in keys if key in outputs.outputs])
        targets, cases = self.task.targets_of(part), np.array(part.cases)

        scores = []
        for number, of_head in zip(numbers, by_head, strict=True):
            fold = self.settings[number].fold
            held_out = readable.copy()
            if fold is not None and self.folds is not None:
                held_out &= self.folds == fold
            windows = np.flatnonzero(held_out)
            mine = torch.from_numpy(held_out[readable])
            scores.append(held_out_score(of_head[mine], targets, windows, cases[windows].tolist()))
        return scores


class FewShotStage(ProbeStage):
    """The heads of one encoder on few train cases, all with the chosen setting."""

    folder_suffix: ClassVar[str] = "-few-shot"

    def predict(self, heads: ProbeHeads) -> None:
        """Predict the test windows with every head. A collective."""
        self.result = self._tested(heads, range(len(self.settings)), {})
