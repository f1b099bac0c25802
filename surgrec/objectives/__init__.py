"""Train an encoder: model, batch and masks in, losses out. One file per method."""

from surgrec.objectives._jepa import JepaObjective, JepaObjectiveConfig, jepa_masks, target_features
from surgrec.objectives._mae import MaeObjective, MaeObjectiveConfig, mae_masks
from surgrec.objectives._objective import Objective

__all__ = [
    "JepaObjective",
    "JepaObjectiveConfig",
    "MaeObjective",
    "MaeObjectiveConfig",
    "Objective",
    "jepa_masks",
    "mae_masks",
    "target_features",
]
