"""V-JEPA 2.1's encoder and predictor for one clip, in plain PyTorch, without code of SurgRec.

It follows the description of V-JEPA 2.1. Weights have the names of the published files. Blocks
are pre-norm with epsilon 1e-6 and the exact GELU. Queries and keys have interleaved rotary
positions: a third of a head's channels for each of time, row and column. Rows and columns are
scaled to a frame of 16 x 16 tubelets.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Grid = tuple[int, int, int]


def linear(weights: Weights, name: str, tokens: Tensor) -> Tensor:
    return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights: Weights, name: str, tokens: Tensor) -> Tensor:
    centered = tokens - tokens.mean(dim=-1, keepdim=True)
    scaled = centered / (centered.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(tokens: Tensor) -> Tensor:
    return 0.5 * tokens * (1 + torch.erf(tokens / 2**0.5))


def rotated(vectors: Tensor, ids: Sequence[int], grid: Grid) -> Tensor:
    """Rotate one head's queries or keys: each pair of neighboring channels is a complex number."""
    _, height, width = grid
    pairs = vectors.shape[1] // 3 // 2
    out = vectors.clone()
    for row, token in enumerate(ids):
        frame, index = divmod(token, height * width)
        coordinates = (frame, index // width * 15 / (height - 1), index % width * 15 / (width - 1))
        for axis in range(3):
            for pair in range(pairs):
                angle = torch.tensor(
                    coordinates[axis] * 10000 ** (-pair / pairs), dtype=vectors.dtype
                )
                first = 2 * (axis * pairs + pair)
                number = torch.complex(vectors[row, first], vectors[row, first + 1]) * torch.exp(
                    1j * angle
                )
                out[row, first], out[row, first + 1] = number.real, number.imag
    return out


def block(
    weights: Weights, name: str, tokens: Tensor, ids: Sequence[int], grid: Grid, num_heads: int
) -> Tensor:
    queries, keys, values = linear(
        weights, f"{name}.attn.qkv", norm(weights, f"{name}.norm1", tokens)
    ).chunk(3, dim=1)
    mixed = []
    for query, key, value in zip(
        *(part.chunk(num_heads, dim=1) for part in (queries, keys, values)), strict=True
    ):
        scores = rotated(query, ids, grid) @ rotated(key, ids, grid).T / query.shape[1] ** 0.5
        mixed.append(torch.softmax(scores, dim=1) @ value)
    tokens = tokens + linear(weights, f"{name}.attn.proj", torch.cat(mixed, dim=1))
    hidden = gelu(linear(weights, f"{name}.mlp.fc1", norm(weights, f"{name}.norm2", tokens)))
    return tokens + linear(weights, f"{name}.mlp.fc2", hidden)


def encoder(
    weights: Weights,
    clip: Tensor,
    ids: Sequence[int],
    grid: Grid,
    num_heads: int,
    levels: Sequence[int],
) -> Tensor:
    """Return features of all levels, side by side; `ids` are the tokens that blocks receive."""
    kernel, (_, height, width) = weights["patch_embed.proj.weight"], grid
    long, side = kernel.shape[2], kernel.shape[3]
    tokens = []
    for token in ids:
        frame, row, column = (
            token // (height * width) * long,
            token // width % height * side,
            token % width * side,
        )
        tubelet = clip[:, frame : frame + long, row : row + side, column : column + side]
        tokens.append((kernel * tubelet).sum(dim=(1, 2, 3, 4)) + weights["patch_embed.proj.bias"])
    stream, features = torch.stack(tokens) + weights["video_mod_embed"][0, 0], []
    for number in range(levels[-1] + 1):
        stream = block(weights, f"blocks.{number}", stream, ids, grid, num_heads)
        if number in levels:
            features.append(norm(weights, f"norms_block.{levels.index(number)}", stream))
    return torch.cat(features, dim=1)


def predictor(
    weights: Weights,
    visible: Tensor,
    context: Sequence[int],
    targets: Sequence[int],
    grid: Grid,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Return features of all levels, of the targets and of the context.

    `size` is the number of heads and of blocks.
    """
    merged = linear(
        weights, "predictor_embed.2", gelu(linear(weights, "predictor_embed.0", visible))
    )
    hidden = torch.cat([weights["mask_tokens.0"][0]] * len(targets))
    stream = torch.cat([merged, hidden]) + weights["video_mod_embed"][0, 0]
    num_heads, depth = size
    for number in range(depth):
        stream = block(
            weights, f"predictor_blocks.{number}", stream, [*context, *targets], grid, num_heads
        )
    stream = norm(weights, "predictor_norm", stream)
    of_targets = linear(weights, "predictor_proj", stream[len(context) :])
    return of_targets, linear(weights, "predictor_proj_context", stream[: len(context)])
