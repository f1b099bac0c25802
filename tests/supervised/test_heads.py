"""A grid of heads on synthetic tokens: it learns, its heads are apart, and the choice is fair."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec.errors import ConfigError, TrainingError
from surgrec.models.classifier import PoolerConfig, PoolerKind
from surgrec.supervised import (
    GridConfig,
    PartGradients,
    ProbeHeads,
    build_heads_optimizer,
    head_settings,
    set_heads_step,
    window_losses,
)
from surgrec.supervised._choice import choose_setting
from surgrec.supervised._folds import fold_of_windows, head_weights
from surgrec.supervised._grid import HeadSetting
from surgrec.supervised._order import WindowOrder
from surgrec.supervised._part_gradients import PARTS
from surgrec.supervised._targets import Targets
from surgrec.training import Checkpoints, ScheduleConfig
from surgrec.training._checkpoint import TrainingState

WIDTH, CLASSES, WINDOWS, BATCH, STEPS = 24, 3, 60, 16, 20
GRID = GridConfig(lr=(1e-2, 1e-4), weight_decay=(0.01,), seeds=(0, 1))


def tokens_and_labels() -> tuple[Tensor, Tensor]:
    """Return tokens that show the class, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(WINDOWS) % CLASSES
    tokens = torch.randn(WINDOWS, 6, WIDTH, generator=generator) * 0.3
    tokens[:, :, :CLASSES] += torch.nn.functional.one_hot(labels, CLASSES)[:, None]
    return tokens, labels


class Training:
    """The loop of the recipe, on tokens that exist already."""

    def __init__(self, settings: list[HeadSetting], kind: PoolerKind = "vjepa1") -> None:
        self.tokens, self.labels = tokens_and_labels()
        self.heads = ProbeHeads(
            settings, PoolerConfig(kind=kind, num_heads=4), width=WIDTH, num_outputs=CLASSES
        )
        self.optimizer = build_heads_optimizer(self.heads)
        self.weights = torch.ones(len(settings), WINDOWS)
        self.targets = Targets.of_classes(self.labels, CLASSES)

    def run(self, steps: range) -> None:
        order = WindowOrder(WINDOWS, BATCH, seed=7)
        gradients = PartGradients(list(self.heads.heads))
        share = ScheduleConfig(value=1.0, decay="cosine", end=0.0, end_step=STEPS)
        for step in steps:
            set_heads_step(self.optimizer, share, step)
            for part in range(PARTS):
                windows = torch.tensor(order.windows(order.positions(step, part)))
                for head, weights in zip(self.heads.heads, self.weights, strict=True):
                    losses = window_losses(head(self.tokens[windows]), self.targets, windows)
                    ((losses * weights[windows]).sum() / BATCH).backward()
                gradients.add_part()
            gradients.reduce()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def state(self) -> TrainingState:
        return TrainingState(
            modules={"heads": self.heads},
            optimizer=self.optimizer,
            trained=self.heads,
            identity=lambda step: {"recipe": "probe"},
        )

    @property
    def accuracies(self) -> list[float]:
        with torch.no_grad():
            predicted = self.heads(self.tokens).argmax(-1)
        return [float((row == self.labels).float().mean()) for row in predicted]


@pytest.mark.parametrize("kind", ["vjepa1", "mean"])
def test_a_grid_learns_in_one_pass_and_each_head_at_its_rate(kind: PoolerKind) -> None:
    training = Training(head_settings(GRID, 0), kind)
    training.run(range(STEPS))
    fast, _, slow, _ = training.accuracies
    assert fast > 0.95
    assert slow < fast


def test_a_head_of_a_grid_has_the_bits_of_one_that_trains_alone() -> None:
    settings = head_settings(GRID, 0)
    together, alone = Training(settings), Training([settings[3]])
    together.run(range(6))
    alone.run(range(6))
    for first, second in zip(
        together.heads.heads[3].parameters(), alone.heads.heads[0].parameters(), strict=True
    ):
        assert torch.equal(first, second)


def test_a_resumed_grid_has_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    settings = head_settings(GRID, 0)
    whole, first, second = Training(settings), Training(settings), Training(settings)
    whole.run(range(8))

    first.run(range(5))
    Checkpoints(tmp_path, keep=1).save(5, first.state())
    Checkpoints(tmp_path, keep=1).load(5, second.state())
    second.run(range(5, 8))
    for name, value in whole.heads.state_dict().items():
        assert torch.equal(second.heads.state_dict()[name], value), name


