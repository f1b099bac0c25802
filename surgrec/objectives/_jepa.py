"""V-JEPA's objective: predict features of hidden tubelets from visible ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import (
    LONG_RANGE,
    SHORT_RANGE,
    GroupMasks,
    Masks,
    MultiblockConfig,
    Trim,
    TubeletGrid,
    batch_masks,
)
from surgrec.models import Encoder, EncoderConfig, Predictor, PredictorConfig, State
from surgrec.models.predictor import fit_mask_tokens
from surgrec.models.tokens import ids_on_device, take_tokens
from surgrec.objectives._context_loss import ContextLossConfig, context_weight, nearness
from surgrec.objectives._flops import jepa_flops_per_clip
from surgrec.objectives._nearest import nearest_tokens
from surgrec.objectives._objective import HeadWeights, Objective
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class JepaObjectiveConfig:
    """Masks, predictor and losses. Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1)."""

    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """Size of the predictor."""

    masks: tuple[MultiblockConfig, ...] = (SHORT_RANGE, LONG_RANGE)
    """Mask configurations; every clip is masked by each of them."""

    mask_group: Annotated[int, Range(1, 10**6)] = 24
    """Consecutive positions that share a block size and mask lengths; the published batch per
    GPU."""

    trim: Trim = "prefix"
    """Tokens that are kept when masks of a group differ in length: the `prefix`, as published, or
    an unbiased `random` subset."""

    context: ContextLossConfig | None = None
    """V-JEPA 2.1's loss on visible tubelets, for a predictor with a `context_head`. None, as in
    V-JEPA 1 and 2: no such loss."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.masks:
            raise ConfigError("masks is empty; give at least one mask configuration")
        if (self.context is not None) != self.predictor.context_head:
            given, lacking = "context", "predictor.context_head"
            if self.context is None:
                given, lacking = lacking, given
            raise ConfigError(
                f"{given} is given without {lacking}; give both, as in V-JEPA 2.1, or neither"
            )


class JepaLosses(TypedDict):
    """Losses of one batch, from `JepaObjective`."""

    loss: Float[Tensor, ""]
    """Mean over the clips of the batch: the loss to minimize."""

    loss_per_sample: Float[Tensor, " b"]
    """Loss of each clip, without gradient."""


