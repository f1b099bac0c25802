"""The input and the prediction of an MAE are shown exactly, with nothing added or hidden."""

import numpy as np
import pytest
import torch
from einops import rearrange, reduce

from surgrec.masks import Masks, tube_masks
from surgrec.models import EncoderConfig
from surgrec.models.tokens import take_tokens
from surgrec.normalize import denormalize
from surgrec.objectives._mae import pixel_targets
from surgrec.report._reconstruction import HIDDEN_GRAY, reconstruct

CONFIG = EncoderConfig(width=24, depth=1, num_heads=2, patch_size=8, num_frames=4, crop_px=32)
ONE_GRAY_LEVEL = 1 / 255


@pytest.fixture
def clips() -> torch.Tensor:
    """Two clips of noise, one of them with a flat corner, as inputs of the encoder."""
    clips = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    clips[1, :, :, :8, :8] = 0.25
    return clips


@pytest.fixture
def masks() -> Masks:
    """Masks of two clips."""
    return tube_masks(CONFIG.grid, 0.75, seed=0, positions=np.arange(2))


def test_a_perfect_prediction_gives_the_original(clips: torch.Tensor, masks: Masks) -> None:
    perfect = take_tokens(pixel_targets(clips, CONFIG), torch.from_numpy(masks.target_index))
    shown = reconstruct(clips, perfect, masks, CONFIG)
    assert (shown.predicted - denormalize(clips)).abs().max() < ONE_GRAY_LEVEL / 10
    torch.testing.assert_close(shown.original, denormalize(clips))


def test_exactly_the_hidden_tubelets_are_gray(clips: torch.Tensor, masks: Masks) -> None:
    shown = reconstruct(clips, torch.zeros(2, masks.target_index.shape[1], 384), masks, CONFIG)
    gray = (shown.masked == HIDDEN_GRAY).all(dim=1)
    by_tubelet = rearrange(gray, "b (t i) (h j) (w k) -> b (t h w) (i j k)", i=2, j=8, k=8)
    for clip, hidden in enumerate(masks.target_index):
        assert torch.equal(
            by_tubelet[clip].all(dim=1).nonzero().flatten(), torch.from_numpy(hidden)
        )
    torch.testing.assert_close(
        shown.masked[~gray[:, None].expand_as(shown.masked)],
        shown.original[~gray[:, None].expand_as(shown.masked)],
    )


def test_a_prediction_of_nothing_is_the_mean_color(clips: torch.Tensor, masks: Masks) -> None:
    shown = reconstruct(clips, torch.zeros(2, masks.target_index.shape[1], 384), masks, CONFIG)
    torch.testing.assert_close(shown.predicted, shown.mean_color)
    means = [
        reduce(pixels, "b c (t i) (h j) (w k) -> b c t h w", "mean", i=2, j=8, k=8)
        for pixels in (shown.original, shown.mean_color)
    ]
    torch.testing.assert_close(*means)
    assert not torch.allclose(shown.mean_color, shown.original)
