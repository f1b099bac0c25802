"""The tokens that heads see: the output of an encoder, or of its last blocks as well."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.features import VideoEncoder

Joining: TypeAlias = Literal["channels", "tokens"]
"""Whether the outputs of several blocks become more channels per token, or more tokens."""


def joined_width(encoder: VideoEncoder, last_blocks: int, joining: Joining) -> int:
    """Return the channels of a token that heads see.

    Raises:
        ConfigError: The encoder has fewer blocks, or does not name them.
    """
    if last_blocks > 1 and last_blocks > len(encoder.blocks):
        raise ConfigError(
            f"last_blocks is {last_blocks}, but {encoder.facts['name']} has {len(encoder.blocks)} "
            "known blocks; give a smaller number"
        )
    return encoder.width * (last_blocks if joining == "channels" else 1)


def block_tokens(
    encoder: VideoEncoder, clips: Float[Tensor, "b c t h w"], last_blocks: int, joining: Joining
) -> Float[Tensor, "b n d"]:
    """Return the tokens of the last blocks of an encoder, joined, the last block last.

    The last block has the encoder's own norm. Each earlier one is normalized per token, without
    weights.

    Args:
        encoder: The encoder.
        clips: Its input.
        last_blocks: Number of blocks; 1 is the output of the encoder.
        joining: How several blocks are joined.

    Raises:
        ConfigError: A block has an output of another shape than the encoder.
    """
    if last_blocks == 1:
        return encoder.tokens(clips)
    with _outputs_of(list(encoder.blocks[-last_blocks:-1])) as outputs:
        last = encoder.tokens(clips)

    for output in outputs:
        if not isinstance(output, Tensor) or output.shape != last.shape:
            raise ConfigError(
                f"last_blocks is {last_blocks}, but a block of {encoder.facts['name']} does not "
                "return one vector per token of its output; give last_blocks 1"
            )
    earlier = [F.layer_norm(each.float(), each.shape[-1:]).type_as(last) for each in outputs]
    joined: Float[Tensor, "b n d"]
    joined = torch.cat([*earlier, last], dim=-1 if joining == "channels" else 1)
    return joined


@contextmanager
def _outputs_of(blocks: list[nn.Module]) -> Iterator[list[Any]]:
    outputs: list[Any] = []
    handles = [
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
        for block in blocks
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
