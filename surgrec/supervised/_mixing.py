"""Mixup, CutMix and label smoothing of clips, by timm."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64
from timm.data.mixup import Mixup, mixup_target
from torch import Tensor

from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """Mixtures of pairs of clips and of their labels. Defaults are VideoMAE's fine-tuning.

    Source: arXiv:2203.12602, table 9; mixup arXiv:1710.09412; CutMix arXiv:1905.04899.
    """

    mixup: Annotated[float, Range(0, 100)] = 0.8
    """Both parameters of the Beta distribution of a mixup's share; 0 disables mixup."""
    cutmix: Annotated[float, Range(0, 100)] = 1.0
    """Those of a CutMix's area; 0 disables CutMix. Of the two, each batch draws one."""
    label_smoothing: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of a label that is spread over all classes."""

    def __post_init__(self) -> None:
        check_ranges(self)


def mixed(
    clips: Float[Tensor, "b c t h w"],
    labels: Int64[Tensor, " b"],
    config: MixingConfig,
    *,
    num_classes: int,
    seed: int,
) -> tuple[Float[Tensor, "b c t h w"], Float[Tensor, "b k"]]:
    """Return mixed clips and the share of each class in them.

    Each clip is mixed with its mirror in the batch. A batch of an odd number, which lost a window
    that could not be read, is not mixed.

    Args:
        clips: Clips, which may be overwritten.
        labels: Their classes, on the same device.
        config: The mixtures.
        num_classes: Number of classes.
        seed: Key of the random numbers.
    """
    if len(clips) % 2 or not len(clips) or not (config.mixup or config.cutmix):
        smooth = config.label_smoothing
        targets = mixup_target(labels, num_classes, smoothing=smooth)  # type: ignore[no-untyped-call]
        return clips, targets

    mixup = Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=config.mixup,
        cutmix_alpha=config.cutmix,
        label_smoothing=config.label_smoothing,
        num_classes=num_classes,
    )
    # timm draws from numpy's global generator, which keeps its state.
    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        frames = clips.shape[2]
        pictures, targets = mixup(rearrange(clips, "b c t h w -> b (c t) h w"), labels)
    finally:
        np.random.set_state(state)
    return rearrange(pictures, "b (c t) h w -> b c t h w", t=frames), targets


def soft_losses(
    outputs: Float[Tensor, "b k"], targets: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """Return the cross-entropy of each clip with shares of classes."""
    losses: Float[Tensor, " b"] = -(targets * torch.log_softmax(outputs.float(), -1)).sum(-1)
    return losses
