"""Infer sizes of networks from tensor shapes, and list the tensors that a network of a size has."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT
from surgrec.errors import CheckpointError
from surgrec.models import (
    ENCODER_SIZES,
    Decoder,
    DecoderConfig,
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
    num_heads: int | None,
    context: str,
    *more_sizes: EncoderSize,
    blocks: str = "blocks.",
) -> EncoderSize:
    """Return the published size with these shapes.

    No tensor shows the number of heads, so any other size needs `num_heads`.

    Args:
        width: Channels of a token.
        depth: Number of blocks in the file.
        hidden: Channels inside a block's MLP.
        num_heads: Number of heads that the user gave.
        context: The file, for the error.
        more_sizes: Published sizes of this format that take precedence over `ENCODER_SIZES`.
        blocks: Prefix of a block's number in the file's names.

    Raises:
        CheckpointError: No published size has this width and depth, and no number of heads was
            given. Names the first tensor in which the nearest published size differs.
    """
    same_width = [
        size
        for size in (*more_sizes, *ENCODER_SIZES.values())
        if (size["width"], round(size["width"] * size["mlp_ratio"])) == (width, hidden)
    ]
    for size in same_width:
        if size["depth"] == depth:
            return {**size, "num_heads": num_heads or size["num_heads"]}

    if num_heads is not None:
        return {"width": width, "depth": depth, "num_heads": num_heads, "mlp_ratio": hidden / width}

    remedy = "give the complete file, or --num_heads if the size is right"
    require_depth(depth, blocks, {size["depth"] for size in same_width}, context, remedy)
    raise CheckpointError(
        f"{context}: '{blocks}0.mlp.fc1.weight' has {hidden} and {width} channels, unlike any "
        f"published size; {remedy}"
    )


def require_depth(
    depth: int, blocks: str, published: Collection[int], context: str, remedy: str
) -> None:
    """Raise if a number of blocks was not published, since the last ones may be missing.

    Args:
        depth: Number of blocks in the file.
        blocks: Prefix of a block's number in the file's names.
        published: Published numbers of blocks; empty if none is known, and then any is accepted.
        context: File and part, for the error.
        remedy: Advice to the user, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing or unexpected.
    """
    if not published or depth in published:
        return

    expected = min((number for number in published if number > depth), default=max(published))
    tensor = f"'{blocks}{min(depth, expected)}.norm1.weight'"
    problem = "is missing" if depth < expected else "is unexpected"
    raise CheckpointError(
        f"{context}: {tensor} {problem} ({depth} blocks, expected {expected}); {remedy}"
    )


def is_published_size(width: int, depth: int) -> bool:
    """Return whether a published encoder has this width and depth, so that its heads are known."""
    return any((size["width"], size["depth"]) == (width, depth) for size in ENCODER_SIZES.values())


def blank_predictor(config: PredictorConfig, encoder: EncoderConfig, num_mask_tokens: int) -> State:
    """Return the predictor's tensors without values, with as many mask tokens as a file stores."""
    with torch.device("meta"):
        separate_tokens = replace(config, shared_mask_token=False)
        return Predictor(separate_tokens, encoder, num_mask_tokens).state_dict()


def blank_decoder(config: DecoderConfig, encoder: EncoderConfig) -> State:
    """Return the decoder's tensors without values, on the meta device."""
    with torch.device("meta"):
        return Decoder(config, encoder).state_dict()


def require_tensor(tensors: Mapping[str, Any], name: str, num_axes: int, context: str) -> Tensor:
    """Return a tensor whose shape gives sizes.

    Raises:
        CheckpointError: It is missing, has another number of axes, or has an empty axis.
    """
    tensor = tensors.get(name)
    if not isinstance(tensor, Tensor):
        raise CheckpointError(
            f"{context}: '{name}' is missing among {len(tensors)} entries; {NAME_THE_FORMAT}"
        )
    if tensor.ndim != num_axes or 0 in tensor.shape:
        raise CheckpointError(
            f"{context}: '{name}' has shape {tuple(tensor.shape)}, expected {num_axes} axes, all "
            "larger than 0; give the file as it was published"
        )
    return tensor
