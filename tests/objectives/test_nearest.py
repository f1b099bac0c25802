import torch

from surgrec.masks import TubeletGrid
from surgrec.models.tokens import token_coordinates
from surgrec.objectives._nearest import nearest_of_all, nearest_tokens

GRID = TubeletGrid(4, 5, 6)


def test_the_nearest_token_is_that_of_all_pairs():
    torch.manual_seed(0)
    is_other = torch.rand(8, GRID.num_tokens) < torch.linspace(0.01, 0.7, 8)[:, None]
    is_other[:, 0] = True
    squared, nearest = (
        each.flatten(1) for each in nearest_of_all(is_other.unflatten(1, (4, 5, 6)))
    )
    coordinates = token_coordinates(GRID).float()
    for row, others, ids in zip(squared, is_other, nearest, strict=True):
        torch.testing.assert_close(
            row, torch.cdist(coordinates, coordinates[others]).square().amin(dim=1)
        )
        assert others[ids].all()
        torch.testing.assert_close(row, (coordinates - coordinates[ids]).square().sum(dim=1))


def test_each_clip_has_its_own_nearest_tokens():
    index = torch.tensor([[1, 2], [1, 2]])
    squared, nearest = nearest_tokens(GRID, index, torch.tensor([[2, 40], [5, 0]]))
    assert nearest.tolist() == [[2, 2], [0, 0]]
    assert squared.tolist() == [[1.0, 0.0], [1.0, 4.0]]
