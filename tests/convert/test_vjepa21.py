"""V-JEPA 2.1, which transformers lacks: networks here against tests/support/vjepa21.py.

The two implementations share no code.
"""

import pytest
import torch

from surgrec.convert._vjepa_names import encoder_from_surgrec, predictor_from_surgrec
from surgrec.models import Encoder, EncoderConfig, Predictor, PredictorConfig
from tests.support import vjepa21
from tests.support.weight_layouts import shake

V21 = {"rope": "interleaved", "rope_side": 16, "modality_embedding": True}
CASES = {
    "4x4 tubelets": EncoderConfig(
        width=48, depth=4, num_heads=2, num_frames=4, crop_px=32, patch_size=8, levels=(1, 3), **V21
    ),
    "6x6 tubelets, channels that do not turn": EncoderConfig(
        width=66,
        depth=3,
        num_heads=3,
        num_frames=6,
        crop_px=48,
        patch_size=8,
        levels=(0, 1, 2),
        mlp_ratio=2.0,
        **V21,
    ),
    "tubelets of one frame": EncoderConfig(
        width=36,
        depth=2,
        num_heads=3,
        num_frames=3,
        crop_px=32,
        patch_size=16,
        tubelet_size=1,
        levels=(0, 1),
        **V21,
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
def test_encoder_and_predictor_agree_with_an_independent_vjepa_21(config, seed):
    torch.manual_seed(seed)
    encoder = Encoder(config)
    sizes = PredictorConfig(width=44, depth=2, num_heads=2, context_head=True)
    predictor = Predictor(sizes, config, num_mask_configs=2)
    for network in (encoder, predictor):
        shake(network)
    assert not hasattr(encoder, "norm")  # each level has a norm instead
    clip = torch.randn(1, 3, config.num_frames, config.crop_px, config.crop_px)
    order = torch.randperm(config.grid.num_tokens).tolist()
    context, targets = order[:5], order[5:9]
    index = torch.tensor([context])
    grid = (config.grid.frames, config.grid.height, config.grid.width)

    features = encoder.encode_levels(encoder.embed(clip), index)
    theirs = {
        name: tensor.double()
        for name, tensor in encoder_from_surgrec(encoder.state_dict(), config).items()
    }
    expected = vjepa21.encoder(
        theirs, clip[0].double(), context, grid, config.num_heads, config.levels
    )
    torch.testing.assert_close(features[0].double(), expected, atol=1e-5, rtol=1e-5)
    last = features[..., -config.width :]
    torch.testing.assert_close(encoder(clip, index), last, atol=1e-5, rtol=1e-5)

    ours = predictor.predict_with_context(features, index, torch.tensor([targets]), 0)
    theirs = {
        name: tensor.double()
        for name, tensor in predictor_from_surgrec(predictor.state_dict(), config).items()
    }
    expected = vjepa21.predictor(
        theirs, expected, context, targets, grid, (sizes.num_heads, sizes.depth)
    )
    for prediction, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(prediction[0].double(), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(predictor(features, index, torch.tensor([targets]), 0), ours[0])
