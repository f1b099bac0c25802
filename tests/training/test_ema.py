import pytest
import torch
from torch import nn

from surgrec.training import ema_copy, update_ema


def test_the_target_is_a_running_mean_of_the_source():
    torch.manual_seed(0)
    source = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    target = ema_copy(source)
    expected = [parameter.detach().clone() for parameter in source.parameters()]
    for momentum in (0.9, 0.5, 0.99925):
        for parameter in source.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        update_ema(target, source, momentum)
        expected = [
            momentum * mean + (1 - momentum) * now
            for mean, now in zip(expected, source.parameters(), strict=True)
        ]
    for mean, by_hand in zip(target.parameters(), expected, strict=True):
        torch.testing.assert_close(mean, by_hand)


def test_momentum_1_keeps_the_target_and_0_copies_the_source():
    source = nn.Linear(2, 2)
    target = ema_copy(source)
    before = target.weight.clone()
    nn.init.normal_(source.weight)
    update_ema(target, source, momentum=1.0)
    assert torch.equal(target.weight, before)
    update_ema(target, source, momentum=0.0)
    assert torch.equal(target.weight, source.weight)


def test_a_skipped_step_keeps_the_target_and_an_applied_one_is_exact():
    source = nn.Linear(5, 3)
    target, plain = ema_copy(source), ema_copy(source)
    before = target.weight.clone()
    nn.init.normal_(source.weight)
    update_ema(target, source, 0.9, torch.tensor(0.0))
    assert torch.equal(target.weight, before)
    update_ema(target, source, 0.9, torch.tensor(1.0))
    update_ema(plain, source, 0.9)
    assert torch.equal(target.weight, plain.weight)


def test_the_target_shares_no_memory_and_takes_no_gradient():
    source = nn.Linear(2, 2)
    target = ema_copy(source)
    assert target.weight.data_ptr() != source.weight.data_ptr()
    assert not any(parameter.requires_grad for parameter in target.parameters())
    assert all(parameter.requires_grad for parameter in source.parameters())


def test_an_average_in_half_precision_is_refused():
    source = nn.Linear(2, 2).bfloat16()
    with pytest.raises(AssertionError, match="float32"):
        update_ema(ema_copy(source), source, momentum=0.99925)
