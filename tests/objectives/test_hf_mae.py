"""Agreement of what the MAE predicts in bfloat16 with Hugging Face's VideoMAE in float32, on the same random weights."""

from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange

from surgrec.masks.tube import tube_masks
from surgrec.models.decoder import DecoderConfig
from surgrec.models.encoder import Encoder, EncoderConfig
from surgrec.models.hf_videomae import hf_videomae_state
from surgrec.objectives.mae import MaeObjective, MaeObjectiveConfig
from tests.objectives.hugging_face import transformers_or_skip

transformers = transformers_or_skip()

SIZES = {
    "2x4x4": (
        EncoderConfig(width=48, depth=3, num_heads=2, num_frames=4, crop_px=64, positions="sincos"),
        DecoderConfig(width=36, depth=2, num_heads=3),
    ),
    "2x5x5": (
        EncoderConfig(
            width=36, depth=2, num_heads=3, mlp_ratio=2.0, num_frames=4, crop_px=40, patch_size=8, positions="sincos"
        ),
        DecoderConfig(width=48, depth=1, num_heads=2, mlp_ratio=2.0),
    ),
    "2x6x6": (
        EncoderConfig(width=64, depth=2, num_heads=4, num_frames=8, crop_px=96, tubelet_size=4, positions="sincos"),
        DecoderConfig(width=32, depth=2, num_heads=4),
    ),
}
CASES = {f"{name}, seed {seed}": (seed, *sizes) for name, sizes in SIZES.items() for seed in (0, 1)}


def hf_model(objective: MaeObjective) -> Any:
    """Hugging Face's model with the same weights."""
    encoder, decoder = objective.encoder.config, objective.decoder.config
    config = transformers.VideoMAEConfig(
        image_size=encoder.crop_px,
        patch_size=encoder.patch_size,
        num_frames=encoder.num_frames,
        tubelet_size=encoder.tubelet_size,
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.num_heads,
        intermediate_size=round(encoder.width * encoder.mlp_ratio),
        decoder_hidden_size=decoder.width,
        decoder_num_hidden_layers=decoder.depth,
        decoder_num_attention_heads=decoder.num_heads,
        decoder_intermediate_size=round(decoder.width * decoder.mlp_ratio),
        use_mean_pooling=False,
        layer_norm_eps=1e-6,
    )
    state = hf_videomae_state(objective.encoder.state_dict(), objective.decoder.state_dict())
    return transformers.VideoMAEForPreTraining.from_pretrained(None, config=config, state_dict=state)


@torch.no_grad()
@pytest.mark.parametrize(("seed", "encoder", "decoder"), CASES.values(), ids=CASES)
def test_bf16_predictions_stay_near_those_of_hugging_face_in_float32(
    seed: int, encoder: EncoderConfig, decoder: DecoderConfig
) -> None:
    """P14 of the parity plan, from pixels to predictions: 0.007 in the mean, 0.05 at most."""
    torch.manual_seed(seed)
    objective = MaeObjective(Encoder(encoder), MaeObjectiveConfig(decoder=decoder))
    for parameter in objective.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    clips = torch.randn(2, 3, encoder.num_frames, encoder.crop_px, encoder.crop_px)
    masks = tube_masks(encoder.grid, 0.8, seed=seed, positions=np.arange(2))
    hidden = torch.ones(2, encoder.grid.num_tokens, dtype=torch.bool)
    hidden = hidden.scatter(1, torch.from_numpy(masks.context_index), False)
    theirs = hf_model(objective)(rearrange(clips, "b c t h w -> b t c h w"), bool_masked_pos=hidden).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = objective.predict(clips, masks).float()
    assert theirs.std() > 0.4, "predictions of no size would agree with anything"
    difference = (ours - theirs).abs()
    assert 0 < difference.mean() < 7e-3
    assert difference.max() < 5e-2
