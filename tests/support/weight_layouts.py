"""Checkpoints in published layouts, with random weights.

Names and shapes were written from published files, not from the tables of surgrec.convert.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surgrec.commands.main import main
from surgrec.convert import Component, Origin, Pretrained
from surgrec.models import Decoder, Encoder, Predictor

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def random_tensors(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Return a random tensor of each shape."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes}


def linear(name: str, out: int, width: int) -> Shapes:
    yield f"{name}.weight", (out, width)
    yield f"{name}.bias", (out,)


def norm(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def block(name: str, width: int, hidden: int, *, split_biases: bool = False) -> Shapes:
    """Yield a block as V-JEPA and timm store it; with `split_biases`, as VideoMAE does."""
    yield from norm(f"{name}.norm1", width)
    if split_biases:
        yield f"{name}.attn.q_bias", (width,)
        yield f"{name}.attn.v_bias", (width,)
    yield f"{name}.attn.qkv.weight", (3 * width, width)
    if not split_biases:
        yield f"{name}.attn.qkv.bias", (3 * width,)
    yield from linear(f"{name}.attn.proj", width, width)
    yield from norm(f"{name}.norm2", width)
    yield from linear(f"{name}.mlp.fc1", hidden, width)
    yield from linear(f"{name}.mlp.fc2", width, hidden)


def vjepa_encoder(width: int, depth: int, hidden: int, patch: int, *, levels: int = 0) -> Shapes:
    yield "patch_embed.proj.weight", (width, 3, 2, patch, patch)
    yield "patch_embed.proj.bias", (width,)
    for number in range(depth):
        yield from block(f"blocks.{number}", width, hidden)
    if not levels:
        yield from norm("norm", width)
        return
    for number in range(levels):
        yield from norm(f"norms_block.{number}", width)
    yield "patch_embed_img.proj.weight", (width, 3, 1, patch, patch)
    yield "patch_embed_img.proj.bias", (width,)
    yield "img_mod_embed", (1, 1, width)
    yield "video_mod_embed", (1, 1, width)


def vjepa_predictor(
    encoder_width: int,
    width: int,
    depth: int,
    tokens: int,
    *,
    levels: int = 0,
    features: int | None = None,
) -> Shapes:
    """Yield a predictor; with `levels`, version 2.1's.

    Version 2.1 has two first layers, a head for the context, and a vector per modality.
    """
    features = features or encoder_width * max(levels, 1)
    if levels > 1:
        yield from linear("predictor_embed.0", encoder_width, levels * encoder_width)
        yield from linear("predictor_embed.2", width, encoder_width)
    else:
        yield from linear("predictor_embed", width, encoder_width)
    for number in range(tokens):
        yield f"mask_tokens.{number}", (1, 1, width)
    for number in range(depth):
        yield from block(f"predictor_blocks.{number}", width, 4 * width)
    yield from norm("predictor_norm", width)
    yield from linear("predictor_proj", features, width)
    if levels:
        yield from linear("predictor_proj_context", features, width)
        yield "img_mod_embed", (1, 1, width)
        yield "video_mod_embed", (1, 1, width)


WRAPPERS = "module.backbone."


def wrapped(tensors: Mapping[str, Tensor], prefix: str = WRAPPERS) -> dict[str, Tensor]:
    """Return tensors with the prefix of DistributedDataParallel and V-JEPA's wrapper."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def vjepa_file(
    path: Path, *, prefix: str = WRAPPERS, **networks: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Write a checkpoint with the training state of a published one, and return its content."""
    moments = {
        "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(3)}},
        "param_groups": [{"lr": 1e-3}],
    }
    content = {name: wrapped(tensors, prefix) for name, tensors in networks.items()}
    content |= {"opt": moments, "scaler": {"scale": 65536.0}, "epoch": 40, "loss": np.float64(0.4)}
    content |= {"batch_size": 24, "world_size": 128, "lr": 5.25e-4}
    torch.save(content, path)
    return content


def videomae_model(
    width: int,
    depth: int,
    hidden: int,
    patch: int,
    decoder: tuple[int, int, int] | None = (36, 2, 144),
) -> Shapes:
    """Yield encoder and decoder; `decoder` is its width, depth and hidden channels."""
    yield "encoder.patch_embed.proj.weight", (width, 3, 2, patch, patch)
    yield "encoder.patch_embed.proj.bias", (width,)
    for number in range(depth):
        yield from block(f"encoder.blocks.{number}", width, hidden, split_biases=True)
    yield from norm("encoder.norm", width)
    if decoder is None:
        return
    decoder_width, decoder_depth, decoder_hidden = decoder
    yield "mask_token", (1, 1, decoder_width)
    for number in range(decoder_depth):
        yield from block(
            f"decoder.blocks.{number}", decoder_width, decoder_hidden, split_biases=True
        )
    yield from norm("decoder.norm", decoder_width)
    yield from linear("decoder.head", 3 * 2 * patch * patch, decoder_width)
    yield "encoder_to_decoder.weight", (decoder_width, width)


def videomae_file(
    path: Path, tensors: Mapping[str, Tensor], key: str = "model", **arguments: str | float
) -> dict[str, Any]:
    """Write a checkpoint with the arguments and training state of a published one."""
    model = "pretrain_videomae_base_patch16_224"
    args = argparse.Namespace(
        model=model, lr=1.5e-4, output_dir=pathlib.PosixPath("out"), **arguments
    )
    content = {
        key: dict(tensors),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
        "epoch": 799,
    }
    content |= {"scaler": {"scale": 1024.0}, "args": args}
    torch.save(content, path)
    return content


def assert_same_bytes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check that two sets of tensors have the same names, types, shapes and bits."""
    assert sorted(tensors) == sorted(expected)
    for name, tensor in expected.items():
        assert tensors[name].dtype == tensor.dtype, name
        assert tensors[name].shape == tensor.shape, name
        bits = [value.contiguous().flatten().view(torch.uint8) for value in (tensors[name], tensor)]
        assert torch.equal(*bits), name


