"""Count the floating-point operations of encoder, predictor and decoder from their shapes.

Only matrix products count, as usual for MFU; a multiply-add counts as two operations. Each
objective adds these numbers up to the cost of its training step.
"""

from surgrec.models import DecoderConfig, EncoderConfig, PredictorConfig
from surgrec.models.tokens import NUM_CHANNELS


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
