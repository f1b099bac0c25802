"""Principal components of features, fitted on the train windows alone."""

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from surgrec.evaluation.probes.folds import ROWS
from surgrec.evaluation.probes.standardize import standardized

_SMALLEST = 1e-10
"""Variance of a component, relative to the first one, below which it is rounding."""


def principal_components(
    count: int, train: Float32[Tensor, "n d"], *others: Float32[Tensor, "_ d"]
) -> tuple[Float32[Tensor, "_ k"], ...]:
    """Return the first principal components of standardized features.

    Args:
        count: Number of components; fewer if the train windows vary in fewer directions.
        train: Features that define mean, deviation and components.
        others: Features that are projected in the same way.
    """
    values = standardized(train, *others)
    eigenvalues, basis = _eigenvectors(values[0])
    varying = int((eigenvalues > _SMALLEST * eigenvalues[-1]).sum())
    first = basis[:, -max(1, min(count, varying)) :].flip(1).float()
    return tuple(each @ first for each in values)


def _eigenvectors(
    rows: Float32[Tensor, "n d"],
) -> tuple[Float64[Tensor, " _"], Float64[Tensor, "d _"]]:
    """Return the ascending eigenvalues of the scatter matrix of rows, and its eigenvectors.

    For fewer rows than features, they are those of the smaller matrix of products of rows.
    """
    number, width = rows.shape
    if number < width:
        values, vectors = torch.linalg.eigh(rows.double() @ rows.double().T)
        basis = rows.double().T @ vectors
        return values, basis / basis.norm(dim=0).clamp_min(torch.finfo(basis.dtype).tiny)

    scatter = torch.zeros(width, width, dtype=torch.float64).to(rows.device)
    for block in torch.split(rows, ROWS):
        scatter += block.double().T @ block.double()
    values, basis = torch.linalg.eigh(scatter)
    return values, basis
