from types import SimpleNamespace
from typing import cast

import pytest
import torch
from einops import repeat

from surgrec.training import Run
from surgrec.training._diagnostics import (
    DIAGNOSIS_EVERY,
    MAX_RANK_TOKENS,
    CollapseSigns,
    rankme,
    some_tokens,
    update_ratio,
)
from surgrec.training._drift import linear_cka
from surgrec.training.session import skip_unless_finite


def healthy_tokens(num_clips: int = 8) -> torch.Tensor:
    return torch.randn(num_clips, 50, 32, generator=torch.Generator().manual_seed(0))


def signs_of(tokens: torch.Tensor) -> dict[str, float]:
    signs = CollapseSigns(width=tokens.shape[2], num_ranks=1)
    signs.note(tokens, parts=1)
    return signs.take()


def test_token_std_is_the_spread_over_tokens():
    tokens = 3 * healthy_tokens() + 7
    expected = tokens.flatten(0, 1).std(dim=0, correction=0).mean().item()
    assert signs_of(tokens)["token_std"] == pytest.approx(expected, rel=1e-5)
    assert signs_of(torch.ones(2, 5, 4))["token_std"] == 0.0


def test_variance_is_between_clips_only_where_clips_differ():
    def ratio(tokens: torch.Tensor) -> float:
        return signs_of(tokens)["between_clip_variance"]

    clips = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    assert ratio(repeat(clips, "b d -> b n d", n=50)) == pytest.approx(1.0, rel=1e-5)
    assert ratio(repeat(healthy_tokens(1), "1 n d -> b n d", b=8)) < 1e-6
    assert ratio(healthy_tokens()) == pytest.approx(7 / 8 / 50, rel=0.3)
    assert ratio(torch.zeros(2, 5, 4)) == 0.0
    assert "between_clip_variance" not in signs_of(healthy_tokens(1))


def test_signs_of_parts_and_ranks_are_those_of_all_their_clips():
    tokens = healthy_tokens(8)
    ranks = [CollapseSigns(width=32, num_ranks=2) for _ in range(2)]
    for rank, signs in enumerate(ranks):
        for part in range(2):
            signs.note(tokens[4 * rank + 2 * part :][:2], parts=2)
    kept = [[torch.cat(each) for each in (r._tokens, r._means, r._variances)] for r in ranks]
    gathered = iter([torch.cat(pair) for pair in zip(*kept, strict=True)])

    assert ranks[1].take(compute=False) == {}
    found = ranks[0].take(lambda own: next(gathered))
    assert found == pytest.approx(signs_of(tokens), rel=1e-5)
    assert ranks[0].take() == {}, "the next step begins without features"


def test_the_last_level_counts_and_tokens_are_spread():
    levels = torch.cat([torch.ones(8, 50, 32), healthy_tokens()], dim=2)
    signs = CollapseSigns(width=32, num_ranks=1)
    signs.note(levels, parts=1)
    assert signs.take() == pytest.approx(signs_of(healthy_tokens()), rel=1e-6)


@pytest.mark.parametrize(
    ("clips", "frames", "side"), [(8, 8, 16), (1, 8, 24), (3, 8, 14), (8, 32, 24), (1, 9, 22)]
)
@pytest.mark.parametrize("most", [MAX_RANK_TOKENS, 341, 64])
def test_some_tokens_are_as_many_as_wanted_and_spread(
    clips: int, frames: int, side: int, most: int
) -> None:
    num_tokens = frames * side * side
    ids = torch.arange(clips * num_tokens).view(clips, num_tokens, 1).float()
    chosen = some_tokens(ids, most).flatten().long()
    assert len(chosen) == len(set(chosen.tolist())) == min(most, clips * num_tokens)
    # Clips, frames, rows and columns have equal shares, up to some tokens.
    grid = torch.unravel_index(chosen, (clips, frames, side, side))
    for places, size in zip(grid, (clips, frames, side, side), strict=True):
        share = torch.bincount(places, minlength=size) / len(chosen)
        assert share.sub(1 / size).abs().max() < 4 / len(chosen) + 0.2 / size


