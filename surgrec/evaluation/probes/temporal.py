"""Causal heads for online recognition: networks on the sequence of features of a video."""

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from surgrec.evaluation.probes.choice import choice_of
from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions, WindowFeatures
from surgrec.evaluation.probes.standardize import standardized
from surgrec.features.window_clips import steady_arithmetic
from surgrec.models.temporal import CausalTcn, CausalTransformer

_AT_END = "temporal heads that were best after their last epoch"
_BEST_SCORE = 1.0
"""Largest value of the primary score: no later epoch is better."""
_CLIP_NORM = 1.0
_MOST_CHANGE = 4.0
"""Change of a log-probability from which its penalty is constant, as in MS-TCN."""

NetworkName = Literal["tcn", "transformer"]
_NETWORKS: dict[NetworkName, type[nn.Module]] = {"tcn": CausalTcn, "transformer": CausalTransformer}
_LABELS: dict[NetworkName, str] = {"tcn": "causal TCN", "transformer": "causal transformer"}


@dataclass(frozen=True, kw_only=True)
class TemporalHead:
    """A causal network on the features of a video, in the order of their times.

    The sequence of a video holds its windows with a label. A prediction depends on its window and
    on earlier ones of the same video. On the CPU, equal inputs give equal bits.
    """

    network: NetworkName
    max_epochs: int = 25
    """Largest number of epochs. The number with the best primary score on held-out cases is chosen;
    then the train cases are trained for as many epochs."""
    folds: int = 5
    """Without val, one of so many folds of train cases is held out for the choice."""
    lr: float = 5e-4
    """Learning rate of Adam, as in MS-TCN, with one step per video."""
    smoothing: float = 0.15
    """Weight of the penalty of abrupt changes, as in MS-TCN."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the initial weights, the order of videos, and dropout."""

    issues = (_AT_END,)

    @property
    def name(self) -> str:
        """Name in files."""
        return f"causal_{self.network}"

    @property
    def label(self) -> str:
        """Name in text."""
        return _LABELS[self.network]

    def fit_predict(
        self,
        train: LabeledFeatures,
        test: WindowFeatures,
        *,
        val: LabeledFeatures | None = None,
        seed: int = 0,
    ) -> ProbePredictions:
        """Choose the number of epochs, train on all train videos, and predict the test windows."""
        with _reproducible(train.values.device):
            epochs, network = self._choose(train, val, seed)
            if network is None:
                *_, network = self._epochs(train, epochs, seed)
            _, queries = standardized(train.values, test.values)
            probability = _probability(network, queries, _sequences(test))
        at_end = epochs == self.max_epochs
        return ProbePredictions.most_probable(probability, str(epochs), {_AT_END: at_end})

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the part of the protocol that describes this probe."""
        seeds = ", ".join(map(str, self.seeds))
        choices = ", ".join(f"{epochs} for {name}" for name, epochs in chosen.items())
        return (
            f"{self.label}: on the labeled windows of a video up to the present one, seeds "
            f"{seeds}, Adam with learning rate {self.lr:g} and one step per video, at most "
            f"{self.max_epochs} epochs, their number by macro F1 on val, or without val on one of "
            f"up to {self.folds} folds of train cases (chosen with the last seed: {choices})"
        )

    def choose_epochs(self, train: LabeledFeatures, val: LabeledFeatures | None, seed: int) -> int:
        """Return the number of epochs with the best primary score on held-out cases.

        Of equally good ones it is the smallest. A single train case without val has no held-out
        cases: the number is then half of the largest one.
        """
        with _reproducible(train.values.device):
            return self._choose(train, val, seed)[0]

    def _choose(
        self, train: LabeledFeatures, val: LabeledFeatures | None, seed: int
    ) -> tuple[int, nn.Module | None]:
        """Return the chosen number of epochs and, with val, the network after that many.

        Without val, the network of the choice lacks the train cases that were held out: None.
        """
        choice = choice_of(train, val, self.folds)
        if choice is None:
            return (self.max_epochs + 1) // 2, None

        choice = dataclasses.replace(choice, folds=choice.folds[:1])
        ((fitted, held_out),) = choice.folds
        part, rest = choice.windows.at(fitted), choice.windows.at(held_out)
        (_, queries), videos = standardized(part.values, rest.values), _sequences(rest)
        chosen, best, best_score = 0, None, -math.inf
        for epoch, network in enumerate(self._epochs(part, self.max_epochs, seed), start=1):
            predicted = np.zeros_like(choice.windows.label)
            predicted[held_out] = _probability(network, queries, videos).argmax(1)
            score = choice.score(predicted)
            if score > best_score:
                chosen, best_score = epoch, score
                best = None if val is None else copy.deepcopy(network)
            if score >= _BEST_SCORE:
                break
        return chosen, best

    def _epochs(self, train: LabeledFeatures, epochs: int, seed: int) -> Iterator[nn.Module]:
        """Train a network, and yield it after each epoch."""
        (values,) = standardized(train.values)
        label = torch.from_numpy(train.label).to(values.device)
        videos = _sequences(train)
        torch.manual_seed(seed)
        network = _NETWORKS[self.network](values.shape[1], train.num_classes).to(values.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)

        for _ in range(epochs):
            network.train()
            for number in torch.randperm(len(videos)).tolist():
                rows = videos[number]
                stages = network(rearrange(values[rows], "n d -> 1 n d"))
                optimizer.zero_grad()
                torch.autograd.backward(_sequence_loss(stages, label[rows], self.smoothing))
                nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
                optimizer.step()
            yield network


@contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Keep the random state of the process, and use one thread on the CPU.

    The steps are small: on busy cores, threads wait for each other longer than they compute.
    """
    devices = [device] if device.type == "cuda" else []
    with steady_arithmetic(device), torch.random.fork_rng(devices=devices):
        yield


def _sequence_loss(
    stages: Sequence[Float[Tensor, "1 n k"]], label: Int64[Tensor, " n"], smoothing: float
) -> Float[Tensor, ""]:
    """Return the cross-entropy of all stages and a penalty of abrupt changes (MS-TCN, section 3.3).

    Args:
        stages: Logits of each stage.
        label: Class of each step.
        smoothing: Weight of the penalty.
    """
    losses = []
    for logits in stages:
        log_shares = logits[0].log_softmax(1)
        change = (log_shares[1:] - log_shares[:-1].detach()).abs().clamp(max=_MOST_CHANGE)
        penalty = change.square().sum() / max(1, change.numel())
        losses.append(F.nll_loss(log_shares, label) + smoothing * penalty)
    return torch.stack(losses).sum()


@torch.no_grad()
def _probability(
    network: nn.Module, values: Float32[Tensor, "m d"], videos: Sequence[Int64[Tensor, " _"]]
) -> Float32[np.ndarray, "m k"]:
    """Return the probabilities of the last stage."""
    network.eval()
    parts = [network(rearrange(values[rows], "n d -> 1 n d"))[-1][0].softmax(1) for rows in videos]
    probability = torch.cat(parts)
    result = torch.empty_like(probability)
    result[torch.cat(list(videos))] = probability
    return np.asarray(result.cpu().numpy())


def _sequences(features: WindowFeatures) -> list[Int64[Tensor, " _"]]:
    """Return the rows of each video, in the order of time."""
    order = np.lexsort((features.time_s, features.video))
    _, starts = np.unique(features.video[order], return_index=True)
    return [torch.from_numpy(rows) for rows in np.split(order, starts[1:])]
