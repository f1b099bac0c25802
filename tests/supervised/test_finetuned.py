"""Fine-tuning of a small encoder: which weights train, at which rate, and how windows are mixed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.features.own_encoder import FrozenEncoder
from surgrec.models import Encoder, EncoderConfig
from surgrec.models.classifier import PoolerConfig
from surgrec.supervised import (
    FinetuneConfig,
    FinetunedEncoder,
    MixingConfig,
    parameter_groups,
    soft_losses,
)
from surgrec.supervised._mixing import mixed

CONFIG = EncoderConfig(
    width=24, depth=3, num_heads=2, patch_size=16, tubelet_size=2, num_frames=4, crop_px=32
)


def frozen_encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    network = Encoder(CONFIG).eval().requires_grad_(False)
    sampling = ClipSampling(num_frames=CONFIG.num_frames, fps=4.0)
    return FrozenEncoder(encoder=network, sampling=sampling, provenance={}, facts={"name": "tiny"})


def finetuned(last_blocks: int | None = None, drop_path: float = 0.0) -> FinetunedEncoder:
    return FinetunedEncoder(
        frozen_encoder(),
        PoolerConfig(kind="mean"),
        num_classes=3,
        seed=0,
        last_blocks=last_blocks,
        drop_path=drop_path,
    )


def clips(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        count, 3, CONFIG.num_frames, CONFIG.crop_px, CONFIG.crop_px, generator=generator
    )


def test_only_the_last_blocks_and_what_follows_them_are_trained() -> None:
    model = finetuned(last_blocks=1)
    model(clips()).sum().backward()
    trained = {name for name, each in model.named_parameters() if each.grad is not None}
    assert {name.split(".")[2] for name in trained if name.startswith("network.blocks")} == {"2"}
    assert "network.norm.weight" in trained
    assert "classifier.linear.weight" in trained
    assert not any(name.startswith("network.patch_embed") for name in trained)


def test_the_whole_encoder_is_trained_by_default() -> None:
    model = finetuned()
    model(clips()).sum().backward()
    assert all(each.grad is not None for each in model.parameters())


def test_each_layer_has_the_rate_of_the_next_one_times_the_decay() -> None:
    model = finetuned()
    groups = parameter_groups(model, lr=1.0, weight_decay=0.05, layer_decay=0.5)
    rates = {id(each): group["peak_lr"] for group in groups for each in group["params"]}
    decays = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    named = dict(model.named_parameters())
    expected = {
        "network.patch_embed.proj.weight": 0.0625,
        "network.blocks.0.attn.qkv.weight": 0.125,
        "network.blocks.2.mlp.fc1.weight": 0.5,
        "network.norm.weight": 1.0,
        "classifier.linear.weight": 1.0,
    }
    assert {name: rates[id(named[name])] for name in expected} == expected
    assert rates.keys() == {id(each) for each in model.parameters()}
    assert decays[id(named["classifier.linear.weight"])] == 0.05
    assert decays[id(named["classifier.linear.bias"])] == 0.0


def test_stochastic_depth_skips_blocks_in_training_only() -> None:
    plain, skipping = finetuned(), finetuned(drop_path=0.9)
    skipping.eval()
    assert torch.equal(skipping(clips()), plain(clips()))
    skipping.train()
    torch.manual_seed(0)
    first = skipping(clips())
    torch.manual_seed(0)
    assert torch.equal(first, skipping(clips()))
    assert not torch.equal(first, plain(clips()))
    assert not skipping.network.training


def test_an_encoder_with_fewer_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match="last_blocks is 4, but tiny has 3 known blocks"):
        finetuned(last_blocks=4)


def test_a_seed_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"seeds is \[1, 1\]; give one or several values"):
        FinetuneConfig(
            out=Path("o"), corpus="c", encoder=Path("e"), task="t", split=Path("s"), seeds=(1, 1)
        )


def test_a_mixup_has_the_same_share_of_pictures_and_labels() -> None:
    original, labels = clips(), torch.tensor([0, 1, 2, 0])
    config = MixingConfig(mixup=0.8, cutmix=0.0, label_smoothing=0.0)
    pictures, targets = mixed(original.clone(), labels, config, num_classes=3, seed=5)
    ratio = float(targets[1, 1])
    assert 0 < ratio < 1
    torch.testing.assert_close(pictures[1], ratio * original[1] + (1 - ratio) * original[2])
    torch.testing.assert_close(targets[1], torch.tensor([0.0, ratio, 1 - ratio]))
    torch.testing.assert_close(targets[0], torch.tensor([1.0, 0.0, 0.0]))


def test_a_cutmix_cuts_the_same_region_of_all_frames() -> None:
    original, labels = clips(2), torch.tensor([0, 1])
    config = MixingConfig(mixup=0.0, cutmix=1.0, label_smoothing=0.0)
    pictures, targets = mixed(original.clone(), labels, config, num_classes=2, seed=3)
    from_other = (pictures[0] == original[1]).all(0).all(0)
    assert torch.equal((pictures[0] == original[0]).all(0).all(0), ~from_other)
    assert float(targets[0, 1]) == pytest.approx(float(from_other.float().mean()), abs=1e-6)


def test_mixtures_depend_on_their_key_alone() -> None:
    np.random.seed(11)
    expected_next = np.random.RandomState(11).rand()
    labels, config = torch.tensor([0, 1, 2, 0]), MixingConfig()
    first = mixed(clips(), labels, config, num_classes=3, seed=5)
    assert np.random.rand() == expected_next, "the global generator keeps its state"
    second = mixed(clips(), labels, config, num_classes=3, seed=5)
    other = mixed(clips(), labels, config, num_classes=3, seed=6)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])


def test_an_odd_batch_is_not_mixed_but_smoothed() -> None:
    original, labels = clips(3), torch.tensor([0, 1, 2])
    config = MixingConfig(label_smoothing=0.3)
    pictures, targets = mixed(original.clone(), labels, config, num_classes=3, seed=5)
    assert torch.equal(pictures, original)
    torch.testing.assert_close(targets, torch.eye(3) * 0.7 + 0.1)


def test_the_loss_of_shares_is_the_mean_of_the_losses_of_classes() -> None:
    outputs = torch.tensor([[2.0, -1.0, 0.5]])
    by_class = -torch.log_softmax(outputs, -1)[0]
    loss = soft_losses(outputs, torch.tensor([[0.25, 0.0, 0.75]]))
    torch.testing.assert_close(loss[0], 0.25 * by_class[0] + 0.75 * by_class[2])
