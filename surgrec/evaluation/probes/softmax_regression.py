"""Logistic regressions for all folds and penalties of a grid, fitted at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from surgrec.evaluation.probes.folds import ROWS, blocks_of_folds
from surgrec.evaluation.probes.lbfgs import Evaluated, minimize

_CONSTANT = 1e-10
"""Variance below which a feature is constant within a fold; over all windows it is about 1."""
_ABSENT = -1e30
"""Logit of a class without a fitted row."""


@dataclass(frozen=True, kw_only=True)
class SoftmaxHeads:
    """Fitted regressions of each fold and penalty."""

    weight: Float64[Tensor, "folds grid d k"]
    bias: Float64[Tensor, "folds grid k"]
    converged: Bool[Tensor, "folds grid"]
    objective: Float64[Tensor, "folds grid"]
    """Mean loss of the fitted rows, plus the penalty."""
    iterations: int

    def probability(
        self, values: Float32[Tensor, "m d"], fold: int, index: int
    ) -> Float32[Tensor, "m k"]:
        """Return the probability of each class, from one of the regressions.

        Args:
            values: Features in the units of the fitted ones.
            fold: Number of the fold.
            index: Number of the penalty.
        """
        logits = values @ self.weight[fold, index].float() + self.bias[fold, index].float()
        return logits.softmax(1)


def fit_softmax(
    values: Float32[Tensor, "n d"],
    label: Int64[Tensor, " n"],
    folds: Bool[Tensor, "folds n"],
    c_grid: Sequence[float],
    *,
    num_classes: int,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> SoftmaxHeads:
    """Fit a multinomial logistic regression for every fold and every penalty.

    The objective is that of scikit-learn's `LogisticRegression` on features that are standardized
    within the fold: the mean cross-entropy of the fitted rows, plus |w|² / (2 C rows). With two
    classes the weights are half of the difference, as there. The intercept has no penalty. A class
    without a fitted row in the fold is never predicted.

    All heads share each matrix product. L-BFGS runs in coordinates in which the bound of the
    Hessian by Böhning (1992) is the identity, so that correlated features do not slow it down.

    Args:
        values: Features with mean 0 and variance 1 over all rows.
        label: Classes in [0, num_classes).
        folds: Rows that each fold fits; at least one.
        c_grid: Inverse strengths of the L2 penalty.
        num_classes: Number of classes.
        tolerance: Largest component of the gradient at which a head has converged.
        max_iterations: Iterations after which a head stops.
    """
    grid = _Grid.of(values, label, folds, c_grid, num_classes)
    heads, width = len(folds) * len(c_grid), values.shape[1]
    start = torch.zeros(heads, (width + 1) * num_classes, dtype=torch.float64).to(values.device)
    minimum = minimize(grid.evaluate, start, tolerance=tolerance, max_iterations=max_iterations)

    every_head = torch.arange(heads, device=values.device)
    weight, bias = grid.weights(*grid.parts(minimum.point, every_head), every_head)
    shape = {"folds": len(folds), "grid": len(c_grid)}
    return SoftmaxHeads(
        weight=rearrange(weight, "(folds grid) d k -> folds grid d k", **shape),
        bias=rearrange(bias, "(folds grid) k -> folds grid k", **shape),
        converged=rearrange(minimum.converged, "(folds grid) -> folds grid", **shape),
        objective=rearrange(minimum.value, "(folds grid) -> folds grid", **shape),
        iterations=minimum.iterations,
    )


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """The objectives of all heads: each penalty of the first fold, then of the second one, ...

    A point of a head holds its weights in the coordinates of `basis`, and its intercepts.
    """

    values: Float32[Tensor, "n d"]
    label: Int64[Tensor, " n"]
    fitted: Float32[Tensor, "n folds"]
    """1 / rows of the fold for the rows that it fits, else 0."""
    absent: Float32[Tensor, "folds k"]
    """`_ABSENT` for classes without a fitted row, else 0."""
    mean: Float64[Tensor, "folds d"]
    scale: Float64[Tensor, "folds d"]
    basis: Float64[Tensor, "folds d e"]
    """Eigenvectors of the correlations of each fold."""
    shrink: Float64[Tensor, "h e"]
    """Length of the coordinates of each head."""
    penalty: Float64[Tensor, " h"]
    fold: Int64[Tensor, " h"]

    @staticmethod
    def of(
        values: Float32[Tensor, "n d"],
        label: Int64[Tensor, " n"],
        folds: Bool[Tensor, "folds n"],
        c_grid: Sequence[float],
        num_classes: int,
    ) -> "_Grid":
        """Prepare the folds: their moments, correlations and coordinates."""
        rows = folds.sum(1)
        present = torch.stack(
            [torch.bincount(label[fold], minlength=num_classes) > 0 for fold in folds]
        )
        mean, scale, correlation = _moments(values, folds)
        eigenvalues, basis = torch.linalg.eigh(correlation)

        # |w|² / (2 C rows); two classes share the penalty of their difference.
        strength = 1 / (torch.tensor(c_grid, dtype=torch.float64).to(values.device) * rows[:, None])
        strength = strength * torch.where(present.sum(1) == 2, 2, 1)[:, None]
        penalty = rearrange(strength, "folds grid -> (folds grid)")
        fold = repeat(torch.arange(len(folds)), "folds -> (folds grid)", grid=len(c_grid))
        fold = fold.to(values.device)
        bound = 0.5 * eigenvalues.clamp(min=0)[fold] + penalty[:, None]

        return _Grid(
            values=values,
            label=label,
            fitted=rearrange(folds / rows[:, None], "folds n -> n folds").float().contiguous(),
            absent=torch.where(present, 0.0, _ABSENT).float(),
            mean=mean,
            scale=scale,
            basis=basis,
            shrink=bound.rsqrt(),
            penalty=penalty,
            fold=fold,
        )

    def parts(
        self, point: Float64[Tensor, "h p"], heads: Int64[Tensor, " h"]
    ) -> tuple[Float64[Tensor, "h d k"], Float64[Tensor, "h k"]]:
        """Return weights of standardized features and intercepts, from points."""
        both = rearrange(point, "h (d k) -> h d k", d=self.values.shape[1] + 1)
        shrunk = both[:, :-1] * self.shrink[heads, :, None]
        return self.basis[self.fold[heads]] @ shrunk, both[:, -1]

    def weights(
        self,
        standardized: Float64[Tensor, "h d k"],
        intercept: Float64[Tensor, "h k"],
        heads: Int64[Tensor, " h"],
    ) -> tuple[Float64[Tensor, "h d k"], Float64[Tensor, "h k"]]:
        """Return weights and intercepts for `values` as they are."""
        fold = self.fold[heads]
        weight = standardized / self.scale[fold, :, None]
        bias = intercept - torch.einsum("hd,hdk->hk", self.mean[fold], weight)
        return weight, bias + self.absent[fold]

    def evaluate(self, point: Float64[Tensor, "h p"], heads: Int64[Tensor, " h"]) -> Evaluated:
        """Return objective and gradient of some heads."""
        standardized, intercept = self.parts(point, heads)
        weight, bias = self.weights(standardized, intercept, heads)
        loss, weight_gradient, bias_gradient = self._loss(weight.float(), bias.float(), heads)

        # The gradient of `values` as they are, as one of standardized features.
        fold, penalty = self.fold[heads], self.penalty[heads]
        shift = torch.einsum("hd,hk->hdk", self.mean[fold], bias_gradient)
        gradient = (weight_gradient - shift) / self.scale[fold, :, None]
        gradient += penalty[:, None, None] * standardized
        value = loss + 0.5 * penalty * standardized.square().sum((1, 2))

        rotated = rearrange(self.basis[fold], "h d e -> h e d") @ gradient
        both = torch.cat([rotated * self.shrink[heads, :, None], bias_gradient[:, None]], dim=1)
        return Evaluated(
            point=point,
            value=value,
            gradient=rearrange(both, "h d k -> h (d k)"),
            error=torch.maximum(gradient.abs().amax((1, 2)), bias_gradient.abs().amax(1)),
        )

    def _loss(
        self,
        weight: Float32[Tensor, "h d k"],
        bias: Float32[Tensor, "h k"],
        heads: Int64[Tensor, " h"],
    ) -> tuple[Float64[Tensor, " h"], Float64[Tensor, "h d k"], Float64[Tensor, "h k"]]:
        """Return the mean loss over the fitted rows, and its gradients."""
        num_heads, _, num_classes = weight.shape
        columns = rearrange(weight, "h d k -> d (h k)").contiguous()
        offsets = rearrange(bias, "h k -> (h k)")
        fitted = self.fitted[:, self.fold[heads]]

        loss = torch.zeros(num_heads, dtype=torch.float64, device=weight.device)
        bias_gradient = torch.zeros_like(bias, dtype=torch.float64)
        weight_gradient = torch.zeros_like(columns)
        for start in range(0, len(self.values), ROWS):
            rows = slice(start, start + ROWS)
            values, label, share = self.values[rows], self.label[rows], fitted[rows]

            logits = torch.addmm(offsets, values, columns)
            log_shares = F.log_softmax(logits.view(-1, num_heads, num_classes), dim=2)
            of_label = repeat(label, "b -> b h 1", h=num_heads)
            losses = log_shares.gather(2, of_label)[:, :, 0]
            loss -= (losses * share).sum(0, dtype=torch.float64)

            residual = log_shares.exp_().scatter_add_(
                2, of_label, torch.full_like(losses, -1.0)[:, :, None]
            )
            residual *= share[:, :, None]
            bias_gradient += residual.sum(0, dtype=torch.float64)
            weight_gradient.addmm_(values.T, residual.view(len(values), -1))

        gradient = rearrange(weight_gradient, "d (h k) -> h d k", h=num_heads).double()
        return loss, gradient, bias_gradient


def _moments(
    values: Float32[Tensor, "n d"], folds: Bool[Tensor, "folds n"]
) -> tuple[Float64[Tensor, "folds d"], Float64[Tensor, "folds d"], Float64[Tensor, "folds d d"]]:
    """Return mean, deviation and correlations of the features within each fold."""
    width = values.shape[1]
    sums = torch.zeros(len(folds), width, dtype=torch.float64, device=values.device)
    squares = torch.zeros_like(sums)
    products = torch.zeros(len(folds), width, width, dtype=torch.float64, device=values.device)
    for members, rows in blocks_of_folds(folds):
        block = values[rows]
        precise = block.double()
        sums[members] += precise.sum(0)
        squares[members] += precise.square().sum(0)
        products[members] += (block.T @ block).double()

    count = folds.sum(1)[:, None]
    mean = sums / count
    variance = squares / count - mean.square()
    scale = torch.where(variance > _CONSTANT, variance.clamp(min=0).sqrt(), 1.0)
    covariance = products / count[:, :, None] - torch.einsum("fd,fe->fde", mean, mean)
    return mean, scale, covariance / torch.einsum("fd,fe->fde", scale, scale)
