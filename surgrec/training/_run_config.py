"""The config fields that all recipes share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from surgrec.clips import AugmentConfig, LoaderConfig
from surgrec.convert import ImportFormat
from surgrec.errors import ConfigError
from surgrec.evaluation import ProbeConfig
from surgrec.models import EncoderConfig
from surgrec.models.activations import ActivationCheckpointing
from surgrec.ranges import Range, Seed, check_ranges
from surgrec.stream import Mixture
from surgrec.training._drift import DriftConfig
from surgrec.training._loss_scale import RunPrecision
from surgrec.training._metrics import LogConfig
from surgrec.training._optimizer import OptimizerConfig
from surgrec.training._sharding import Sharding


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A pretraining run. A recipe's config adds its method and that method's published values.

    Fields without a default here get one from the recipe.
    """

    run_dir: Path
    """Folder for config.yaml, metrics.jsonl, checkpoints and the encoder."""
    corpus: str | list[str]
    """One or several corpora: folders, or s3://bucket/prefix."""
    encoder: EncoderConfig
    """The encoder to train; its num_frames and crop_px are the size of its input."""
    init_from: Path | None = None
    """Initial weights: a run, an encoder file, or an external file that `surgrec import` reads;
    None for random weights."""
    init_format: ImportFormat = "auto"
    """Format of an external `init_from`, if its tensor names fit several formats."""
    init_license: str | None = None
    """License of the initial weights, an SPDX identifier; replaces the one in the file."""
    mixture: Mixture = Mixture()
    """Shares of domains and sources among the samples."""
    sampling_fps: Annotated[float, Range(0, 1000, above=True)]
    """Frames per second of a training clip."""
    allow_repeated_frames: bool = False
    """Also draw clips that store fewer frames per second. Their frames repeat."""
    join_clips: bool = False
    """Also draw clips that are shorter than a training clip: it then continues in the adjacent
    stored clips of the video."""
    augment: AugmentConfig
    """Random view of each clip."""
    optimizer: OptimizerConfig
    """AdamW and its schedules."""
    global_batch: Annotated[int, Range(1, 10**7)]
    """Samples per step over all processes."""
    steps: Annotated[int, Range(0, 10**9)]
    """Optimizer steps of the whole run."""
    seed: Seed
    """Seed of weights, order, views and masks."""
    precision: RunPrecision = "bf16"
    """Autocast of the forward passes. `fp16` scales the loss, and replaces `bf16` on GPUs without
    it."""
    accumulation: Annotated[int, Range(1, 10**6)] = 1
    """Parts of a rank's samples that pass through the model one after the other in each step. A
    part needs the memory of its own samples only. Order, masks and losses stay the same."""
    activation_checkpointing: ActivationCheckpointing = "none"
    """Activations that the backward pass computes again instead of keeping them: `none`, all but
    the results of matrix products and attention (`selective`), or all inside the blocks
    (`full`)."""
    compile: bool = False
    """Compile the transformer blocks with torch.compile. Losses change by rounding only. Masks of
    fixed lengths (MAE, and JEPA with an overlay `static_*`) get a version of the blocks for each
    shape, other masks one version for all."""
    sharding: Sharding = "none"
    """Whether each process keeps all weights, gradients and moments (`none`), or its share of them
    (`full`)."""
    loader: LoaderConfig = LoaderConfig()
    """Reading and decoding of batches."""
    log: LogConfig = LogConfig()
    """Logging."""
    probe: ProbeConfig = ProbeConfig()
    """Scores of the encoder on held-out cases while it trains."""
    drift: DriftConfig = DriftConfig()
    """Comparison of the encoder with that of the start."""
    save_every: Annotated[int, Range(1, 10**9)] = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: Annotated[int, Range(1, 10**6)] = 3
    """Number of newest checkpoints to keep."""
    milestone_every: Annotated[int, Range(1, 10**9)] | None = None
    """Steps between two checkpoints that are always kept, a multiple of save_every; None keeps the
    newest only."""
    resume: bool = False
    """Continue from the newest checkpoint in run_dir; required if run_dir contains a run."""
    resume_with_changes: Literal["optimizer"] | None = None
    """Part of the config that a resumed run may change: `optimizer`, that is AdamW, its schedules
    and clipping. The run records each change."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.milestone_every is not None and self.milestone_every % self.save_every:
            raise ConfigError(
                f"milestone_every is {self.milestone_every} and save_every is {self.save_every}; "
                "give a multiple of save_every"
            )

    @property
    def positions(self) -> int:
        """Positions of the stream that the whole run draws."""
        return self.steps * self.global_batch
