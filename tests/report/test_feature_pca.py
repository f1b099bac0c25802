"""Similar tokens get similar colors, whatever the scale and the sign of the features."""

import torch
from einops import repeat

from surgrec.masks import TubeletGrid
from surgrec.report._feature_pca import principal_components, token_colors

GRID = TubeletGrid(2, 4, 4)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Draw standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_components_are_the_directions_of_the_features() -> None:
    factors = noise(500, 3) * torch.tensor([9.0, 4.0, 1.0])
    directions = torch.linalg.qr(noise(16, 3, seed=1)).Q
    components, explained = principal_components(factors @ directions.T + 7, 3)
    correlation = torch.corrcoef(torch.cat([components.float().T, factors.T]))[:3, 3:].abs()
    assert correlation.diagonal().min() > 0.99
    assert explained > 0.9999
    assert components.std(dim=0).diff().max() < 0, "the largest comes first"


def test_the_sign_of_the_features_does_not_invert_the_colors() -> None:
    features = noise(100, 8)
    components, _ = principal_components(features, 3)
    flipped, _ = principal_components(-features, 3)
    torch.testing.assert_close(components, -flipped)


def test_two_groups_of_tokens_get_two_colors() -> None:
    group = (torch.arange(GRID.num_tokens) % 4 < 2).float()
    tokens = repeat(group, "n -> b n d", b=3, d=12) * noise(12, seed=2) + 0.01 * noise(
        3, GRID.num_tokens, 12
    )
    colors = token_colors(tokens, GRID)
    assert colors.pictures.shape == (3, 2, 3, 4, 4)
    red = colors.pictures[:, :, 0]
    left, right = red[..., :2], red[..., 2:]
    assert (left.mean() - right.mean()).abs() > 0.8
    assert max(left.std(), right.std()) < 0.1
    assert colors.explained > 0.9


def test_one_odd_token_does_not_darken_the_others() -> None:
    tokens = noise(4, GRID.num_tokens, 12)
    tokens[0, 0] = 1000 * tokens[0, 1]
    assert token_colors(tokens, GRID).pictures[1:].std() > 0.1


def test_collapsed_tokens_have_one_color_and_no_error() -> None:
    colors = token_colors(torch.ones(2, GRID.num_tokens, 12), GRID)
    assert colors.pictures.isfinite().all()
    assert colors.pictures.std() == 0
