"""Features with mean 0 and variance 1 on the windows that are fitted."""

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

_ROWS = 8192  # Rows at a time in float64: 67 MB for 1,024 features.


def standardized(
    train: Float32[Tensor, "n d"], *others: Float32[Tensor, "_ d"]
) -> tuple[Float32[Tensor, "_ d"], ...]:
    """Return features in units of the standard deviation of the train windows.

    Args:
        train: Features that define mean and deviation.
        others: Features that are moved and scaled in the same way.
    """
    mean, scale = moments(train)
    return tuple(
        torch.cat([((rows.double() - mean) / scale).float() for rows in torch.split(values, _ROWS)])
        for values in (train, *others)
    )


def moments(
    values: Float32[Tensor, "n d"],
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
    """Return mean and standard deviation of each feature; the deviation of a constant one is 1.

    A feature is constant if its variance is within the rounding of float64, as in scikit-learn's
    StandardScaler.
    """
    blocks = torch.split(values, _ROWS)
    mean = torch.stack([rows.double().sum(0) for rows in blocks]).sum(0) / len(values)
    squares = [(rows.double() - mean).square().sum(0) for rows in blocks]
    variance = torch.stack(squares).sum(0) / len(values)

    smallest = len(values) * torch.finfo(torch.float64).eps
    constant = variance <= smallest * variance + (smallest * mean).square()
    return mean, torch.where(constant, 1.0, variance.sqrt())
