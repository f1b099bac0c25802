"""Attentive probes and fine-tuning rank an oracle above a weak feature; shuffles are chance."""

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.features.own_encoder import FrozenEncoder
from surgrec.models import Encoder, EncoderConfig
from surgrec.models.classifier import PoolerConfig, PoolerKind
from surgrec.supervised import (
    FinetunedEncoder,
    GridConfig,
    ProbeHeads,
    build_heads_optimizer,
    head_settings,
    parameter_groups,
    set_heads_step,
    soft_losses,
    window_losses,
)
from surgrec.supervised._choice import choose_setting
from surgrec.supervised._held_out import held_out_score
from surgrec.supervised._targets import TargetKind, Targets
from surgrec.training import ScheduleConfig

WIDTH, CLASSES, WINDOWS, BATCH, STEPS = 24, 3, 180, 36, 60
"""Windows of each part: train, val and test."""
TINY = EncoderConfig(
    width=24, depth=2, num_heads=2, patch_size=16, tubelet_size=2, num_frames=4, crop_px=32
)
CASES = [f"case{window // 20}" for window in range(WINDOWS)]
SCHEDULE = ScheduleConfig(value=1.0, decay="cosine", end=0.0, end_step=STEPS)


def truth(kind: TargetKind, seed: int, *, shuffled: bool = False) -> tuple[Tensor, Targets]:
    """Return the signal of windows, and their targets: of other windows if shuffled."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(WINDOWS) if shuffled else np.arange(WINDOWS)
    if kind == "class":
        label = torch.from_numpy(rng.integers(0, CLASSES, WINDOWS))
        signal = torch.nn.functional.one_hot(label, CLASSES).float()
        return signal, Targets.of_classes(label[order], CLASSES)
    if kind == "labels":
        signal = torch.from_numpy(rng.random((WINDOWS, CLASSES)) < 0.4).float()
        return signal, Targets.of_labels(signal[order])
    signal = torch.from_numpy(rng.normal(size=(WINDOWS, CLASSES))).float()
    return signal, Targets.of_values(signal[order, 0])


def tokens_of(signal: Tensor, noise: float, seed: int) -> Tensor:
    """Return tokens of which one of six shows the signal with noise."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(WINDOWS, 6, WIDTH, generator=generator)
    shown = signal + noise * torch.randn(signal.shape, generator=generator)
    tokens[:, 2, :CLASSES] = 6 * shown
    tokens[:, 2, CLASSES] = 4.0  # attention can find it
    return tokens


def probed(kind: TargetKind, pooler: PoolerKind, noise: float, *, shuffled: bool = False) -> float:
    """Train a grid of heads, choose on val, and return the score on test."""
    parts = [truth(kind, seed, shuffled=shuffled) for seed in range(3)]
    tokens = [tokens_of(signal, noise, seed) for seed, (signal, _) in enumerate(parts)]
    targets = [targets for _, targets in parts]
    settings = head_settings(GridConfig(lr=(1e-2, 1e-3), weight_decay=(0.01,), seeds=(0,)), 0)
    heads = ProbeHeads(
        settings,
        PoolerConfig(kind=pooler, num_heads=4),
        width=WIDTH,
        num_outputs=targets[0].num_outputs,
    )
    optimizer = build_heads_optimizer(heads)
    rng = np.random.default_rng(5)
    for step in range(STEPS):
        set_heads_step(optimizer, SCHEDULE, step)
        windows = torch.from_numpy(rng.permutation(WINDOWS)[:BATCH])
        for outputs in heads(tokens[0][windows]):
            window_losses(outputs, targets[0], windows).mean().backward(retain_graph=True)
        optimizer.step()
        optimizer.zero_grad()

    everything = np.arange(WINDOWS)
    with torch.no_grad():
        val, test = (heads(each) for each in tokens[1:])
    scores = [held_out_score(each, targets[1], everything, CASES) for each in val]
    choice = choose_setting(settings, scores)
    chosen = next(index for index, each in enumerate(settings) if choice.includes(each))
    return held_out_score(test[chosen], targets[2], everything, CASES)


