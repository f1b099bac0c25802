"""The folds of train cases, and the weight of each window in the loss of each head."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from sklearn.model_selection import GroupKFold
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.supervised._grid import HeadSetting


def fold_of_windows(cases: Int64[np.ndarray, " n"], num_folds: int) -> Int64[np.ndarray, " n"]:
    """Return the fold of each train window. The windows of a case are in one fold.

    Args:
        cases: Case of each window, as an index.
        num_folds: Number of folds.

    Raises:
        ConfigError: There are fewer cases than folds.
    """
    num_cases = len(np.unique(cases))
    if num_cases < num_folds:
        raise ConfigError(
            f"grid.folds is {num_folds}, but the train part has {num_cases} cases with labels; "
            "give fewer folds, or a split with a val part"
        )
    folds = np.empty(len(cases), dtype=np.int64)
    splits = GroupKFold(n_splits=num_folds).split(cases, groups=cases)
    for fold, (_, held_out) in enumerate(splits):
        folds[held_out] = fold
    return folds


def head_weights(
    settings: Sequence[HeadSetting], folds: Int64[np.ndarray, " n"] | None, num_windows: int
) -> Float32[Tensor, "heads n"]:
    """Return the weight of each train window in the loss of each head.

    A head ignores the windows of its fold. The others weigh more, so that the mean is 1.

    Args:
        settings: The settings of the heads.
        folds: Fold of each window; None without folds.
        num_windows: Number of train windows.
    """
    weights = torch.ones(len(settings), num_windows)
    for row, setting in enumerate(settings):
        if setting.fold is not None:
            assert folds is not None, "heads of folds come with folds"
            kept = torch.from_numpy(folds != setting.fold)
            weights[row] = kept * (num_windows / int(kept.sum()))
    return weights
