"""Temporal heads on synthetic sequences of features."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch

from surgrec.evaluation.probes import LabeledFeatures, LogisticRegression, Probe, temporal
from surgrec.evaluation.probes.standardize import standardized
from surgrec.evaluation.probes.temporal import NetworkName, TemporalHead
from surgrec.models.temporal import CausalTcn
from tests.support.probe_data import labeled

NETWORKS: tuple[NetworkName, ...] = ("tcn", "transformer")


def sequences(seed: int, *, cases: int = 6, length: int = 60) -> LabeledFeatures:
    """Return videos of three phases in order, with features that are mostly noise."""
    rng = np.random.default_rng(seed)
    steps = np.tile(np.arange(length), cases)
    case = np.repeat(np.arange(cases), length)
    ends = np.sort(rng.integers(length // 6, length - length // 6, (cases, 2)), axis=1)
    label = (steps[:, None] >= ends[case]).sum(1)
    values = np.eye(3)[label] + rng.normal(size=(len(label), 3)) * 1.2
    return labeled(values, label, case=case, time_s=steps.astype(np.float64))


def head(network: NetworkName, epochs: int = 12) -> TemporalHead:
    return TemporalHead(network=network, max_epochs=epochs, lr=3e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_temporal_head_uses_the_windows_before(network: NetworkName) -> None:
    train, val, test = sequences(0), sequences(1, cases=2), sequences(2)
    probe = head(network)
    assert isinstance(probe, Probe)
    found = probe.fit_predict(train, test, val=val)
    alone = LogisticRegression(c_grid=(0.1,)).fit_predict(train, test)
    assert (found.label == test.label).mean() > (alone.label == test.label).mean() + 0.05
    assert np.allclose(found.probability.sum(1), 1, atol=1e-5)
    assert probe.describe({"trained": found.chosen}).startswith(probe.label)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_prediction_ignores_all_later_windows(network: NetworkName) -> None:
    train, test = sequences(0), sequences(2, cases=2)
    probe = head(network, epochs=2)
    expected = probe.fit_predict(train, test).probability
    later = test.time_s > 30
    values = test.values.clone()
    values[torch.from_numpy(later)] = 50.0
    changed = probe.fit_predict(train, dataclasses.replace(test, values=values)).probability
    assert np.allclose(changed[~later], expected[~later], atol=1e-5)
    assert not np.allclose(changed[later], expected[later], atol=1e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_seed_repeats_to_the_last_bit(network: NetworkName) -> None:
    train, test = sequences(0, cases=3), sequences(2, cases=2)
    probe = head(network, epochs=2)
    first = probe.fit_predict(train, test, seed=1).probability
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert (probe.fit_predict(train, test, seed=1).probability == first).all()
    assert torch.equal(torch.get_rng_state(), state), "the process's random state is untouched"
    assert (probe.fit_predict(train, test, seed=2).probability != first).any()


def test_the_order_of_the_windows_does_not_matter() -> None:
    train, test = sequences(0, cases=3), sequences(2, cases=2)
    probe = head("tcn", epochs=2)
    expected = probe.fit_predict(train, test).probability
    order = np.random.default_rng(0).permutation(len(test.label))
    assert np.allclose(
        probe.fit_predict(train, test.at(order)).probability, expected[order], atol=1e-6
    )


def test_the_number_of_epochs_is_chosen_on_val_or_on_train_cases() -> None:
    train = sequences(0)
    probe = head("tcn", epochs=4)
    val = sequences(1, cases=2)
    shuffled = dataclasses.replace(val, label=np.full_like(val.label, int(train.label[0])))
    choices = [probe.choose_epochs(train, each, seed=0) for each in (None, val, shuffled)]
    assert all(1 <= choice <= 4 for choice in choices)
    assert len(set(choices)) > 1, "the held-out cases decide"
    assert probe.choose_epochs(sequences(0, cases=1), None, seed=0) == 2, "no case is left out"


class _Watched(CausalTcn):
    """A causal TCN that notes the threads of each training step."""

    threads: ClassVar[list[int]] = []

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        if self.training:
            self.threads.append(torch.get_num_threads())
        return super().forward(features)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the threads of each training step of a TCN from here on."""
    monkeypatch.setitem(temporal._NETWORKS, "tcn", _Watched)
    monkeypatch.setattr(_Watched, "threads", [])
    return _Watched.threads


def test_a_choice_on_val_is_not_trained_a_second_time(steps: list[int]) -> None:
    train, test, val = sequences(0), sequences(2, cases=1), sequences(1, cases=2)
    probe = head("tcn", epochs=4)
    found = probe.fit_predict(train, test, val=val)
    assert len(steps) == 4 * 6

    # The network that was kept is the one that as many epochs on the train cases give.
    *_, again = _networks(probe, train, int(found.chosen))
    _, queries = standardized(train.values, test.values)
    probability = temporal._probability(again, queries, temporal._sequences(test))
    assert (probability == found.probability).all()


def test_no_epoch_follows_one_without_errors_on_held_out_cases(steps: list[int]) -> None:
    train = sequences(0, cases=5)
    easy = dataclasses.replace(
        train, values=torch.eye(3)[torch.from_numpy(train.label)].repeat(1, 4) * 5
    )
    probe = head("tcn", epochs=25)
    chosen = int(probe.fit_predict(easy, easy).chosen)
    assert chosen < 25
    assert len(steps) == chosen * (4 + 5), "one case of five is held out, then all are fitted"


def test_a_head_is_fitted_on_one_thread_of_a_cpu(steps: list[int]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        head("tcn", epochs=1).fit_predict(sequences(0, cases=2), sequences(2, cases=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert set(steps) == {1}


def _networks(probe: TemporalHead, train: LabeledFeatures, epochs: int) -> list[torch.nn.Module]:
    with temporal._reproducible(train.values.device):
        return list(probe._epochs(train, epochs, 0))
