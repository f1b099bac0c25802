"""Training on labeled windows of video: grids of probes on frozen tokens, and fine-tuning.

Example:
    >>> probe = TokenProbe.open(config, session)
    >>> for stage in probe.stages():
    ...     heads = stage.new_heads()
    ...     ...  # train them
    ...     stage.predict(heads)
    >>> probe.write()
"""

from surgrec.supervised._config import SupervisedConfig, TokenProbeConfig
from surgrec.supervised._finetuned import FinetunedEncoder, parameter_groups
from surgrec.supervised._finetuning import FinetuneConfig, Finetuning
from surgrec.supervised._grid import GridConfig, head_settings
from surgrec.supervised._heads import ProbeHeads, build_heads_optimizer, set_heads_step
from surgrec.supervised._mixing import MixingConfig, soft_losses
from surgrec.supervised._part_gradients import PartGradients
from surgrec.supervised._probe import TokenProbe
from surgrec.supervised._targets import window_losses

__all__ = [
    "FinetuneConfig",
    "FinetunedEncoder",
    "Finetuning",
    "GridConfig",
    "MixingConfig",
    "PartGradients",
    "ProbeHeads",
    "SupervisedConfig",
    "TokenProbe",
    "TokenProbeConfig",
    "build_heads_optimizer",
    "head_settings",
    "parameter_groups",
    "set_heads_step",
    "soft_losses",
    "window_losses",
]
