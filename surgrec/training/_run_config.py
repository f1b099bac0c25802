"""The config fields that all recipes share."""

from dataclasses import dataclass
from pathlib import Path

from surgrec.clips import AugmentConfig, LoaderConfig
from surgrec.convert import ImportFormat
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig
from surgrec.stream import Mixture
from surgrec.training._launch import Precision
from surgrec.training._metrics import LogConfig
from surgrec.training._optimizer import OptimizerConfig


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
    sampling_fps: float
    """Frames per second of a training clip."""
    allow_repeated_frames: bool = False
    """Also draw clips that store fewer frames per second. Their frames repeat."""
    augment: AugmentConfig
    """Random view of each clip."""
    optimizer: OptimizerConfig
    """AdamW and its schedules."""
    global_batch: int
    """Samples per step over all processes."""
    steps: int
    """Optimizer steps of the whole run."""
    seed: int
    """Seed of weights, order, views and masks."""
    precision: Precision = "bf16"
    """Autocast of the forward passes."""
    loader: LoaderConfig = LoaderConfig()
    """Reading and decoding of batches."""
    log: LogConfig = LogConfig()
    """Logging."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: int = 3
    """Number of newest checkpoints to keep."""
    resume: bool = False
    """Continue from the newest checkpoint in run_dir; required if run_dir contains a run."""

    def __post_init__(self) -> None:
        for name in ("global_batch", "save_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.steps < 0:
            raise ConfigError(f"steps is {self.steps}; give 0 or more")

    @property
    def positions(self) -> int:
        """Positions of the stream that the whole run draws."""
        return self.steps * self.global_batch
