"""Sizes of networks as their tensors show them, and the other way round: the tensors that a size has."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surgrec.errors import CheckpointError
from surgrec.models import (
    ENCODER_SIZES,
    Decoder,
    DecoderConfig,
    Encoder,
    EncoderConfig,
    Predictor,
    PredictorConfig,
    State,
)
from surgrec.models.encoder import EncoderSize


def encoder_size(
    width: int,
    depth: int,
    hidden: int,
    given: int | None,
    where: str,
    *extra: EncoderSize,
    blocks: str = "blocks.",
) -> EncoderSize:
    """The published size with these shapes; another one only with a given number of heads, which no tensor shows.

    Args:
        width: Channels of a token.
        depth: Blocks that the file has.
        hidden: Channels inside a block's MLP.
        given: Number of heads that the user gave.
        where: The file, for the error.
        extra: Sizes of this format that come before ours.
        blocks: What stands before the number of a block in the file's names.

    Raises:
        CheckpointError: No published size has this width and depth, and no number of heads was given; names the first tensor
            that a published size has more or less.
    """
    alike = [
        size
        for size in (*extra, *ENCODER_SIZES.values())
        if (size["width"], round(width * size["mlp_ratio"])) == (width, hidden)
    ]
    for size in alike:
        if size["depth"] == depth:
            return {**size, "num_heads": given or size["num_heads"]}
    if given is not None:
        return {"width": width, "depth": depth, "num_heads": given, "mlp_ratio": hidden / width}
    remedy = "give the complete file, or --num_heads if the size is meant"
    require_depth(depth, blocks, {size["depth"] for size in alike}, where, remedy)
    raise CheckpointError(
        f"{where}: '{blocks}0.mlp.fc1.weight' is of {hidden} and {width} channels, which no published size has; {remedy}"
    )


def require_depth(
    depth: int, blocks: str, published: Collection[int], where: str, remedy: str
) -> None:
    """Refuses a number of blocks that nobody published, since the last ones may be missing.

    Args:
        depth: Blocks that the file has.
        blocks: What stands before the number of a block in its names.
        published: The numbers to expect; none where nothing like this was published.
        where: File and part, for the error.
        remedy: What to do, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing or too many.
    """
    if not published or depth in published:
        return
    expected = min((number for number in published if number > depth), default=max(published))
    key = f"'{blocks}{min(depth, expected)}.norm1.weight'"
    if depth < expected:
        raise CheckpointError(
            f"{where}: {key} is missing, {depth} of the {expected} published blocks are there; {remedy}"
        )
    raise CheckpointError(
        f"{where}: {key} has no place, {depth} blocks are there and {expected} were published; {remedy}"
    )


def is_published_size(width: int, depth: int) -> bool:
    """Whether a published size has this width and depth, so that its heads are known."""
    return any((size["width"], size["depth"]) == (width, depth) for size in ENCODER_SIZES.values())


def blank_encoder(config: EncoderConfig) -> State:
    """Names and shapes of the encoder's tensors, without values."""
    with torch.device("meta"):
        return Encoder(config).state_dict()


def blank_predictor(config: PredictorConfig, encoder: EncoderConfig, num_mask_tokens: int) -> State:
    """Names and shapes of the predictor's tensors, without values, with as many mask tokens as a file stores."""
    with torch.device("meta"):
        return Predictor(
            replace(config, shared_mask_token=False), encoder, num_mask_tokens
        ).state_dict()


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
    if tensor.ndim != num_axes or 0 in tensor.shape:
        raise CheckpointError(
            f"{where}: '{name}' has shape {tuple(tensor.shape)}, {num_axes} axes expected, none of them 0; give the published file"
        )
    return tensor