@pytest.mark.parametrize("every", [1, 5, 7, 10, 50])
def test_one_log_sync_in_twenty_steps_is_diagnosed_and_the_last_step(every: int):
    config = SimpleNamespace(steps=203, log=SimpleNamespace(every=every))
    run = cast(Run, SimpleNamespace(config=config))
    done = [step + 1 for step in range(203) if Run.is_diagnosis_step(run, step)]
    assert done.pop() == 203
    assert all(each % every == 0 for each in done)
    spans = [each // DIAGNOSIS_EVERY for each in done]
    assert len(set(spans)) == len(spans)
    assert len(done) >= 200 // max(every, DIAGNOSIS_EVERY) - 1


@pytest.mark.parametrize("rank", [1, 4, 32])
def test_rankme_counts_directions_of_equal_size(rank):
    basis, _ = torch.linalg.qr(torch.randn(200, 32, generator=torch.Generator().manual_seed(0)))
    features = basis[:, :rank] @ torch.eye(rank, 32) * 5
    assert rankme(features).item() == pytest.approx(rank, rel=1e-3)


def test_rankme_weighs_directions_by_their_singular_value():
    features = torch.zeros(4, 4)
    features[0, 0], features[1, 1] = 3.0, 1.0
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert rankme(features).item() == pytest.approx(entropy.exp().item(), rel=1e-4)


def test_collapse_shows_in_every_diagnostic():
    healthy = signs_of(healthy_tokens())
    collapsed = signs_of(torch.ones(8, 50, 32) + 1e-3 * healthy_tokens())
    assert collapsed["token_std"] < 0.01 * healthy["token_std"]
    assert collapsed["rankme"] < 0.1 * healthy["rankme"]
    one_clip = signs_of(repeat(healthy_tokens(1), "1 n d -> b n d", b=8))
    assert one_clip["between_clip_variance"] < 0.01 * healthy["between_clip_variance"]


def test_diagnostics_are_the_same_for_bf16_tokens_and_many_of_them():
    tokens = torch.randn(8, 512, 16, generator=torch.Generator().manual_seed(0))
    full, low = signs_of(tokens), signs_of(tokens.bfloat16())
    assert full == pytest.approx(low, rel=0.02)
    assert full["rankme"] == pytest.approx(rankme(tokens.flatten(0, 1)).item(), rel=0.02)


@pytest.mark.parametrize("shape", [(300, 64), (64, 300), (200, 200)])
@pytest.mark.parametrize("decay", [0.0, 0.5, 2.0])
def test_rankme_agrees_with_a_singular_value_decomposition(shape, decay):
    rows, columns = shape
    features = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    features = features * torch.arange(1, columns + 1) ** -decay
    singular = torch.linalg.svdvals(features)
    share = singular / singular.sum() + 1e-7
    expected = torch.exp(-(share * share.log()).sum())
    assert rankme(features).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_cost_of_rankme_is_bounded_for_any_batch_and_width(monkeypatch):
    sides = []
    real = torch.linalg.eigvalsh
    monkeypatch.setattr(
        torch.linalg, "eigvalsh", lambda matrix: sides.append(matrix.shape) or real(matrix)
    )
    signs = CollapseSigns(width=1200, num_ranks=16)
    for part in range(2):  # of eight parts, 4096 / (8 * 16) = 32 tokens each
        generator = torch.Generator().manual_seed(part)
        signs.note(torch.randn(6, 512, 1200, generator=generator), parts=8)
    signs.take()
    assert sides == [(64, 64)]


def test_the_update_ratio_is_that_of_the_weights_before_and_after_a_step():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Linear(30, 5))
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.0, eps=1e-8)
    assert update_ratio(optimizer).item() == 0.0, "no update yet"
    for _ in range(4):
        before = torch.cat([each.detach().flatten().clone() for each in module.parameters()])
        module(torch.randn(8, 20)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = torch.cat([each.detach().flatten() for each in module.parameters()])
    expected = (after - before).norm() / after.norm()
    assert update_ratio(optimizer).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_update_ratio_is_zero_while_every_step_was_skipped():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, fused=True)
    parameter.grad = torch.full((3,), float("nan"))
    skip_unless_finite(optimizer, torch.tensor(float("nan")))
    optimizer.step()
    assert optimizer.state[parameter]["step"].item() == 0, "the step was skipped"
    assert update_ratio(optimizer).item() == 0.0


def test_cka_ignores_rotations_and_falls_for_other_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 16, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
    assert linear_cka(features, 3 * features @ rotation + 5) == pytest.approx(1.0, rel=1e-5)
    assert linear_cka(features, torch.randn(40, 16, generator=generator)) < 0.6
    assert linear_cka(features, torch.zeros(40, 16)) == 0.0
