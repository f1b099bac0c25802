"""Fine-tuning of a task: the model of each encoder and seed, and the results."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.features import VideoEncoder, open_encoder
from surgrec.models.classifier import PoolerConfig
from surgrec.ranges import Range, Seed
from surgrec.stream import hash_int
from surgrec.supervised._config import SupervisedConfig
from surgrec.supervised._finetuned import FinetunedEncoder
from surgrec.supervised._grid import require_each_once
from surgrec.supervised._headed_encoder import HeadedEncoder
from surgrec.supervised._mixing import MixingConfig, mixed
from surgrec.supervised._part_gradients import rank_parts
from surgrec.supervised._pixels import pixels_of_windows
from surgrec.supervised._results import StageResult, write_stage_results
from surgrec.supervised._task import SupervisedTask
from surgrec.supervised._training import Training
from surgrec.supervised._window_loader import ClipPart, WindowLoader
from surgrec.training.session import Session

FINETUNED = "finetuned"
"""Name of the classifier in files."""
_MIX, _SKIP = 2, 3
"""Words of the hashes of mixtures and of stochastic depth."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(SupervisedConfig):
    """Training of an encoder and a head. Defaults are VideoMAE's fine-tuning (arXiv:2203.12602)."""

    pooler: PoolerConfig = PoolerConfig(kind="mean")
    """The way from tokens to one vector per window."""
    last_blocks: Annotated[int, Range(1, 1000)] | None = None
    """Number of blocks that are trained, from the output back; None trains the whole encoder."""
    lr: Annotated[float, Range(0, 1000, above=True)] = 1e-3
    """Learning rate of the head, for this global batch."""
    weight_decay: Annotated[float, Range(0, 100)] = 0.05
    """Weight decay of matrices; biases and norms are not decayed."""
    layer_decay: Annotated[float, Range(0, 1, above=True)] = 0.75
    """Learning rate of a block as a share of that of the next block."""
    drop_path: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of windows that skip the last block in training; it grows from 0 at the first block."""
    mixing: MixingConfig = MixingConfig()
    """Mixtures of train windows."""
    grad_clip: Annotated[float, Range(0, 10**9, above=True)] | None = None
    """Largest norm of the gradient; None disables clipping."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Seeds of the head's initial weights; scores are means. Each one is a training of the whole
    encoder, and one more from random weights; [0] is the quick look."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_each_once("seeds", self.seeds)


@dataclass(kw_only=True)
class FinetuneStage:
    """The training of one encoder with one seed, from its first step to its predictions."""

    config: FinetuneConfig
    session: Session
    task: SupervisedTask
    encoder: VideoEncoder
    random_seed: int | None
    """Seed of the encoder's random weights; None for the trained encoder."""
    seed: int
    """Seed of the head's weights."""
    training: Training
    result: StageResult = field(init=False)
    _loader: WindowLoader

    def new_model(self) -> FinetunedEncoder:
        """Return the model before its first step, on the device."""
        model = FinetunedEncoder(
            self.encoder,
            self.config.pooler,
            num_classes=self.task.targets.num_outputs,
            seed=self.seed,
            last_blocks=self.config.last_blocks,
            drop_path=self.config.drop_path,
        )
        return model.to(self.session.device)

    def parts(
        self, step: int, model: nn.Module
    ) -> Iterator[tuple[ClipPart, int, AbstractContextManager[Any]]]:
        """Yield the parts of this rank in a step.

        With each comes its random key, and the context of its passes: the ranks exchange gradients
        in the last part only.

        Args:
            step: Number of the step.
            model: From `Session.wrap`.
        """
        numbers = rank_parts(self.session.rank, self.session.num_ranks)
        for number, part in zip(numbers, self._loader.parts(step), strict=True):
            torch.manual_seed(hash_int(self.config.seed, _SKIP, step, number))
            key = hash_int(self.config.seed, _MIX, step, number)
            yield part, key, self.session.exchange(model, now=number == numbers[-1])

    def mixed(
        self, part: ClipPart, key: int
    ) -> tuple[Float[Tensor, "b c t h w"], Float[Tensor, "b k"]]:
        """Return mixed windows and the share of each class in them."""
        targets = self.task.targets
        labels = targets.values[part.windows].to(self.session.device)
        return mixed(
            part.clips, labels, self.config.mixing, num_classes=targets.num_outputs, seed=key
        )

    def predict(self, model: FinetunedEncoder) -> None:
        """Predict the test windows. A collective.

        Outputs that an earlier start has stored are not computed again.
        """
        model.eval()

        def head_outputs(clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "heads b k"]:
            outputs: Tensor = rearrange(model(clips), "b k -> 1 b k")
            return outputs

        headed = HeadedEncoder(
            encoder=self.encoder, head_outputs=head_outputs, width=self.task.targets.num_outputs
        )
        test = self.task.outputs(
            self.session,
            headed,
            self.task.planned.test,
            self.training,
            num_heads=1,
            name="test",
        )
        self.result = StageResult(
            random_seed=self.random_seed,
            head_seeds=[self.seed],
            test=test,
            failed={**self.task.failed(self.training.failed), **test.missing},
        )


