"""The rows of folds. Sums over rows that several folds share are computed once."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

ROWS = 8192
"""Rows of a block. Its products stay in the cache of the processor."""


def fold_members(
    fitted: Sequence[Int64[np.ndarray, " _"]], values: Float32[Tensor, "n d"]
) -> Bool[Tensor, "folds n"]:
    """Return which rows each fold fits, on the device of the features.

    Args:
        fitted: Numbers of the rows that each fold fits.
        values: Features of all rows.
    """
    members = torch.zeros(len(fitted), len(values), dtype=torch.bool)
    for member, rows in zip(members, fitted, strict=True):
        member[torch.from_numpy(rows)] = True
    return members.to(values.device)


def blocks_of_folds(
    folds: Bool[Tensor, "folds n"],
) -> Iterator[tuple[Bool[Tensor, " folds"], Int64[Tensor, " b"]]]:
    """Yield blocks of rows, and the folds that have these rows. Each row is yielded once.

    Args:
        folds: Rows of each fold.
    """
    groups, group = torch.unique(folds.T, dim=0, return_inverse=True)
    for number, members in enumerate(groups):
        for rows in torch.split(torch.where(group == number)[0], ROWS):
            yield members, rows
