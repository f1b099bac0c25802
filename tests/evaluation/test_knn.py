"""Scores of the k-nearest-neighbor probe."""

import math

import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.evaluation.probes.knn import knn_scores

TRAIN = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0], [-3.0, 0.0]])
LABELS = torch.tensor([0, 1, 1, 2])


def test_votes_equal_a_calculation_by_hand() -> None:
    """Cosines to (3, 0) are 1, 0, 1/sqrt 2, -1; the two nearest are the first and the third."""
    scores = knn_scores(
        TRAIN, LABELS, torch.tensor([[3.0, 0.0]]), num_classes=3, k=2, temperature=0.5
    )
    torch.testing.assert_close(scores, torch.tensor([[math.exp(2), math.exp(math.sqrt(2)), 0.0]]))


def test_votes_for_the_same_class_add_up() -> None:
    scores = knn_scores(
        TRAIN, LABELS, torch.tensor([[3.0, 0.0]]), num_classes=3, k=3, temperature=0.5
    )
    torch.testing.assert_close(
        scores, torch.tensor([[math.exp(2), math.exp(math.sqrt(2)) + 1, 0.0]])
    )


def test_all_neighbors_vote_if_fewer_than_k_exist() -> None:
    few, many = (knn_scores(TRAIN, LABELS, TRAIN, num_classes=3, k=k) for k in (4, 100))
    assert torch.equal(few, many)
    assert few.argmax(dim=1).tolist() == LABELS.tolist()


def test_a_row_scores_the_same_alone_and_among_many() -> None:
    test = torch.randn(2500, 2, generator=torch.Generator().manual_seed(0))
    together = knn_scores(TRAIN, LABELS, test, num_classes=3, k=2)
    alone = torch.cat(
        [
            knn_scores(TRAIN, LABELS, test[row : row + 1], num_classes=3, k=2)
            for row in range(0, 2500, 500)
        ]
    )
    torch.testing.assert_close(together[::500], alone)
    assert together.shape == (2500, 3)


def test_zero_neighbors_and_zero_votes_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 training features"):
        knn_scores(TRAIN[:0], LABELS[:0], TRAIN, num_classes=3)
    with pytest.raises(ConfigError, match="k 0"):
        knn_scores(TRAIN, LABELS, TRAIN, num_classes=3, k=0)
