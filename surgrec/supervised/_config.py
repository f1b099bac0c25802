"""The config fields of every recipe that trains on labeled windows."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from surgrec.clips import AugmentConfig
from surgrec.evaluation.kinds import KindName, RelaxedName
from surgrec.features import EncoderChoice
from surgrec.models.classifier import PoolerConfig
from surgrec.ranges import Range, Seed, check_ranges
from surgrec.supervised._block_tokens import Joining
from surgrec.supervised._grid import GridConfig
from surgrec.training import ScheduleConfig
from surgrec.training.session import Precision


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig:
    """Training on the labeled windows of a task, and its evaluation on held-out cases."""

    out: Path
    """Folder for the results, the checkpoints and the heads."""
    corpus: str | list[str]
    """One or several corpora with labels: folders, or s3://bucket/prefix."""
    encoder: Path
    """Folder of a run, an encoder file, or a preset (`surgrec encoders` lists them)."""
    weights: Path | None = None
    """Local file of a preset's weights. Nothing is downloaded."""
    fps: Annotated[float, Range(0, 1000, above=True)] | None = None
    """Frames per second within a window. Default: the rate of the encoder's training."""
    task: str
    """Labels to predict, such as phase."""
    task_kind: KindName = "classes"
    """Kind of the labels, as in `surgrec evaluate`: classes or phases (one at a time), labels or
    triplets (several at a time), or numbers."""
    relaxed: RelaxedName = "no"
    """Rule of relaxed metrics for --task_kind phases. They have names of their own and never decide
    a verdict."""
    phase_order: tuple[str, ...] = ()
    """The phases in their usual order, for relaxed metrics."""
    split: Path
    """YAML file with the rules that select train and test cases, and maybe val cases."""
    random_seeds: tuple[Seed, ...] = (0,)
    """Seeds of the encoders with random weights that the trained encoder is compared with. Each
    one takes as long as the trained encoder."""
    stride_s: Annotated[float, Range(0.001, 10**6)] = 1.0
    """Seconds from the start of one window to the start of the next."""
    random_views: bool = True
    """Whether train windows are cropped and flipped at random. If not: the central square."""
    augment: AugmentConfig = AugmentConfig()
    """Distribution of the random views."""
    epochs: Annotated[float, Range(0, 100_000, above=True)] = 20.0
    """Passes over the train windows."""
    warmup_epochs: Annotated[float, Range(0, 100_000)] = 0.0
    """Epochs in which the learning rate rises from 0. Then it falls to 0 as a cosine."""
    global_batch: Annotated[int, Range(8, 10**6)] = 256
    """Windows per step over all processes, a multiple of 8."""
    seed: Seed = 0
    """Seed of the order and the views of train windows."""
    precision: Precision = "bf16"
    """Autocast of the forward passes."""
    decode_threads: Annotated[int, Range(1, 1024)] | None = None
    """Decoding threads per process. None: the cores of the process."""
    save_every: Annotated[int, Range(1, 10**9)] = 500
    """Steps between two checkpoints."""
    resume: bool = False
    """Continue from the newest checkpoint in out; required if out contains one."""
    allow: str | list[str] = ""
    """Name of a finding of `surgrec audit` about the split that does not stop the evaluation, such
    as shared_cases, or a list; the result and every report state them."""
    allow_pretraining_overlap: bool = False
    """Continue if the encoder was pretrained on test cases or on a published set that shares
    videos with their sources, or if that is unknown."""
    allow_unknown_pretraining: bool = False
    """Continue if it is unknown whether the encoder was pretrained on test cases."""
    allow_repeated_frames: bool = False
    """Also use videos with fewer frames per second than a window. Their frames repeat."""

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def corpora(self) -> list[str]:
        """The corpora as a list."""
        return [self.corpus] if isinstance(self.corpus, str) else self.corpus

    def encoder_choice(self, random_seed: int | None) -> EncoderChoice:
        """Return the encoder with its weights, or with random ones from a seed."""
        return EncoderChoice(
            path=self.encoder, weights=self.weights, random_seed=random_seed, fps=self.fps
        )

    def num_steps(self, num_windows: int) -> int:
        """Return the steps of the whole training."""
        return max(1, math.ceil(self.epochs * num_windows / self.global_batch))

    def rate_share(self, num_windows: int) -> ScheduleConfig:
        """Return the schedule of the learning rate, as a share of its largest value."""
        steps = self.num_steps(num_windows)
        warmup = min(math.ceil(self.warmup_epochs * num_windows / self.global_batch), steps - 1)
        return ScheduleConfig(
            value=1.0,
            start=0.0 if warmup else None,
            warmup_steps=warmup,
            decay="cosine",
            end=0.0,
            end_step=steps,
        )


@dataclass(frozen=True, kw_only=True)
class TokenProbeConfig(SupervisedConfig):
    """Heads on the tokens of a frozen encoder. Defaults are those of V-JEPA 2's probe."""

    pooler: PoolerConfig = PoolerConfig()
    """The way from tokens to one vector per window."""
    grid: GridConfig = GridConfig()
    """Learning rates, weight decays and seeds of the heads."""
    last_blocks: Annotated[int, Range(1, 1000)] = 1
    """Last blocks of the encoder whose tokens the heads see."""
    few_shot: tuple[int | str, ...] = ()
    """Also train heads on few train cases: numbers such as 3, or shares such as 10%. One more
    training of each encoder has the heads of all these subsets."""
    joining: Joining = "channels"
    """Whether several blocks become more channels per token, or more tokens."""
