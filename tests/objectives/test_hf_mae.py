"""Agreement of bfloat16 predictions with Hugging Face's VideoMAE in float32 on equal weights."""

import numpy as np
import pytest
import torch
from einops import rearrange

from surgrec.masks import tube_masks
from surgrec.models import DecoderConfig, Encoder, EncoderConfig
from surgrec.objectives import MaeObjective, MaeObjectiveConfig
from tests.support.mae_cases import CASES, hf_model


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
    theirs = hf_model(objective)[0](
        rearrange(clips, "b c t h w -> b t c h w"), bool_masked_pos=hidden
    ).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = objective.predict(clips, masks).float()
    assert theirs.std() > 0.4, "tiny predictions would agree with anything"
    difference = (ours - theirs).abs()
    assert 0 < difference.mean() < 7e-3
    assert difference.max() < 5e-2