class JepaObjective(nn.Module, Objective):
    """The trained half of a JEPA: context encoder, predictor and loss.

    The target encoder is not part of it: the recipe keeps it as a moving average of the encoder.

    Example:
        >>> objective = JepaObjective(encoder, config)
        >>> masks = jepa_masks(config, encoder.config.grid, seed=0, positions=np.arange(8))
        >>> losses = objective(clips, target_features(target_encoder, clips), masks, step=0)
        >>> losses["loss"].backward()
    """

    head_name: ClassVar[str] = "predictor"

    def __init__(self, encoder: Encoder, config: JepaObjectiveConfig) -> None:
        super().__init__()
        self.context = config.context
        self._has_fixed_shapes = all(mask.lengths for mask in config.masks)
        self.encoder = encoder
        self.predictor = Predictor(
            config.predictor, encoder.config, num_mask_configs=len(config.masks)
        )

    def forward(
        self,
        clips: Float[Tensor, "b c t h w"],
        targets: Float[Tensor, "b n e"],
        masks: Sequence[GroupMasks],
        step: int = 0,
    ) -> JepaLosses:
        """Return the L1 distance between predicted features and layer-normalized target features.

        It covers hidden tubelets and, with a context loss, visible ones. The loss is a mean over
        tokens and channels, then over mask configurations, then over clips: a clip has the same
        weight in every mask group and on every rank.

        Args:
            clips: Normalized frames.
            targets: From `target_features`, for the same clips.
            masks: From `jepa_masks`. Their groups cover the rows of the batch in order.
            step: Step of the run. It sets the weight of the context loss.
        """
        tokens = self.encoder.embed(clips)

        losses = []
        for group in masks:
            per_config = [
                self._clip_losses(tokens[group.rows], targets[group.rows], mask, mask_config, step)
                for mask_config, mask in enumerate(group.masks)
            ]
            losses.append(torch.stack(per_config).mean(dim=0))

        loss_per_sample = torch.cat(losses)
        assert len(loss_per_sample) == len(clips), "the mask groups cover the batch"
        return {"loss": loss_per_sample.mean(), "loss_per_sample": loss_per_sample.detach()}

    @property
    def head(self) -> Predictor:
        """The predictor."""
        return self.predictor

    @property
    def has_fixed_shapes(self) -> bool:
        """Whether every mask configuration has `lengths`."""
        return self._has_fixed_shapes

    def head_options(self) -> Mapping[str, int]:
        """Return heads and depth of the predictor. See `Objective.head_options`."""
        config = self.predictor.config
        return {"predictor_heads": config.num_heads, "predictor_depth": config.depth}

    def head_mismatch(self, saved: PredictorConfig, saved_encoder: EncoderConfig) -> str | None:
        """Return why a pretrained predictor does not fit. See `Objective.head_mismatch`."""
        return self.predictor.config.weight_differences(saved)

    def fit_head_weights(self, tensors: State) -> HeadWeights:
        """Return predictor tensors with mask tokens for this run's mask configurations."""
        stored, num_slots = tensors["mask_tokens"], len(self.predictor.mask_tokens)
        mask_tokens, repeated = fit_mask_tokens(stored, num_slots)

        change = None
        if repeated is not None:
            change = (
                f"mask token {repeated} of {len(stored)}, which has the largest norm, initializes "
                f"every mask token of the run ({num_slots})"
            )
        return HeadWeights(tensors={**tensors, "mask_tokens": mask_tokens}, change=change)

    def flops(self, masks: Sequence[GroupMasks]) -> float:
        """Return the floating-point operations of one training step on a batch with these masks."""
        total = 0.0
        for group in masks:
            kept = [
                (mask.context_index.shape[1], mask.target_index.shape[1]) for mask in group.masks
            ]
            total += (group.rows.stop - group.rows.start) * jepa_flops_per_clip(
                self.encoder.config, self.predictor.config, kept
            )
        return total

    @torch.no_grad()
    def diagnostics(
        self, targets: Float[Tensor, "b n e"], masks: Sequence[GroupMasks], step: int = 0
    ) -> dict[str, float]:
        """Return numbers of tokens, and the losses of three trivial predictors.

        `context_tokens` and `target_tokens` are means per clip and mask configuration.
        `zero_baseline_loss` is the loss of predicting zero, `mean_baseline_loss` that of predicting
        the mean target of these clips, and `copy_baseline_loss` that of copying the target of the
        nearest visible tubelet. They are computed as the loss itself. A predictor that learns is
        below the second one; one that knows more than its surroundings is below the third.

        Args:
            targets: From `target_features`.
            masks: From `jepa_masks`, for the same clips.
            step: Step of the run. It sets the weight of the context loss.
        """
        # The mean over groups, weighted by their samples.
        kept = np.average(
            [
                [(mask.context_index.shape[1], mask.target_index.shape[1]) for mask in group.masks]
                for group in masks
            ],
            axis=0,
            weights=[group.rows.stop - group.rows.start for group in masks],
        ).mean(axis=0)

        losses = self._trivial_losses(targets, masks, step)
        return {
            "context_tokens": float(kept[0]),
            "target_tokens": float(kept[1]),
            "zero_baseline_loss": losses[0],
            "mean_baseline_loss": losses[1],
            "copy_baseline_loss": losses[2],
        }

    def _trivial_losses(
        self, targets: Float[Tensor, "b n e"], masks: Sequence[GroupMasks], step: int
    ) -> list[float]:
        """Return the losses of predicting zero, the mean, and the nearest visible tubelet."""
        sums = [self._normalized(targets[group.rows]).sum(dim=(0, 1)) for group in masks]
        mean = torch.stack(sums).sum(dim=0) / targets[..., 0].numel()

        losses = []
        for group in masks:
            own = targets[group.rows]
            for mask in group.masks:
                context_index = ids_on_device(mask.context_index, own.device)
                target_index = ids_on_device(mask.target_index, own.device)
                _, nearest = nearest_tokens(self.encoder.config.grid, target_index, context_index)

                # Predictions of hidden tubelets and of visible ones, which copying finds exactly.
                copied = self._normalized(take_tokens(own, nearest))
                visible = self._normalized(take_tokens(own, context_index))
                trivial = ((torch.zeros_like(mean),) * 2, (mean, mean), (copied, visible))
                per_predictor = [
                    self._errors_per_clip(*each, own, context_index, target_index, step)
                    for each in trivial
                ]
                losses.append(torch.stack(per_predictor) / len(group.masks))
        return (torch.cat(losses, dim=1).sum(dim=1) / len(targets)).tolist()

    def _clip_losses(
        self,
        tokens: Float[Tensor, "b n d"],
        targets: Float[Tensor, "b n e"],
        masks: Masks,
        mask_config: int,
        step: int,
    ) -> Float[Tensor, " b"]:
        """Return the loss of each clip under one mask configuration."""
        context_index = ids_on_device(masks.context_index, tokens.device)
        target_index = ids_on_device(masks.target_index, tokens.device)
        context = self.encoder.encode_levels(tokens, context_index)

        visible = None
        if self.context is None:
            hidden = self.predictor(context, context_index, target_index, mask_config)
        else:
            hidden, visible = self.predictor.predict_with_context(
                context, context_index, target_index, mask_config
            )
        return self._errors_per_clip(hidden, visible, targets, context_index, target_index, step)

    def _errors_per_clip(
        self,
        hidden: Float[Tensor, "... e"],
        visible: Float[Tensor, "... e"] | None,
        targets: Float[Tensor, "b n e"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        step: int,
    ) -> Float[Tensor, " b"]:
        """Return the loss of each clip for predictions of its hidden and its visible tubelets."""
        hidden_loss = _per_clip(self._errors(hidden, targets, target_index))
        if self.context is None or visible is None:
            return hidden_loss

        # V-JEPA 2.1: visible tubelets count too, less the farther they are from hidden ones.
        context_errors = self._errors(visible, targets, context_index)
        if self.context.by_distance:
            near = nearness(self.encoder.config.grid, context_index, target_index)
            context_errors = context_errors * rearrange(near, "b k -> b k 1")
        return hidden_loss + context_weight(self.context, step) * _per_clip(context_errors)

    def _errors(
        self,
        predictions: Float[Tensor, "... e"],
        targets: Float[Tensor, "b n e"],
        index: Int64[Tensor, "b k"],
    ) -> Float32[Tensor, "b k e"]:
        """Return distances of predictions from the normalized targets with these ids."""
        # Gather before the norm: a third to a half of the targets is not needed.
        return (predictions.float() - self._normalized(take_tokens(targets, index))).abs()

    def _normalized(self, targets: Float[Tensor, "b k e"]) -> Float32[Tensor, "b k e"]:
        """Return targets with a layer norm without weights, each level separately."""
        levels = rearrange(
            targets.float(), "b k (level d) -> b k level d", d=self.encoder.config.width
        )
        normalized = F.layer_norm(levels, levels.shape[-1:])
        return rearrange(normalized, "b k level d -> b k (level d)")


def _per_clip(errors: Float32[Tensor, "b k e"]) -> Float32[Tensor, " b"]:
    """Return the mean over tokens and channels."""
    mean: Float32[Tensor, " b"] = reduce(errors, "b k e -> b", "mean")
    return mean


def jepa_masks(
    config: JepaObjectiveConfig, grid: TubeletGrid, *, seed: int, positions: Int64[np.ndarray, " b"]
) -> list[GroupMasks]:
    """Return the masks of the samples at these positions, one entry per mask group.

    Args:
        config: Mask configurations, group size and trim.
        grid: Grid of the clips.
        seed: Seed of the run.
        positions: Positions of the batch in the stream, ascending.
    """
    return batch_masks(
        grid,
        config.masks,
        seed=seed,
        positions=positions,
        mask_group=config.mask_group,
        trim=config.trim,
    )


@torch.no_grad()
def target_features(
    target_encoder: Encoder, clips: Float[Tensor, "b c t h w"]
) -> Float[Tensor, "b n e"]:
    """Return the predictor's targets: features of all tokens and levels, without gradient."""
    return target_encoder.encode_levels(target_encoder.embed(clips))
