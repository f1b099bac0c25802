"""Ridge regressions for all folds and penalties of a grid, fitted at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from surgrec.evaluation.probes.folds import blocks_of_folds


@dataclass(frozen=True, kw_only=True)
class RidgeHeads:
    """Fitted regressions of each fold and penalty."""

    weight: Float64[Tensor, "folds d grid"]
    bias: Float64[Tensor, "folds grid"]

    def predict(self, values: Float32[Tensor, "m d"], fold: int) -> Float64[Tensor, "m grid"]:
        """Return the numbers that each regression of a fold predicts.

        Args:
            values: Features in the units of the fitted ones.
            fold: Number of the fold.
        """
        return values.double() @ self.weight[fold] + self.bias[fold]


def fit_ridge(
    values: Float32[Tensor, "n d"],
    numbers: Float64[Tensor, " n"],
    folds: Bool[Tensor, "folds n"],
    penalties: Sequence[float],
) -> RidgeHeads:
    """Fit a ridge regression for every fold and every penalty.

    The objective is that of scikit-learn's `Ridge`: the sum of squared errors of the fitted rows,
    plus penalty · |w|². The intercept has no penalty. One eigendecomposition of the covariance of a
    fold serves all penalties.

    Args:
        values: Features with means near 0.
        numbers: The number of each row.
        folds: Rows that each fold fits; at least one.
        penalties: Strengths of the L2 penalty, above 0.
    """
    mean, number_mean, covariance, product = _moments(values, numbers, folds)
    eigenvalues, basis = torch.linalg.eigh(covariance)

    # w = V (L + penalty)^-1 V' X'y, for all penalties.
    penalty = torch.tensor(penalties, dtype=torch.float64, device=values.device)
    shrunk = eigenvalues.clamp(min=0)[:, :, None] + penalty
    weight = basis @ (torch.einsum("fde,fd->fe", basis, product)[:, :, None] / shrunk)
    bias = number_mean[:, None] - torch.einsum("fd,fdg->fg", mean, weight)
    return RidgeHeads(weight=weight, bias=bias)


def _moments(
    values: Float32[Tensor, "n d"], numbers: Float64[Tensor, " n"], folds: Bool[Tensor, "folds n"]
) -> tuple[
    Float64[Tensor, "folds d"],
    Float64[Tensor, " folds"],
    Float64[Tensor, "folds d d"],
    Float64[Tensor, "folds d"],
]:
    """Return the means of features and numbers, and sums of their centered products."""
    width, count = values.shape[1], folds.sum(1)
    sums = torch.zeros(len(folds), width, dtype=torch.float64, device=values.device)
    number_sum, products, product = sums[:, 0].clone(), sums.new_zeros(*sums.shape, width), sums * 0
    for members, rows in blocks_of_folds(folds):
        block, known = values[rows].double(), numbers[rows]
        sums[members] += block.sum(0)
        number_sum[members] += known.sum()
        products[members] += block.T @ block
        product[members] += block.T @ known

    mean, number_mean = sums / count[:, None], number_sum / count
    products -= torch.einsum("fd,fe->fde", sums, mean)
    return mean, number_mean, products, product - sums * number_mean[:, None]
