import math

import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.models import ENCODER_SIZES, Encoder, EncoderConfig

CONFIG = EncoderConfig(width=48, depth=2, num_heads=2, num_frames=4, crop_px=32, patch_size=8)


def clips(num_clips: int = 2) -> torch.Tensor:
    return torch.randn(num_clips, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_blocks_see_only_the_given_tokens():
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    index = torch.tensor([[0, 5, 20], [3, 4, 31]])
    tokens = encoder.embed(clips())
    others = torch.ones_like(tokens, dtype=torch.bool).scatter(
        1, index[..., None].expand(-1, -1, 48), False
    )
    changed = torch.where(others, torch.full_like(tokens, 9.0), tokens)
    assert torch.equal(encoder.encode(changed, index), encoder.encode(tokens, index))
    assert (encoder.encode(tokens)[0, 5] - encoder.encode(tokens, index)[0, 1]).abs().max() > 0.01


def test_the_order_of_ids_is_the_order_of_features():
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    index = torch.arange(32).expand(2, -1)
    order = torch.randperm(32)
    torch.testing.assert_close(encoder(clips(), index), encoder(clips()))
    torch.testing.assert_close(encoder(clips(), index[:, order]), encoder(clips())[:, order])


def test_the_same_token_at_another_position_has_other_features():
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    torch.nn.init.normal_(encoder.blocks[0].attn.qkv.weight, std=0.3)
    tokens = encoder.embed(clips()[:1])[:, :2]
    near = encoder.encode(tokens.repeat(1, 16, 1), torch.tensor([[0, 1]]))
    far = encoder.encode(tokens.repeat(1, 16, 1), torch.tensor([[0, 31]]))
    assert (near - far).abs().max() > 1e-3


def test_the_output_weights_of_a_layer_shrink_with_its_depth():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(width=96, depth=8, num_heads=2, num_frames=2, crop_px=16))
    for layer, block in enumerate(encoder.blocks, start=1):
        for linear in (block.attn.proj, block.mlp.fc2):
            assert linear.weight.std().item() == pytest.approx(
                0.02 / math.sqrt(2 * layer), rel=0.05
            )
        assert block.attn.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.attn.qkv.bias.abs().max() == 0


LEVELS = EncoderConfig(
    width=48, depth=4, num_heads=2, num_frames=4, crop_px=32, patch_size=8, rope="interleaved",
    rope_side=16, levels=(1, 3), modality_embedding=True,
)  # fmt: skip


def test_without_levels_there_is_one_norm_after_the_last_block():
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    tokens = encoder.embed(clips())
    assert torch.equal(encoder.encode_levels(tokens), encoder.encode(tokens))
    assert not hasattr(encoder, "level_norms")


def test_the_modality_embedding_is_one_vector_near_zero():
    encoder = Encoder(LEVELS)
    assert encoder.modality_embed.shape == (48,)
    assert 0 < encoder.modality_embed.abs().max() < 1e-5


@pytest.mark.parametrize(
    ("size", "millions"),
    [("base", 86.2), ("large", 303.9), ("huge", 632), ("giant", 1012), ("gigantic", 1843)],
)
def test_named_sizes_have_the_published_number_of_parameters(size, millions):
    with torch.device("meta"):
        encoder = Encoder(EncoderConfig(**ENCODER_SIZES[size]))
    assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e6 == pytest.approx(
        millions, rel=0.005
    )


def test_a_clip_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"expects clips of 4x32x32 .* got 6x32x32"):
        Encoder(CONFIG)(torch.zeros(1, 3, 6, 32, 32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "width 48 .* 5"),
        ({"num_heads": 12}, "width 48 .* 12"),
        ({"crop_px": 30}, "crop_px .* 30, .* patch_size 8"),
        ({"rope_side": 1}, "rope_side is 1; give 2 to"),
        ({"rope_side": 16, "positions": "sincos"}, "rope_side is 16 and positions is sincos"),
        ({"rope_side": 16, "crop_px": 8}, "rope_side is 16 and a frame has 1 x 1 tubelets"),
        ({"levels": (1, 0)}, r"levels is \(1, 0\)"),
        (
            {"levels": (0,)},
            r"levels is \(0,\) and depth is 2; .* in ascending order, the last one 1",
        ),
        ({"levels": (-1, 1)}, r"levels is \(-1, 1\)"),
    ],
)
def test_an_impossible_config_is_refused(changes, message):
    fields = {"width": 48, "depth": 2, "num_heads": 2, "crop_px": 32, "patch_size": 8}
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**{**fields, **changes})


@pytest.mark.parametrize("positions", ["rope", "sincos", "sincos3d"])
def test_features_of_visible_tokens_do_not_need_the_others_embedded(positions):
    torch.manual_seed(0)
    encoder = Encoder(
        EncoderConfig(width=48, depth=2, num_heads=2, num_frames=4, crop_px=64, positions=positions)
    )
    clips, index = torch.randn(2, 3, 4, 64, 64), torch.tensor([[3, 0, 31, 7], [30, 2, 8, 9]])
    torch.testing.assert_close(encoder(clips, index), encoder.encode(encoder.embed(clips), index))