def weights_of(
    encoder: Encoder, predictor: Predictor | None = None, decoder: Decoder | None = None
) -> Pretrained:
    """Return networks as weights to export, after adding noise to all tensors, biases included."""
    for network in filter(None, (encoder, predictor, decoder)):
        shake(network)
    return Pretrained(
        origin=Origin(
            name="run",
            sha256="",
            format="surgrec-encoder",
            key=None,
            license=None,
            license_from=None,
        ),
        encoder=Component(config=encoder.config, state=encoder.state_dict()),
        predictor=Component(config=predictor.config, state=predictor.state_dict())
        if predictor
        else None,
        decoder=Component(config=decoder.config, state=decoder.state_dict()) if decoder else None,
    )


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    """Return tensors without values, for sizes that a test could not hold."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes}


def numpy_table(frames: int, side: int, width: int) -> Tensor:
    """Return V-JEPA 1's position table, computed token by token.

    Time, height and width have equal shares of the channels, each with sines before cosines.
    """
    share = int(np.ceil(width / 6) * 2)
    rows = []
    for index in np.ndindex(frames, side, side):
        halves = [
            coordinate / 10000 ** (np.arange(share // 2) / (share / 2)) for coordinate in index
        ]
        rows.append(
            np.concatenate([np.concatenate([np.sin(half), np.cos(half)]) for half in halves])[
                :width
            ]
        )
    return torch.from_numpy(np.stack(rows)).float()[None]


@torch.no_grad()
def shake(network: nn.Module) -> None:
    """Add noise to every parameter."""
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)


def surgrec(monkeypatch: pytest.MonkeyPatch, *words: object) -> int | str | None:
    """Run a command of the console script, and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["surgrec", *(str(word) for word in words)])
    with pytest.raises(SystemExit) as finished:
        main()
    return finished.value.code