def test_the_head_of_a_fold_does_not_see_the_labels_of_its_cases() -> None:
    cases = np.repeat(np.arange(6), 10)
    folds = fold_of_windows(cases, 3)
    settings = head_settings(GridConfig(lr=(1e-2,), weight_decay=(0.0,), seeds=(0,)), 3)
    trained = []
    for flipped in (False, True):
        training = Training(settings)
        training.weights = head_weights(settings, folds, WINDOWS)
        labels = training.labels.clone()
        if flipped:
            labels[torch.from_numpy(folds == 1)] = 0
        training.targets = Targets.of_classes(labels, CLASSES)
        training.run(range(4))
        trained.append(
            [
                torch.cat([each.flatten() for each in head.parameters()])
                for head in training.heads.heads
            ]
        )
    same = [torch.equal(first, second) for first, second in zip(*trained, strict=True)]
    assert [setting.fold for setting in settings] == [None, 0, 1, 2]
    assert same == [False, False, True, False]


def test_folds_hold_whole_cases_and_their_weights_have_mean_one() -> None:
    cases = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4, 4])
    folds = fold_of_windows(cases, 2)
    for case in np.unique(cases):
        assert len(np.unique(folds[cases == case])) == 1
    weights = head_weights(head_settings(GRID, 2), folds, len(cases))
    torch.testing.assert_close(weights.mean(1), torch.ones(len(weights)))


def test_more_folds_than_cases_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"grid.folds is 3, but the train part has 2 cases"):
        fold_of_windows(np.array([0, 0, 1]), 3)


def test_the_choice_takes_the_best_mean_over_heads() -> None:
    settings = head_settings(
        GridConfig(lr=(3e-3, 1e-3, 1e-4), weight_decay=(0.1,), seeds=(0, 1)), 0
    )
    choice = choose_setting(settings, [0.9, 0.1, 0.6, 0.7, float("nan"), 0.9])
    assert (choice.lr, choice.score, choice.at_edge) == (1e-3, pytest.approx(0.65), False)
    assert [choice.includes(setting) for setting in settings] == [False] * 2 + [True] * 2 + [
        False
    ] * 2
    assert choice.text == "lr 0.001, weight decay 0.1"


def test_heads_outside_the_choice_do_not_count() -> None:
    settings = head_settings(GridConfig(lr=(1e-2, 1e-3), weight_decay=(0.1,), seeds=(0,)), 2)
    scores = [None if setting.fold is None else 0.5 + setting.lr for setting in settings]
    assert choose_setting(settings, scores).lr == 1e-2


def test_a_grid_without_any_score_is_refused() -> None:
    settings = head_settings(GRID, 0)
    with pytest.raises(TrainingError, match="no head of the grid has a score"):
        choose_setting(settings, [float("nan")] * len(settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": ()}, r"grid.lr is \[\]; give one or several values"),
        ({"seeds": (1, 1)}, r"grid.seeds is \[1, 1\]; give one or several values, each once"),
        ({"lr": (-1.0,)}, r"lr\[0\] is -1.0; give more than 0"),
    ],
)
def test_an_impossible_grid_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GridConfig(**changes)  # type: ignore[arg-type]


def test_an_order_has_every_window_once_per_epoch_and_new_orders() -> None:
    order = WindowOrder(WINDOWS, BATCH, seed=3)
    first, second = order.windows(range(WINDOWS)), order.windows(range(WINDOWS, 2 * WINDOWS))
    assert sorted(first) == sorted(second) == list(range(WINDOWS))
    assert first != second
    assert order.positions(2, 3) == range(2 * BATCH + 6, 2 * BATCH + 8)


def test_a_batch_that_cannot_be_cut_in_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="global_batch is 12; give a multiple of 8"):
        WindowOrder(WINDOWS, 12, seed=0)


def test_the_losses_of_each_kind_agree_with_their_definitions() -> None:
    outputs, windows = torch.tensor([[2.0, -1.0], [0.5, 0.5]]), torch.tensor([1, 0])
    classes = window_losses(outputs, Targets.of_classes(torch.tensor([0, 1]), 2), windows)
    expected = torch.tensor([np.log1p(np.exp(3.0)), np.log(2.0)], dtype=torch.float32)
    torch.testing.assert_close(classes, expected)

    labels = window_losses(outputs, Targets.of_labels(torch.tensor([[1, 0], [0, 1]])), windows)
    softplus = torch.nn.functional.softplus
    by_hand = torch.stack(
        [
            softplus(outputs[0]) - torch.tensor([0.0, -1.0]),
            softplus(outputs[1]) - torch.tensor([0.5, 0.0]),
        ]
    ).sum(1)
    torch.testing.assert_close(labels, by_hand)

    targets = Targets.of_values(torch.tensor([1.0, 3.0]))
    values = window_losses(outputs[:, :1], targets, windows)
    assert (targets.offset, targets.scale) == (2.0, 1.0)
    torch.testing.assert_close(values, torch.tensor([1.0, 2.25]))
