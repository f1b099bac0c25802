"""What a training step costs, counted from the shapes: the numerator of MFU."""

from collections.abc import Sequence

from surgrec.masks import GroupMasks, Masks
from surgrec.models import NUM_CHANNELS, DecoderConfig, EncoderConfig, PredictorConfig


def jepa_flops_per_clip(
    encoder: EncoderConfig, predictor: PredictorConfig, kept_tokens: Sequence[tuple[int, int]]
) -> float:
    """Floating-point operations of one JEPA training step, per clip; a multiply-add counts as two.

    Only matrix products count, as usual for MFU. A backward pass costs two forward passes; the tubelet embedding's costs
    one, since pixels need no gradient. The target encoder runs forward only.

    Args:
        encoder: The encoder's config.
        predictor: The predictor's config.
        kept_tokens: Numbers of context and target tokens, of each mask configuration.
    """
    num_tokens = encoder.grid.num_tokens
    embedding = _embedding(encoder)
    target = embedding + _blocks(encoder, num_tokens)
    trained = 0.0
    for num_context, num_target in kept_tokens:
        trained += _blocks(encoder, num_context)
        trained += _blocks(predictor, num_context + num_target)
        trained += 2 * num_context * _predictor_input(encoder, predictor)
        num_predicted = num_target + (num_context if predictor.context_head else 0)
        trained += 2 * num_predicted * predictor.width * encoder.width * max(1, len(encoder.levels))
    return target + 2 * embedding + 3 * trained


def jepa_flops(
    encoder: EncoderConfig, predictor: PredictorConfig, masks: Sequence[GroupMasks]
) -> float:
    """Floating-point operations of one training step on a batch with these masks."""
    total = 0.0
    for group in masks:
        kept = [(mask.context_index.shape[1], mask.target_index.shape[1]) for mask in group.masks]
        total += (group.rows.stop - group.rows.start) * jepa_flops_per_clip(
            encoder, predictor, kept
        )
    return total


def mae_flops_per_clip(
    encoder: EncoderConfig,
    decoder: DecoderConfig,
    num_visible: int,
    num_targets: int,
    num_unscored: int = 0,
) -> float:
    """Floating-point operations of one MAE training step, per clip, counted as `jepa_flops_per_clip` does.

    Args:
        encoder: The encoder's config.
        decoder: The decoder's config.
        num_visible: Tokens that the encoder sees, and the decoder too.
        num_targets: Tokens that are predicted.
        num_unscored: Mask tokens of which nothing is predicted.
    """
    trained = _blocks(encoder, num_visible) + _blocks(
        decoder, num_visible + num_targets + num_unscored
    )
    trained += 2 * num_visible * encoder.width * decoder.width  # into the decoder
    trained += 2 * num_targets * decoder.width * _pixels(encoder)  # and out of it
    return 2 * _embedding(encoder) + 3 * trained


def mae_flops(encoder: EncoderConfig, decoder: DecoderConfig, masks: Masks) -> float:
    """Floating-point operations of one training step on a batch with these masks."""
    num_clips, num_visible = masks.context_index.shape
    num_unscored = 0 if masks.unscored_index is None else masks.unscored_index.shape[1]
    per_clip = mae_flops_per_clip(
        encoder, decoder, num_visible, masks.target_index.shape[1], num_unscored
    )
    return float(num_clips * per_clip)


def _pixels(encoder: EncoderConfig) -> int:
    """Values of one tubelet."""
    return NUM_CHANNELS * encoder.tubelet_size * encoder.patch_size**2


def _predictor_input(encoder: EncoderConfig, predictor: PredictorConfig) -> int:
    """Weights between the encoder's features and the predictor's tokens."""
    num_levels = len(encoder.levels)
    merged = num_levels * encoder.width**2 if num_levels > 1 else 0
    return merged + encoder.width * predictor.width


def _embedding(encoder: EncoderConfig) -> int:
    """One forward pass of the tubelet embedding."""
    return 2 * encoder.grid.num_tokens * _pixels(encoder) * encoder.width


def _blocks(config: EncoderConfig | PredictorConfig | DecoderConfig, num_tokens: int) -> float:
    """One forward pass: qkv, proj and MLP for each token, then queries by keys and weights by values for each pair."""
    linear = (8 + 4 * config.mlp_ratio) * config.width**2 * num_tokens
    attention = 4 * num_tokens**2 * config.width
    return config.depth * (linear + attention)
