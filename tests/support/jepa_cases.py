"""Cases in which JEPA objectives are compared: sizes, grids, seeds and inputs of a step."""

import numpy as np
import torch
from torch import Tensor

from surgrec.masks import batch_masks
from surgrec.models import Encoder, EncoderConfig, PredictorConfig
from surgrec.objectives import JepaObjective, JepaObjectiveConfig, target_features

SIZES = {
    "4x4x4": (
        EncoderConfig(width=48, depth=2, num_heads=2, num_frames=8, crop_px=64),
        PredictorConfig(width=36, depth=2, num_heads=3),
    ),
    "6x5x5": (
        EncoderConfig(
            width=96, depth=2, num_heads=4, mlp_ratio=2.0, num_frames=12, crop_px=40, patch_size=8
        ),
        PredictorConfig(width=64, depth=1, num_heads=2, mlp_ratio=3.0),
    ),
    "4x6x6": (
        EncoderConfig(width=66, depth=3, num_heads=3, num_frames=4, crop_px=96, tubelet_size=1),
        PredictorConfig(width=24, depth=3, num_heads=2),
    ),
    "g's MLP": (
        EncoderConfig(width=88, depth=2, num_heads=2, mlp_ratio=48 / 11, num_frames=4, crop_px=80),
        PredictorConfig(width=48, depth=2, num_heads=4),
    ),
}
CASES = {f"{name}, seed {seed}": (seed, *sizes) for name, sizes in SIZES.items() for seed in (0, 1)}


class Step:
    """Objective and target encoder with random weights; four clips, masked in groups of 3 and 1."""

    def __init__(
        self, seed: int, encoder: EncoderConfig, predictor: PredictorConfig, *, noise: float = 0.1
    ) -> None:
        torch.manual_seed(seed)
        config = JepaObjectiveConfig(predictor=predictor, mask_group=3)
        self.objective = JepaObjective(Encoder(encoder), config)
        self.target_encoder = Encoder(encoder)
        with torch.no_grad():
            for parameter in [*self.objective.parameters(), *self.target_encoder.parameters()]:
                parameter.add_(torch.randn_like(parameter), alpha=noise)
        self.clips = torch.randn(4, 3, encoder.num_frames, encoder.crop_px, encoder.crop_px)
        self.masks = batch_masks(
            encoder.grid, config.masks, seed=seed, positions=np.arange(4), mask_group=3
        )

    def targets(self) -> Tensor:
        return target_features(self.target_encoder, self.clips)
