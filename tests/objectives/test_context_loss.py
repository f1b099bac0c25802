import math

import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.objectives._context_loss import (
    ContextLossConfig,
    context_weight,
    nearness,
)

GRID = TubeletGrid(4, 5, 6)


def test_nearness_is_the_inverse_root_of_the_nearest_distance():
    grid = TubeletGrid(2, 3, 4)  # ids: 12 t + 4 h + w
    target = torch.tensor([[0, 23]])  # (0, 0, 0) and (1, 2, 3)
    context = torch.tensor(
        [[1, 12, 17, 3, 22]]
    )  # (0, 0, 1), (1, 0, 0), (1, 1, 1), (0, 0, 3), (1, 2, 2)
    squared = [1, 1, 3, 5, 1]  # (0, 0, 3) is 9 from the first target and 1 + 4 + 0 from the second
    expected = torch.tensor([[distance**-0.25 for distance in squared]])
    torch.testing.assert_close(nearness(grid, context, target), expected)
    assert nearness(grid, context, target)[0, 2].item() == pytest.approx(
        1 / math.sqrt(math.sqrt(3))
    )


def test_distances_are_to_targets_of_the_same_clip():
    context = torch.tensor([[1], [1]])
    near = nearness(GRID, context, torch.tensor([[2], [5]]))
    assert near.flatten().tolist() == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("step", "weight"),
    [
        (0, 0.0),
        (14_999, 0.0),
        (15_000, 0.0),
        (18_000, 0.1),
        (22_500, 0.25),
        (30_000, 0.5),
        (10**6, 0.5),
    ],
)
def test_the_context_counts_from_step_15000_and_fully_from_30000(step, weight):
    assert context_weight(ContextLossConfig(), step) == pytest.approx(weight)


def test_a_constant_weight_counts_from_the_first_step():
    assert context_weight(ContextLossConfig(weight=0.7, warmup_start=0, warmup_end=0), 0) == 0.7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": 0.0}, r"weight is 0\.0"),
        ({"warmup_end": 10}, "15000 .* 10"),
        ({"warmup_start": -1}, "-1"),
    ],
)
def test_an_impossible_context_loss_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        ContextLossConfig(**fields)
