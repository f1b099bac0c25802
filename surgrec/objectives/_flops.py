"""Count the floating-point operations of encoder, predictor and decoder from their shapes.

Only matrix products count, as usual for MFU; a multiply-add counts as two operations.
"""

from collections.abc import Sequence

from surgrec.models import DecoderConfig, EncoderConfig, PredictorConfig
from surgrec.models.tokens import NUM_CHANNELS


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


def mae_flops_per_clip(
    encoder: EncoderConfig,
    decoder: DecoderConfig,
    num_visible: int,
    num_targets: int,
    num_unscored: int = 0,
) -> float:
    """Return the floating-point operations of one MAE training step, per clip.

    A backward pass costs two forward passes. The backward pass of the tubelet embedding costs one,
    since pixels need no gradient. Only visible tubelets are embedded.

    Args:
        encoder: Config of the encoder.
        decoder: Config of the decoder.
        num_visible: Tokens that the encoder sees; the decoder sees them too.
        num_targets: Tokens that are predicted.
        num_unscored: Mask tokens without a prediction.
    """
    num_decoded = num_visible + num_targets + num_unscored
    trained = block_flops(encoder, num_visible) + block_flops(decoder, num_decoded)
    trained += 2 * num_visible * encoder.width * decoder.width  # encoder to decoder
    trained += 2 * num_targets * decoder.width * tubelet_values(encoder)  # decoder to pixels
    embedding = embedding_flops(encoder) * num_visible / encoder.grid.num_tokens
    return 2 * embedding + 3 * trained


def embedding_flops(encoder: EncoderConfig) -> int:
    """Return the operations of one forward pass of the tubelet embedding, per clip."""
    return 2 * encoder.grid.num_tokens * tubelet_values(encoder) * encoder.width


def block_flops(config: EncoderConfig | PredictorConfig | DecoderConfig, num_tokens: int) -> float:
    """Return the operations of one forward pass through all blocks of a network, per clip.

    Each token passes qkv, proj and the MLP. Each pair of tokens needs queries times keys and
    weights times values.
    """
    linear = (8 + 4 * config.mlp_ratio) * config.width**2 * num_tokens
    attention = 4 * num_tokens**2 * config.width
    return config.depth * (linear + attention)


def tubelet_values(encoder: EncoderConfig) -> int:
    """Return the number of pixel values in one tubelet."""
    return NUM_CHANNELS * encoder.tubelet_size * encoder.patch_size**2
