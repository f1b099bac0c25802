"""The targets of windows, and the loss of each window."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

TargetKind: TypeAlias = Literal["class", "labels", "value"]
"""`class`: one class per window; `labels`: any number of labels per window; `value`: a number."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The targets of some windows, on the CPU."""

    kind: TargetKind
    values: Shaped[Tensor, "n ..."]
    """`class`: int64 `[n]`; `labels`: 0 or 1, float32 `[n, k]`; `value`: float32 `[n]`, in units
    of `scale` from `offset`."""
    num_outputs: int
    """Outputs of a head: classes, labels, or 1."""
    offset: float = 0.0
    """Mean of a regression's train values."""
    scale: float = 1.0
    """Standard deviation of a regression's train values."""

    @classmethod
    def of_classes(cls, labels: Int64[Tensor, " n"], num_classes: int) -> "Targets":
        """Return targets for the cross-entropy of one class per window."""
        return cls(kind="class", values=labels, num_outputs=num_classes)

    @classmethod
    def of_labels(cls, labels: Shaped[Tensor, "n k"]) -> "Targets":
        """Return targets for the binary cross-entropy of each label."""
        return cls(kind="labels", values=labels.float(), num_outputs=labels.shape[1])

    @classmethod
    def of_values(cls, values: Float[Tensor, " n"]) -> "Targets":
        """Return targets for the squared error of standardized values."""
        offset, scale = float(values.mean()), float(values.std(correction=0)) or 1.0
        return cls(
            kind="value",
            values=((values - offset) / scale).float(),
            num_outputs=1,
            offset=offset,
            scale=scale,
        )

    def probabilities(self, outputs: Float[Tensor, "... k"]) -> Float[Tensor, "... k"]:
        """Return the probability of each class or label."""
        values: Float[Tensor, "... k"] = (
            outputs.softmax(-1) if self.kind == "class" else torch.sigmoid(outputs)
        )
        return values

    def numbers(self, outputs: Float[Tensor, "... 1"]) -> Float[Tensor, "..."]:
        """Return the predicted numbers of a regression, in the units of its labels."""
        values: Float[Tensor, ...] = outputs[..., 0].double() * self.scale + self.offset
        return values


def window_losses(
    outputs: Float[Tensor, "b k"], targets: Targets, windows: Int64[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """Return the loss of each window.

    Args:
        outputs: Of a head, for these windows.
        targets: Of all windows.
        windows: Indices of the windows, on the CPU.

    Returns:
        Cross-entropy; the sum of binary cross-entropies over labels; or the squared error.
    """
    wanted = targets.values[windows].to(outputs.device)
    outputs = outputs.float()
    losses: Float[Tensor, " b"]
    if targets.kind == "class":
        losses = F.cross_entropy(outputs, wanted, reduction="none")
    elif targets.kind == "labels":
        losses = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none").sum(1)
    else:
        losses = (outputs[:, 0] - wanted).square()
    return losses
