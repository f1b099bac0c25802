import math

import pytest
import torch

from surgrec.masks import TubeletGrid
from surgrec.models import Encoder, EncoderConfig
from surgrec.models.positions import SinusoidPositions, sinusoid_table, sinusoid_table_3d

CONFIG = EncoderConfig(
    width=48, depth=2, num_heads=2, num_frames=4, crop_px=32, patch_size=8, positions="sincos"
)


def test_channels_are_sines_and_cosines_of_decreasing_frequency():
    table = sinusoid_table(1568, 768)
    assert table[0, :4].tolist() == [0, 1, 0, 1]
    for token, pair in ((1, 0), (1567, 3), (700, 383)):
        angle = token / 10000 ** (2 * pair / 768)
        assert table[token, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[token, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_are_looked_up_by_id():
    positions = SinusoidPositions("sincos", TubeletGrid(2, 4, 4), 12)
    index = torch.tensor([[31, 0], [4, 4]])
    assert torch.equal(positions(index)[0, 0], positions()[0, 31])
    assert torch.equal(positions(index)[1, 0], positions(index)[1, 1])


def test_a_sinusoid_encoder_sees_only_given_tokens_at_their_positions():
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    clips = torch.randn(2, 3, 4, 32, 32)
    index, order = torch.arange(32).expand(2, -1), torch.randperm(32)
    torch.testing.assert_close(
        encoder(clips, index[:, order]), encoder(clips)[:, order], atol=1e-5, rtol=1e-5
    )
    assert (encoder(clips, index[:, :4]) - encoder(clips)[:, :4]).abs().max() > 0.01
    same_pixels = torch.ones(1, 3, 4, 32, 32)
    features = encoder(same_pixels)
    assert (features[0, 0] - features[0, 31]).abs().max() > 0.01


def test_a_sinusoid_encoder_has_rotary_names_and_videomaes_init():
    encoder, rotary = (
        Encoder(CONFIG),
        Encoder(EncoderConfig(**{**vars(CONFIG), "positions": "rope"})),
    )
    assert {name: weight.shape for name, weight in encoder.state_dict().items()} == {
        name: weight.shape for name, weight in rotary.state_dict().items()
    }
    for block in encoder.blocks:
        for linear in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
            bound = math.sqrt(6 / (linear.in_features + linear.out_features))
            assert 0.95 * bound < linear.weight.abs().max() <= bound
            assert linear.bias.abs().max() == 0


def test_3d_sinusoids_give_each_axis_a_third_of_the_channels():
    """V-JEPA 1's table for ViT-L: 1024 channels, so 342 per axis; the last 2 of 1026 are cut."""
    table = sinusoid_table_3d(TubeletGrid(8, 14, 14), 1024)
    assert table.shape == (1568, 1024)
    assert table[0, :342].tolist() == [0.0] * 171 + [1.0] * 171
    token = 5 * 196 + 3 * 14 + 11  # t 5, h 3, w 11
    for axis, coordinate in enumerate((5, 3, 11)):
        for pair in (0, 1, 100, 168):
            angle = coordinate / 10000 ** (pair / 171)
            assert table[token, 342 * axis + pair].item() == pytest.approx(
                math.sin(angle), abs=1e-6
            )
            assert table[token, 342 * axis + 171 + pair].item() == pytest.approx(
                math.cos(angle), abs=1e-6
            )
    assert table[token, 1023].item() == pytest.approx(
        math.cos(11 / 10000 ** (168 / 171)), abs=1e-6
    ), "cut after pair 168"


def test_a_width_divisible_by_six_is_not_cut():
    """The predictor's table: 384 channels, so 128 per axis."""
    table = sinusoid_table_3d(TubeletGrid(4, 24, 24), 384)
    assert table[-1, -1].item() == pytest.approx(math.cos(23 / 10000 ** (63 / 64)), abs=1e-6)
    assert table[-1, -65].item() == pytest.approx(math.sin(23 / 10000 ** (63 / 64)), abs=1e-6)


def test_an_encoder_of_vjepa_1_adds_sinusoids_and_is_not_rescaled():
    torch.manual_seed(0)
    config = EncoderConfig(**{**vars(CONFIG), "depth": 8, "width": 96, "positions": "sincos3d"})
    encoder = Encoder(config)
    pixels = torch.zeros(1, 3, 4, 32, 32)
    torch.testing.assert_close(encoder.embed(pixels)[0], sinusoid_table_3d(config.grid, 96))
    assert encoder.rope is None
    # V-JEPA 1's code rescales deep layers, and then draws all weights again.
    for block in encoder.blocks:
        for linear in (block.attn.qkv, block.attn.proj, block.mlp.fc2):
            assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert linear.bias.abs().max() == 0
