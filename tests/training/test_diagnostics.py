import pytest
import torch
from einops import repeat

from surgrec.training import collapse_diagnostics
from surgrec.training._diagnostics import (
    between_clip_variance_ratio,
    rankme,
    token_std,
    update_ratio,
)
from surgrec.training._drift import linear_cka


def healthy_tokens(num_clips: int = 8) -> torch.Tensor:
    return torch.randn(num_clips, 50, 32, generator=torch.Generator().manual_seed(0))


def test_token_std_is_the_spread_over_tokens():
    assert token_std(3 * healthy_tokens() + 7).item() == pytest.approx(3.0, rel=0.05)
    assert token_std(torch.ones(2, 5, 4)).item() == 0.0


def test_variance_is_between_clips_only_where_clips_differ():
    clips = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    assert between_clip_variance_ratio(repeat(clips, "b d -> b n d", n=50)).item() == pytest.approx(
        1.0, rel=1e-5
    )
    assert (
        between_clip_variance_ratio(repeat(healthy_tokens(1), "1 n d -> b n d", b=8)).item() < 1e-6
    )
    assert between_clip_variance_ratio(healthy_tokens()).item() == pytest.approx(
        7 / 8 / 50, rel=0.3
    )
    assert between_clip_variance_ratio(torch.zeros(2, 5, 4)).item() == 0.0


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
    healthy = collapse_diagnostics(healthy_tokens())
    collapsed = collapse_diagnostics(torch.ones(8, 50, 32) + 1e-3 * healthy_tokens())
    assert collapsed["token_std"] < 0.01 * healthy["token_std"]
    assert collapsed["rankme"] < 0.1 * healthy["rankme"]
    one_clip = collapse_diagnostics(repeat(healthy_tokens(1), "1 n d -> b n d", b=8))
    assert one_clip["between_clip_variance"] < 0.01 * healthy["between_clip_variance"]


def test_diagnostics_are_the_same_for_bf16_tokens_and_many_of_them():
    tokens = torch.randn(8, 512, 16, generator=torch.Generator().manual_seed(0))
    full, low = collapse_diagnostics(tokens), collapse_diagnostics(tokens.bfloat16())
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
    collapse_diagnostics(torch.randn(6, 500, 1200, generator=torch.Generator().manual_seed(0)))
    assert sides == [(500, 500)], "of 3,000 tokens, every sixth"


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


def test_cka_ignores_rotations_and_falls_for_other_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 16, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
    assert linear_cka(features, 3 * features @ rotation + 5) == pytest.approx(1.0, rel=1e-5)
    assert linear_cka(features, torch.randn(40, 16, generator=generator)) < 0.6
    assert linear_cka(features, torch.zeros(40, 16)) == 0.0
