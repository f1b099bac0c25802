"""Fine-tuning of other projects' networks: the weights that train, and their layers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models.metaformer import (
    Attention,
    LayerNorm2dNoBias,
    LayerNormNoBias,
    MetaFormer,
    SepConv,
)
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.encoders import Preprocessing, read_preset
from surgrec.errors import ConfigError
from surgrec.features import EncoderChoice, open_encoder
from surgrec.features._preset_encoder import PresetEncoder
from surgrec.features._timm_encoder import FramesNetwork
from surgrec.features._video_transformers import TimeSformer
from surgrec.models.classifier import PoolerConfig
from surgrec.supervised import FinetunedEncoder, parameter_groups

NETWORKS: dict[str, dict[str, Any]] = {
    "convnext_atto": {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)},
    "swin_tiny_patch4_window7_224": {
        **{"img_size": 32, "window_size": 4, "depths": (1, 2)},
        **{"embed_dim": 16, "num_heads": (1, 2)},
    },
    "eva02_tiny_patch14_224": {
        **{"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24, "num_heads": 2}
    },
    "vit_tiny_patch16_224": {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3},
    "resnet10t": {},
    "mobilenetv3_small_050": {},
}


def model_of(name: str) -> nn.Module:
    if name == "caformer":  # timm's names of it have fixed sizes
        return MetaFormer(
            num_classes=0,
            depths=(1, 1, 1, 1),
            dims=(8, 16, 32, 64),
            token_mixers=(SepConv, SepConv, Attention, Attention),
            norm_layers=(*[LayerNorm2dNoBias] * 2, *[LayerNormNoBias] * 2),
        )
    return timm.create_model(name, num_classes=0, **NETWORKS[name])


def timesformer() -> TimeSformer:
    preset = replace(
        read_preset("preset:endofm"),
        num_frames=2,
        num_heads=2,
        preprocessing=Preprocessing(size_px=32),
    )
    tensors = {"patch_embed.proj.weight": torch.zeros(16, 3, 16, 16)}
    blocks = {f"blocks.{number}.norm1.weight": torch.zeros(16) for number in range(2)}
    return TimeSformer(preset, tensors | blocks)


def encoder_of(name: str) -> PresetEncoder:
    torch.manual_seed(0)
    network: FramesNetwork | TimeSformer = (
        timesformer() if name == "timesformer" else FramesNetwork(model_of(name))
    )
    network.eval().requires_grad_(False)
    return PresetEncoder(
        network=network,
        sampling=ClipSampling(num_frames=2, fps=1.0),
        preprocessing=Preprocessing(size_px=32),
        width=network.width,
        provenance={},
        facts={"name": "tiny"},
    )


def finetuned(
    name: str, *, last_blocks: int | None = None, drop_path: float = 0.0
) -> FinetunedEncoder:
    return FinetunedEncoder(
        encoder_of(name),
        PoolerConfig(kind="mean"),
        num_classes=3,
        seed=0,
        last_blocks=last_blocks,
        drop_path=drop_path,
    )


def clips() -> Tensor:
    return torch.randn(2, 3, 2, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("convnext_atto", {"head.norm.weight", "head.norm.bias"}),
        ("caformer", {"head.norm.weight", "head.norm.bias"}),
        ("eva02_tiny_patch14_224", {"fc_norm.weight", "fc_norm.bias"}),
        ("swin_tiny_patch4_window7_224", set()),
        ("vit_tiny_patch16_224", set()),
    ],
)
@pytest.mark.parametrize("last_blocks", [None, 1])
def test_the_trained_weights_are_those_with_a_gradient(
    name: str, unused: set[str], last_blocks: int | None
) -> None:
    model = finetuned(name, last_blocks=last_blocks)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    groups = parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.5)
    stepped = {id(each) for group in groups for each in group["params"]}

    model.requires_grad_(True)
    model(clips()).square().sum().backward()
    found = {name for name, each in model.named_parameters() if each.grad is not None}
    every = {name for name, _ in model.named_parameters()}
    assert every - found == {f"network.model.{each}" for each in unused}

    frozen = set()
    if last_blocks is not None:
        layers = {f"network.{name}": layer for name, layer in model.layer_of.items()}
        frozen = {name for name in found if layers.get(name, 99) < model.num_blocks}
        assert frozen
    assert trained == found - frozen
    assert stepped == {id(each) for name, each in model.named_parameters() if name in trained}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "convnext_atto",
            {
                "stem.1.weight": 0,
                "stages.0.blocks.0.norm.weight": 1,
                "stages.1.downsample.1.weight": 2,
                "stages.2.downsample.0.weight": 3,
                "stages.2.blocks.1.norm.weight": 4,
                "stages.3.downsample.0.weight": 5,
                "stages.3.blocks.0.mlp.fc1.weight": 5,
                "head.norm.weight": 6,
            },
        ),
        (
            "caformer",
            {
                "stem.norm.weight": 0,
                "stages.0.blocks.0.norm1.weight": 1,
                "stages.1.downsample.norm.weight": 2,
                "stages.3.downsample.conv.weight": 4,
                "stages.3.blocks.0.mlp.fc1.weight": 4,
                "head.norm.weight": 5,
            },
        ),
        (
            "swin_tiny_patch4_window7_224",
            {
                "patch_embed.norm.weight": 0,
                "layers.0.blocks.0.norm1.weight": 1,
                "layers.1.downsample.reduction.weight": 2,
                "layers.1.blocks.0.attn.qkv.weight": 2,
                "layers.1.blocks.1.attn.qkv.weight": 3,
                "norm.weight": 4,
            },
        ),
        (
            "vit_tiny_patch16_224",
            {
                "cls_token": 0,
                "pos_embed": 0,
                "patch_embed.proj.weight": 0,
                "blocks.0.norm1.weight": 1,
                "blocks.1.norm2.weight": 2,
                "norm.weight": 3,
            },
        ),
    ],
)
def test_the_layer_of_a_weight_is_its_place_among_the_blocks(
    name: str, expected: dict[str, int]
) -> None:
    model = finetuned(name)
    assert {each: model.layer_of[f"model.{each}"] for each in expected} == expected
    assert max(model.layer_of.values()) == model.num_layers - 1


def test_an_encoder_without_known_blocks_trains_at_one_rate_only() -> None:
    model = finetuned("resnet10t")
    with pytest.raises(
        ConfigError, match=r"layer_decay is 0.75, but the blocks of tiny are not known; give 1"
    ):
        parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.75)
    groups = parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=1.0)
    assert {group["peak_lr"] for group in groups} == {1.0}
    with pytest.raises(ConfigError, match="last_blocks is 1, but tiny has 0 known blocks"):
        finetuned("resnet10t", last_blocks=1)


def test_a_clip_skips_a_block_with_its_class_token_too() -> None:
    model = finetuned("timesformer", drop_path=0.9)
    plain = finetuned("timesformer")
    torch.testing.assert_close(model.eval()(clips()), plain(clips()))

    # At this share and seed both clips skip the second and last block.
    model.train()
    tokens: list[list[Tensor]] = []
    block = model.network.get_submodule("blocks.1")
    block.register_forward_hook(lambda _, before, after: tokens.append([*before, *after]))
    torch.manual_seed(0)
    model(clips())
    ((cls, others, cls_after, others_after),) = tokens
    assert torch.equal(cls, cls_after)
    assert torch.equal(others, others_after)


def test_blocks_that_change_the_shape_cannot_be_skipped() -> None:
    with pytest.raises(ConfigError, match="a block of tiny changes the shape of its input"):
        finetuned("mobilenetv3_small_050", drop_path=0.1)


def test_an_encoder_without_weights_is_refused() -> None:
    pixels = open_encoder(EncoderChoice(path=Path("preset:pixels")), torch.device("cpu"))
    with pytest.raises(ConfigError, match="no gradient reaches a weight of pixels"):
        FinetunedEncoder(
            pixels,
            PoolerConfig(kind="mean"),
            num_classes=3,
            seed=0,
            last_blocks=None,
            drop_path=0.0,
        )
