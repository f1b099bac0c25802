import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from surgrec.masks import MultiblockConfig, batch_masks, tube_masks
from surgrec.models import ENCODER_SIZES, DecoderConfig, Encoder, EncoderConfig, PredictorConfig
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    MaeObjective,
    MaeObjectiveConfig,
    mae_masks,
    target_features,
)
from surgrec.objectives._context_loss import ContextLossConfig
from surgrec.objectives._flops import jepa_flops_per_clip


@pytest.mark.parametrize(
    ("size", "crop_px", "kept", "gigaflops"),
    [
        ("large", 224, [(363, 767), (104, 1101)], 2556),
        ("base", 224, [(363, 767), (104, 1101)], 1082),
        ("large", 256, [(497, 963), (128, 1439)], 3538),
        ("giant", 256, [(497, 963), (128, 1439)], 9735),
    ],
)
def test_published_jepa_sizes_have_the_computed_flops(size, crop_px, kept, gigaflops):
    encoder = EncoderConfig(**ENCODER_SIZES[size], crop_px=crop_px)
    assert jepa_flops_per_clip(encoder, PredictorConfig(), kept) / 1e9 == pytest.approx(
        gigaflops, rel=0.01
    )


@pytest.mark.parametrize("levels", [(), (0, 1)])
def test_jepa_flops_agree_with_pytorchs_counter(levels):
    """The second case has everything that V-JEPA 2.1 adds."""
    encoder = EncoderConfig(
        width=48, depth=2, num_heads=2, num_frames=8, crop_px=64, mlp_ratio=3.0, levels=levels
    )
    config = JepaObjectiveConfig(
        predictor=PredictorConfig(width=36, depth=3, num_heads=3, context_head=bool(levels)),
        masks=(MultiblockConfig(num_blocks=2, spatial_scale=0.3),),
        context=ContextLossConfig() if levels else None,
    )
    objective = JepaObjective(Encoder(encoder), config)
    clips = torch.randn(2, 3, 8, 64, 64)
    masks = batch_masks(encoder.grid, config.masks, seed=0, positions=np.arange(2))
    with FlopCounterMode(display=False) as counter:
        objective(clips, target_features(objective.encoder, clips), masks)["loss"].backward()
    # PyTorch also counts scores that attention's backward pass recomputes: 1 % here.
    assert counter.get_total_flops() == pytest.approx(objective.flops(masks), rel=0.02)


@pytest.mark.parametrize(
    ("size", "decoder", "decoder_mask_ratio", "gigaflops"),
    [
        ("base", DecoderConfig(), 0.0, 202),
        ("base", DecoderConfig(), 0.5, 144),
        ("large", DecoderConfig(width=512, num_heads=8), 0.0, 484),
        ("large", DecoderConfig(width=512, num_heads=8, depth=12), 0.0, 842),
    ],
)
def test_published_mae_sizes_have_the_computed_flops(size, decoder, decoder_mask_ratio, gigaflops):
    encoder = EncoderConfig(**ENCODER_SIZES[size], crop_px=224, positions="sincos")
    masks = tube_masks(
        encoder.grid, 0.9, seed=0, positions=np.arange(2), decoder_ratio=decoder_mask_ratio
    )
    with torch.device("meta"):
        objective = MaeObjective(Encoder(encoder), MaeObjectiveConfig(decoder=decoder))
    assert objective.flops(masks) / 2e9 == pytest.approx(gigaflops, rel=0.01)


@pytest.mark.parametrize("decoder_mask_ratio", [0.0, 0.5])
def test_mae_flops_agree_with_pytorchs_counter(decoder_mask_ratio):
    encoder = EncoderConfig(
        width=48, depth=2, num_heads=2, num_frames=8, crop_px=64, positions="sincos"
    )
    decoder = DecoderConfig(width=36, depth=3, num_heads=3)
    config = MaeObjectiveConfig(decoder=decoder, decoder_mask_ratio=decoder_mask_ratio)
    objective = MaeObjective(Encoder(encoder), config)
    masks = mae_masks(config, encoder.grid, seed=0, positions=np.arange(2))
    with FlopCounterMode(display=False) as counter:
        objective(torch.randn(2, 3, 8, 64, 64), masks)["loss"].backward()
    assert counter.get_total_flops() == pytest.approx(objective.flops(masks), rel=0.02)
