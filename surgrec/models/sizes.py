"""Sizes of networks as their tensors show them, and the other way round: the tensors that a size has."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from surgrec.errors import CheckpointError
from surgrec.models.decoder import Decoder, DecoderConfig
from surgrec.models.encoder import ENCODER_SIZES, Encoder, EncoderConfig, EncoderSize
from surgrec.models.key_map import State
from surgrec.models.predictor import Predictor, PredictorConfig


def encoder_size(
    width: int, depth: int, hidden: int, given: int | None, where: str, *extra: EncoderSize
) -> EncoderSize:
    """The published size with these shapes; another one only with a given number of heads, which no tensor shows.

    Args:
        width: Channels of a token.
        depth: Blocks that the file has.
        hidden: Channels inside a block's MLP.
        given: Number of heads that the user gave.
        where: The file, for the error.
        extra: Sizes of this format that come before ours.

    Raises:
        CheckpointError: No published size has this width and depth, and no number of heads was given.
    """
    for size in (*extra, *ENCODER_SIZES.values()):
        if (size["width"], size["depth"], round(width * size["mlp_ratio"])) == (width, depth, hidden):
            return {**size, "num_heads": given or size["num_heads"]}
    if given is None:
        raise CheckpointError(
            f"{where}: an encoder of width {width} with {depth} blocks of {hidden} hidden channels has no published size, so a "
            "block may be missing; give the complete file, or --num_heads if the size is meant"
        )
    return {"width": width, "depth": depth, "num_heads": given, "mlp_ratio": hidden / width}


def is_published(width: int, depth: int) -> bool:
    """Whether a published size has this width and depth, so that its heads are known."""
    return any((size["width"], size["depth"]) == (width, depth) for size in ENCODER_SIZES.values())


def blank_encoder(config: EncoderConfig) -> State:
    """Names and shapes of the encoder's tensors, without values."""
    with torch.device("meta"):
        return Encoder(config).state_dict()


def blank_predictor(config: PredictorConfig, encoder: EncoderConfig, num_mask_tokens: int) -> State:
    """Names and shapes of the predictor's tensors, without values."""
    with torch.device("meta"):
        return Predictor(config, encoder, num_mask_tokens).state_dict()


def blank_decoder(config: DecoderConfig, encoder: EncoderConfig) -> State:
    """Names and shapes of the decoder's tensors, without values."""
    with torch.device("meta"):
        return Decoder(config, encoder).state_dict()


def require_tensor(tensors: Mapping[str, Any], name: str, num_axes: int, where: str) -> Tensor:
    """A tensor that tells sizes.

    Raises:
        CheckpointError: It is not there, or has another number of axes.
    """
    tensor = tensors.get(name)
    if not isinstance(tensor, Tensor):
        raise CheckpointError(
            f"{where}: '{name}' is missing among {len(tensors)} entries; name the format that the file has"
        )
    if tensor.ndim != num_axes:
        raise CheckpointError(f"{where}: '{name}' has shape {tuple(tensor.shape)}, {num_axes} axes expected")
    return tensor
