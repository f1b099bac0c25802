"""What a model is trained for: model and batch in, losses out. One file per method."""

from surgrec.objectives.flops import jepa_flops, mae_flops
from surgrec.objectives.jepa import JepaObjective, JepaObjectiveConfig, jepa_masks, target_features
from surgrec.objectives.mae import MaeObjective, MaeObjectiveConfig, mae_masks

__all__ = [
    "JepaObjective",
    "JepaObjectiveConfig",
    "MaeObjective",
    "MaeObjectiveConfig",
    "jepa_flops",
    "jepa_masks",
    "mae_flops",
    "mae_masks",
    "target_features",
]
