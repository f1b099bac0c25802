"""What every pretraining run is told, whatever its method; a recipe's config adds the method and its published values."""

from dataclasses import dataclass
from pathlib import Path

from surgrec.clips import AugmentConfig, LoaderConfig
from surgrec.convert import ImportFormat
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig
from surgrec.stream import Mixture
from surgrec.training.launch import Precision
from surgrec.training.metrics import LogConfig
from surgrec.training.optimizer import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A pretraining run. What has no default here has the method's."""

    run_dir: Path
    """Receives config.yaml, metrics.jsonl, checkpoints and the encoder."""
    corpus: str | list[str]
    """One or several corpus roots: folders, or s3://bucket/prefix."""
    encoder: EncoderConfig
    """The encoder that is trained; its num_frames and crop_px are the network's input."""
    init_from: Path | None = None
    """Weights to start from: a run, an encoder file, or a foreign file that `surgrec import` reads; None for random ones."""
    init_format: ImportFormat = "auto"
    """Format of a foreign `init_from`, where it cannot be told from its entries."""
    init_license: str | None = None
    """License of `init_from`'s weights, an SPDX identifier, in place of what the file says."""
    mixture: Mixture = Mixture()
    """What is drawn, and in which proportions."""
    sampling_fps: float
    """Frames per second of video in a training clip."""
    augment: AugmentConfig
    """Random view of each clip."""
    optimizer: OptimizerConfig
    """AdamW and its schedules."""
    global_batch: int
    """Samples per step over all processes."""
    steps: int
    """Optimizer steps of the whole run."""
    seed: int
    """Of weights, order, views and masks."""
    precision: Precision = "bf16"
    """Autocast of the forward passes."""
    loader: LoaderConfig = LoaderConfig()
    """How batches are read and decoded."""
    log: LogConfig = LogConfig()
    """What is logged."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: int = 3
    """Newest checkpoints that are kept."""
    resume: bool = False
    """Continue from the newest checkpoint of run_dir; needed where there is one."""

    def __post_init__(self) -> None:
        for name in ("global_batch", "save_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1")
        if self.steps < 0:
            raise ConfigError(f"steps is {self.steps}; give 0 or more")

    @property
    def positions(self) -> int:
        """Positions of the global order that the whole run draws."""
        return self.steps * self.global_batch