@dataclass(kw_only=True)
class Finetuning:
    """The fine-tuning of one task. Nothing is computed before the audit has passed.

    Example:
        >>> finetuning = Finetuning.open(config, session)
        >>> for stage in finetuning.stages():
        ...     ...  # train the model of this encoder
        ...     stage.predict(model)
        >>> finetuning.write()
    """

    config: FinetuneConfig
    session: Session
    task: SupervisedTask
    _results: list[StageResult] = field(default_factory=list)

    @classmethod
    def open(cls, config: FinetuneConfig, session: Session) -> "Finetuning":
        """Audit the task, record the start, and listen for requests to stop.

        Raises:
            SurgrecError: An input is missing, or the audit refuses the task.
        """
        task = SupervisedTask.open(config, session)
        if task.targets.kind != "class":
            raise ConfigError(
                f"task_kind is {config.task_kind}, but fine-tuning learns one class per window; "
                "give classes or phases, or use recipes/probe.py"
            )
        session.begin(config.out, config, first_step=0)
        return cls(config=config, session=session, task=task)

    def stages(self) -> Iterator[FinetuneStage]:
        """Yield each seed of the trained encoder, then those of encoders with random weights."""
        for random_seed in (None, *self.config.random_seeds):
            for seed in self.config.seeds:
                stage = self._stage(random_seed, seed)
                yield stage
                stage._loader.close()
                self._results.append(stage.result)

    def _stage(self, random_seed: int | None, seed: int) -> FinetuneStage:
        encoder = open_encoder(self.config.encoder_choice(random_seed), self.session.device)
        loader = self.task.loader(encoder, self.session)
        weights = "trained" if random_seed is None else f"random-{random_seed}"
        training = self.task.training(
            encoder,
            self.session,
            loader,
            name=f"{weights}-seed-{seed}",
            recipe="finetune",
        )
        return FinetuneStage(
            config=self.config,
            session=self.session,
            task=self.task,
            encoder=encoder,
            random_seed=random_seed,
            seed=seed,
            training=training,
            _loader=loader,
        )

    def write(self) -> dict[str, Any]:
        """Score the predictions of all stages, and write the files of an evaluation.

        A collective. Returns the content of `evaluation.json`.
        """
        pixels = pixels_of_windows(self.task, self.session)
        return self.session.on_main(
            lambda: write_stage_results(
                self.task,
                self._results,
                pixels,
                classifier=FINETUNED,
                label="fine-tuning",
                methods=self._methods(),
            )
        )

    def _methods(self) -> list[str]:
        """Return the parts of the protocol: every setting that moves a number."""
        config = self.config
        blocks = "all" if config.last_blocks is None else f"the last {config.last_blocks}"
        return [
            f"fine-tuning of {blocks} blocks and a head (pooler {config.pooler.kind}), from "
            "trained and from random weights; no setting is chosen, and the weights after the "
            "last step predict",
            f"AdamW, learning rate {config.lr:g} with layer decay {config.layer_decay:g}, weight "
            f"decay {config.weight_decay:g}, drop path {config.drop_path:g}, mixup "
            f"{config.mixing.mixup:g}, CutMix {config.mixing.cutmix:g}, label smoothing "
            f"{config.mixing.label_smoothing:g}, gradient clipping {config.grad_clip}",
            f"scores are means over the heads' seeds {', '.join(map(str, config.seeds))}",
        ]
