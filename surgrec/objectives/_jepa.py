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
from surgrec.objectives._flops import block_flops, embedding_flops
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
        self, targets: Float[Tensor, "b n e"], masks: Sequence[GroupMasks]
    ) -> dict[str, float]:
        """Return numbers of tokens, and the losses of two predictors that see no clip.

        `context_tokens` and `target_tokens` are means per clip and mask configuration.
        `zero_baseline_loss` is that of predicting zero, `mean_baseline_loss` that of predicting the
        mean target, both over all tokens of these clips. The loss of a predictor that learns is
        below the second one. With a loss on visible tubelets, the losses cannot be compared, so the
        baselines are left out.

        Args:
            targets: From `target_features`.
            masks: From `jepa_masks`, for the same clips.
        """
        kept = np.average(
            [
                [(mask.context_index.shape[1], mask.target_index.shape[1]) for mask in group.masks]
                for group in masks
            ],
            axis=0,
            weights=[group.rows.stop - group.rows.start for group in masks],
        ).mean(axis=0)
        numbers = {"context_tokens": float(kept[0]), "target_tokens": float(kept[1])}
        if self.context is not None:
            return numbers

        width = self.encoder.config.width
        levels = rearrange(targets.float(), "b n (level d) -> (b n) level d", d=width)
        normalized = F.layer_norm(levels, (width,))
        return numbers | {
            "zero_baseline_loss": float(normalized.abs().mean()),
            "mean_baseline_loss": float((normalized - normalized.mean(dim=0)).abs().mean()),
        }

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

        if self.context is None:
            predictions = self.predictor(context, context_index, target_index, mask_config)
            return _per_clip(self._errors(predictions, targets, target_index))

        # V-JEPA 2.1: visible tubelets count too, less the farther they are from hidden ones.
        predictions, visible = self.predictor.predict_with_context(
            context, context_index, target_index, mask_config
        )
        context_errors = self._errors(visible, targets, context_index)
        if self.context.by_distance:
            near = nearness(self.encoder.config.grid, context_index, target_index)
            context_errors = context_errors * rearrange(near, "b k -> b k 1")

        hidden_loss = _per_clip(self._errors(predictions, targets, target_index))
        return hidden_loss + context_weight(self.context, step) * _per_clip(context_errors)

    def _errors(
        self,
        predictions: Float[Tensor, "b k e"],
        targets: Float[Tensor, "b n e"],
        index: Int64[Tensor, "b k"],
    ) -> Float32[Tensor, "b k e"]:
        """Return distances of predictions from the targets with these ids.

        Each level of the targets is normalized separately.
        """
        # Gather before the norm: a third to a half of the targets is not needed.
        gathered = rearrange(
            take_tokens(targets, index).float(),
            "b k (level d) -> b k level d",
            d=self.encoder.config.width,
        )
        normalized = rearrange(
            F.layer_norm(gathered, gathered.shape[-1:]), "b k level d -> b k (level d)"
        )
        return (predictions.float() - normalized).abs()


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


def jepa_flops_per_clip(
    encoder: EncoderConfig, predictor: PredictorConfig, kept_tokens: Sequence[tuple[int, int]]
) -> float:
    """Return the floating-point operations of one JEPA training step, per clip.

    A backward pass costs two forward passes. The backward pass of the tubelet embedding costs one,
    since pixels need no gradient. The target encoder runs forward only.

    Args:
        encoder: Config of the encoder.
        predictor: Config of the predictor.
        kept_tokens: Numbers of context and target tokens, for each mask configuration.
    """
    embedding = embedding_flops(encoder)
    target_encoder = embedding + block_flops(encoder, encoder.grid.num_tokens)

    # Forward pass of the context encoder and the predictor, for each mask configuration.
    trained = 0.0
    for num_context, num_target in kept_tokens:
        trained += block_flops(encoder, num_context)
        trained += block_flops(predictor, num_context + num_target)
        trained += 2 * num_context * _input_weights(encoder, predictor)
        num_predicted = num_target + (num_context if predictor.context_head else 0)
        trained += 2 * num_predicted * predictor.width * encoder.width * max(1, len(encoder.levels))

    return target_encoder + 2 * embedding + 3 * trained


def _input_weights(encoder: EncoderConfig, predictor: PredictorConfig) -> int:
    """Return the number of weights between the encoder's features and the predictor's tokens."""
    num_levels = len(encoder.levels)
    merged = num_levels * encoder.width**2 if num_levels > 1 else 0
    return merged + encoder.width * predictor.width
