"""Heads on few train cases: the weight of each window in their losses."""

import numpy as np
import torch

from surgrec.supervised._few_shot import subset_weights


def test_a_head_ignores_all_windows_outside_of_its_subset() -> None:
    subsets = [np.array([0, 2]), np.array([3])]
    weights = subset_weights(subsets, 4)
    assert weights.tolist() == [[2, 0, 2, 0], [0, 0, 0, 4]]


def test_the_weights_of_a_subset_keep_the_mean_loss_of_its_windows() -> None:
    losses = torch.tensor([1.0, 7.0, 3.0, 5.0])
    weights = subset_weights([np.array([0, 2])], 4)
    assert float((losses * weights[0]).mean()) == 2.0
