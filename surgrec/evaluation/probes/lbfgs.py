"""L-BFGS on many independent convex functions at once.

torch.optim.LBFGS and scipy minimize one function. Here every evaluation serves all heads of a grid,
so that one matrix product replaces one per head.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

_MEMORY = 10
"""Steps from which the curvature is estimated."""
_DECREASE = 1e-4
"""Share of the linear decrease that a step must reach (Armijo)."""
_ROUNDING = 1e-7
"""Relative error of a value, as losses are computed in float32."""
_MOST_CUTS = 20
"""Times that a step is shortened."""
_PATIENCE = 10
"""Iterations after which a head stops whose value decreases by less than its rounding."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Points, one per head, with the values and gradients of their functions."""

    point: Float64[Tensor, "h p"]
    value: Float64[Tensor, " h"]
    gradient: Float64[Tensor, "h p"]
    error: Float64[Tensor, " h"]
    """Distance from the minimum, in the unit of the tolerance."""

    def at(self, heads: Tensor) -> "Evaluated":
        """Return some of the heads."""
        return Evaluated(**{name: value[heads] for name, value in vars(self).items()})

    def replace(self, heads: Int64[Tensor, " g"], other: "Evaluated") -> None:
        """Overwrite some of the heads."""
        for name, value in vars(self).items():
            value[heads] = vars(other)[name]


Evaluate = Callable[[Float64[Tensor, "h p"], Int64[Tensor, " h"]], Evaluated]
"""Evaluates the functions of some heads: one point for each, and their numbers."""


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The results of `minimize`."""

    point: Float64[Tensor, "h p"]
    value: Float64[Tensor, " h"]
    converged: Bool[Tensor, " h"]
    """Whether the error is within the tolerance."""
    iterations: int
    """Iterations until the last head was done."""


@dataclass(frozen=True)
class _Pair:
    """One step of each head, and the change of its gradient."""

    step: Float64[Tensor, "h p"]
    change: Float64[Tensor, "h p"]
    inverse: Float64[Tensor, " h"]
    """1 / (step · change); 0 leaves the pair out."""

    def at(self, heads: Tensor) -> "_Pair":
        return _Pair(self.step[heads], self.change[heads], self.inverse[heads])


def minimize(
    evaluate: Evaluate,
    start: Float64[Tensor, "h p"],
    *,
    tolerance: float,
    max_iterations: int,
) -> Minimum:
    """Minimize one strictly convex function per head. Heads that are done cost nothing more.

    Args:
        evaluate: The functions.
        start: First point of each head. The functions should be scaled so that a step of the length
            of the gradient is of the right size.
        tolerance: Error at which a head is done.
        max_iterations: Iterations after which all heads are done. A head whose value decreases by
            less than its rounding over several iterations is done earlier.

    Source: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 3.1.
    """
    heads = torch.arange(len(start), device=start.device)
    current = evaluate(start.clone(), heads)
    final = current.at(heads)
    pairs: deque[_Pair] = deque(maxlen=_MEMORY)
    values = deque([current.value], maxlen=_PATIENCE + 1)
    stuck = torch.zeros_like(heads, dtype=torch.bool)

    iteration = 0
    while iteration < max_iterations:
        # Leave out the heads that are done.
        open_ = (current.error > tolerance) & ~stuck
        if not bool(open_.all()):
            current, heads = current.at(open_), heads[open_]
            pairs = deque((pair.at(open_) for pair in pairs), maxlen=_MEMORY)
            values = deque((value[open_] for value in values), maxlen=_PATIENCE + 1)
        if not len(heads):
            break

        direction = -_times_inverse_hessian(current.gradient, pairs)
        after, stuck = _line_search(evaluate, current, direction, heads)
        pairs.append(_pair(current, after))
        final.replace(heads, after)
        current = after
        iteration += 1

        # Rounding hides the rest of the way.
        values.append(current.value)
        if len(values) > _PATIENCE:
            stuck |= values[0] - current.value <= _ROUNDING * current.value.abs()

    return Minimum(
        point=final.point,
        value=final.value,
        converged=final.error <= tolerance,
        iterations=iteration,
    )


def _times_inverse_hessian(
    gradient: Float64[Tensor, "h p"], pairs: deque[_Pair]
) -> Float64[Tensor, "h p"]:
    """Return the product of the estimated inverse Hessian and the gradient (algorithm 7.4)."""
    result = gradient.clone()
    weights = []
    for pair in reversed(pairs):
        weight = pair.inverse * (pair.step * result).sum(1)
        result -= weight[:, None] * pair.change
        weights.append(weight)
    if pairs:
        result *= _curvature(pairs[-1])[:, None]
    for pair, weight in zip(pairs, reversed(weights), strict=True):
        result += (weight - pair.inverse * (pair.change * result).sum(1))[:, None] * pair.step
    return result


def _curvature(pair: _Pair) -> Float64[Tensor, " h"]:
    """Return the inverse curvature along the last step; 1 if it is unknown."""
    known = pair.inverse > 0
    squared = pair.change.square().sum(1)
    return torch.where(known, 1 / (pair.inverse * squared).where(known, 1.0), 1.0)


def _pair(before: Evaluated, after: Evaluated) -> _Pair:
    step, change = after.point - before.point, after.gradient - before.gradient
    product = (step * change).sum(1)
    # Rounding may hide the curvature of a tiny step.
    known = product > 1e-10 * step.norm(dim=1) * change.norm(dim=1)
    return _Pair(step, change, torch.where(known, 1 / product.where(known, 1.0), 0.0))


def _line_search(
    evaluate: Evaluate,
    before: Evaluated,
    direction: Float64[Tensor, "h p"],
    heads: Int64[Tensor, " h"],
) -> tuple[Evaluated, Bool[Tensor, " h"]]:
    """Return points with a sufficient decrease, and the heads for which there is none."""
    slope = (before.gradient * direction).sum(1)
    slack = _ROUNDING * before.value.abs()
    length = torch.ones_like(slope)
    after = evaluate(before.point + direction, heads)

    for _ in range(_MOST_CUTS):
        limit = before.value + _DECREASE * length * slope + slack
        (long,) = torch.where(~(after.value <= limit))
        if not len(long):
            break
        length[long] *= _cut(before, after, slope, length)[long]
        points = before.point[long] + length[long, None] * direction[long]
        after.replace(long, evaluate(points, heads[long]))

    stuck = ~(after.value <= before.value + slack)
    after.replace(torch.where(stuck)[0], before.at(stuck))
    return after, stuck


def _cut(
    before: Evaluated,
    after: Evaluated,
    slope: Float64[Tensor, " h"],
    length: Float64[Tensor, " h"],
) -> Float64[Tensor, " h"]:
    """Return the factor to the minimum of the parabola through both values, in [0.1, 0.5]."""
    excess = after.value - before.value - length * slope
    return (-length * slope / (2 * excess)).nan_to_num(0.1).clamp(0.1, 0.5)
