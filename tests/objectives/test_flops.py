import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from surgrec.masks.groups import batch_masks
from surgrec.masks.multiblock import MultiblockConfig
from surgrec.masks.tube import tube_masks
from surgrec.models.decoder import DecoderConfig
from surgrec.models.encoder import ENCODER_SIZES, Encoder, EncoderConfig
from surgrec.models.predictor import PredictorConfig
from surgrec.objectives.flops import jepa_flops, jepa_flops_per_clip, mae_flops, mae_flops_per_clip
from surgrec.objectives.jepa import JepaObjective, JepaObjectiveConfig, target_features
from surgrec.objectives.mae import MaeObjective, MaeObjectiveConfig


@pytest.mark.parametrize(
    ("size", "crop_px", "kept", "gigaflops"),
    [
        ("large", 224, [(363, 767), (104, 1101)], 2556),
        ("base", 224, [(363, 767), (104, 1101)], 1082),
        ("large", 256, [(497, 963), (128, 1439)], 3538),
        ("giant", 256, [(497, 963), (128, 1439)], 9735),
    ],
)
def test_published_sizes_cost_what_their_formula_says(size, crop_px, kept, gigaflops):
    encoder = EncoderConfig(**ENCODER_SIZES[size], crop_px=crop_px)
    assert jepa_flops_per_clip(encoder, PredictorConfig(), kept) / 1e9 == pytest.approx(gigaflops, rel=0.01)


def test_the_formula_counts_what_a_step_multiplies():
    encoder = EncoderConfig(width=48, depth=2, num_heads=2, num_frames=8, crop_px=64, mlp_ratio=3.0)
    config = JepaObjectiveConfig(
        predictor=PredictorConfig(width=36, depth=3, num_heads=3),
        masks=(MultiblockConfig(num_blocks=2, spatial_scale=0.3),),
    )
    objective = JepaObjective(Encoder(encoder), config)
    clips = torch.randn(2, 3, 8, 64, 64)
    masks = batch_masks(encoder.grid, config.masks, seed=0, positions=np.arange(2))
    with FlopCounterMode(display=False) as counter:
        objective(clips, target_features(objective.encoder, clips), masks)["loss"].backward()
    # PyTorch also counts the scores that attention's backward pass computes again: one in a hundred here.
    assert counter.get_total_flops() == pytest.approx(jepa_flops(encoder, config.predictor, masks), rel=0.02)


@pytest.mark.parametrize(
    ("size", "decoder", "gigaflops"),
    [
        ("base", DecoderConfig(), 209),
        ("large", DecoderConfig(width=512, num_heads=8), 493),
        ("large", DecoderConfig(width=512, num_heads=8, depth=12), 851),
    ],
)
def test_published_mae_sizes_cost_what_their_formula_says(size, decoder, gigaflops):
    encoder = EncoderConfig(**ENCODER_SIZES[size], crop_px=224, positions="sincos")
    assert mae_flops_per_clip(encoder, decoder, num_visible=160) / 1e9 == pytest.approx(gigaflops, rel=0.01)


def test_the_mae_formula_counts_what_a_step_multiplies():
    encoder = EncoderConfig(width=48, depth=2, num_heads=2, num_frames=8, crop_px=64, positions="sincos")
    config = MaeObjectiveConfig(decoder=DecoderConfig(width=36, depth=3, num_heads=3))
    objective = MaeObjective(Encoder(encoder), config)
    masks = tube_masks(encoder.grid, config.mask_ratio, seed=0, positions=np.arange(2))
    with FlopCounterMode(display=False) as counter:
        objective(torch.randn(2, 3, 8, 64, 64), masks)["loss"].backward()
    assert counter.get_total_flops() == pytest.approx(mae_flops(encoder, config.decoder, masks), rel=0.02)
