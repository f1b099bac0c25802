import pytest
import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat

from surgrec.masks import TubeletGrid
from surgrec.models._rope import RotaryPositions, rope_table

GRID = TubeletGrid(4, 5, 6)


def test_each_axis_rotates_another_third_of_the_channels():
    sin, cos = rope_table(GRID, 64, "tiled").chunk(2, dim=-1)
    token = 2 * 30 + 3 * 6 + 5  # t 2, h 3, w 5
    frequencies = [10000 ** -(i / 10) for i in range(10)]
    for axis, coordinate in enumerate((2, 3, 5)):
        expected = torch.tensor([coordinate * frequency for frequency in frequencies] * 2)
        torch.testing.assert_close(sin[token, 20 * axis : 20 * axis + 20], expected.sin())
        torch.testing.assert_close(cos[token, 20 * axis : 20 * axis + 20], expected.cos())


@pytest.mark.parametrize(("head_dim", "rotated"), [(64, 60), (32, 30), (24, 24), (88, 84)])
def test_remaining_channels_do_not_rotate(head_dim, rotated):
    sin, cos = rope_table(GRID, head_dim, "tiled").chunk(2, dim=-1)
    assert sin.shape == (120, head_dim)
    assert (sin[1:, :rotated] != 0).any(dim=0).all()
    assert (sin[:, rotated:] == 0).all()
    assert (cos[:, rotated:] == 1).all()


def test_interleaved_positions_keep_lengths_and_tiled_ones_do_not():
    torch.manual_seed(0)
    vectors = torch.randn(120, 64)
    lengths = vectors.norm(dim=-1)
    interleaved = apply_rot_embed_cat(vectors, rope_table(GRID, 64, "interleaved"))
    tiled = apply_rot_embed_cat(vectors, rope_table(GRID, 64, "tiled"))
    torch.testing.assert_close(interleaved.norm(dim=-1), lengths)
    assert ((tiled.norm(dim=-1) - lengths).abs() > 0.1).any()


def test_interleaved_attention_depends_on_token_distance_alone():
    torch.manual_seed(0)
    query, key = torch.randn(2, 64)
    table = rope_table(GRID, 64, "interleaved")

    def score(first: int, second: int) -> torch.Tensor:
        return apply_rot_embed_cat(query, table[first]) @ apply_rot_embed_cat(key, table[second])

    step = 30 + 6 + 1  # one on along each axis
    torch.testing.assert_close(score(0, step), score(2 * step, 3 * step), atol=1e-4, rtol=1e-4)
    assert (score(0, step) - score(0, 2 * step)).abs() > 0.01


def test_tokens_are_looked_up_by_id():
    rope = RotaryPositions(GRID, 32, "tiled")
    index = torch.tensor([[7, 3, 119], [0, 0, 1]])
    assert torch.equal(rope(index)[1, 0], rope.table[index[1]])
    assert torch.equal(rope(None)[0, 0], rope.table)
    assert rope.state_dict() == {}


def test_interpolated_positions_span_the_same_angles_on_every_frame():
    """V-JEPA 2.1 scales rows and columns of any frame to its first grid of 16 x 16."""
    small, large = TubeletGrid(2, 16, 16), TubeletGrid(2, 24, 31)
    unscaled, scaled = (
        rope_table(small, 64, "interleaved"),
        rope_table(large, 64, "interleaved", side=16),
    )
    torch.testing.assert_close(rope_table(small, 64, "interleaved", side=16), unscaled)
    torch.testing.assert_close(scaled[-1], unscaled[-1])  # the last corner
    token = 24 * 31 + 7 * 31 + 20  # t 1, h 7, w 20
    angle = {0: 1.0, 1: 7 * 15 / 23, 2: 20 * 15 / 30}
    for axis, coordinate in angle.items():
        for pair in range(10):
            expected = torch.tensor(coordinate * 10000 ** (-pair / 10))
            for channel in (20 * axis + 2 * pair, 20 * axis + 2 * pair + 1):
                torch.testing.assert_close(scaled[token, channel], expected.sin())
                torch.testing.assert_close(scaled[token, 64 + channel], expected.cos())


def test_interleaved_positions_multiply_channel_pairs_as_complex_numbers():
    torch.manual_seed(0)
    vector, token = torch.randn(64), 2 * 30 + 3 * 6 + 5  # t 2, h 3, w 5
    angles = torch.cat(
        [coordinate * 10000 ** (-torch.arange(10) / 10) for coordinate in (2, 3, 5)]
        + [torch.zeros(2)]
    )
    rotated = torch.view_as_complex(vector.unflatten(0, (32, 2))) * torch.polar(
        torch.ones(32), angles
    )
    table = rope_table(GRID, 64, "interleaved")
    torch.testing.assert_close(
        apply_rot_embed_cat(vector, table[token]), torch.view_as_real(rotated).flatten()
    )