@pytest.mark.parametrize(
    ("kind", "pooler"),
    [("class", "vjepa1"), ("class", "vjepa2"), ("class", "mean"), ("labels", "vjepa1")],
)
def test_a_probe_ranks_an_oracle_above_a_weak_feature(kind: TargetKind, pooler: PoolerKind) -> None:
    oracle, weak = (probed(kind, pooler, noise) for noise in (0.1, 3.0))
    assert oracle > 0.8
    assert oracle > weak + 0.2


def test_a_probe_of_numbers_has_a_smaller_error_on_an_oracle() -> None:
    oracle, weak = (probed("value", "vjepa1", noise) for noise in (0.1, 3.0))
    assert oracle > -0.65
    assert oracle > weak + 0.2


@pytest.mark.parametrize("pooler", ["vjepa1", "vjepa2", "mean"])
def test_a_probe_finds_nothing_in_shuffled_labels(pooler: PoolerKind) -> None:
    # The standard deviation of the share of 180 windows in three classes is 0.035.
    assert probed("class", pooler, 0.1, shuffled=True) < 1 / CLASSES + 0.12


def test_a_probe_of_labels_finds_nothing_in_shuffled_ones() -> None:
    shuffled, useless = (probed("labels", "vjepa1", noise, shuffled=True) for noise in (0.1, 10.0))
    assert shuffled < useless + 0.1


def test_a_probe_of_numbers_has_no_smaller_error_than_their_mean_if_shuffled() -> None:
    # The mean absolute deviation of normal numbers is 0.8.
    assert probed("value", "vjepa1", 0.1, shuffled=True) < -0.7


def clips_of(signal: Tensor, noise: float, seed: int) -> Tensor:
    """Return clips of noise whose color shows the signal."""
    generator = torch.Generator().manual_seed(seed)
    shape = (WINDOWS, 3, TINY.num_frames, TINY.crop_px, TINY.crop_px)
    shown = signal + noise * torch.randn(signal.shape, generator=generator)
    return torch.randn(shape, generator=generator) * 0.3 + shown[:, :, None, None, None]


def finetuned(noise: float, *, shuffled: bool = False) -> float:
    """Train an encoder and a head, and return the score on test."""
    torch.manual_seed(0)
    network = Encoder(TINY).eval().requires_grad_(False)
    sampling = ClipSampling(num_frames=TINY.num_frames, fps=4.0)
    encoder = FrozenEncoder(
        encoder=network, sampling=sampling, provenance={}, facts={"name": "tiny"}
    )
    model = FinetunedEncoder(
        encoder,
        PoolerConfig(kind="mean"),
        num_classes=CLASSES,
        seed=0,
        last_blocks=None,
        drop_path=0.0,
    )
    groups = parameter_groups(model, lr=3e-3, weight_decay=0.05, layer_decay=0.75)
    optimizer = torch.optim.AdamW(groups)
    (train, train_targets), (test, test_targets) = (
        truth("class", seed, shuffled=shuffled) for seed in range(2)
    )
    clips = clips_of(train, noise, 0)
    wanted = torch.nn.functional.one_hot(train_targets.values, CLASSES).float()
    rng = np.random.default_rng(5)
    model.train()
    for step in range(STEPS):
        set_heads_step(optimizer, SCHEDULE, step)
        windows = torch.from_numpy(rng.permutation(WINDOWS)[:BATCH])
        soft_losses(model(clips[windows]), wanted[windows]).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        outputs = model(clips_of(test, noise, 1))
    return held_out_score(outputs, test_targets, np.arange(WINDOWS), CASES)


def test_finetuning_ranks_an_oracle_above_a_weak_feature() -> None:
    oracle, weak = finetuned(0.1), finetuned(3.0)
    assert oracle > 0.8
    assert oracle > weak + 0.2


def test_finetuning_finds_nothing_in_shuffled_labels() -> None:
    assert finetuned(0.1, shuffled=True) < 1 / CLASSES + 0.12
