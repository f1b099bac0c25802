"""Causal networks on sequences of features."""

import pytest
import torch
from torch import nn

from surgrec.models.temporal import CausalTcn, CausalTransformer


@pytest.mark.parametrize("network_type", [CausalTcn, CausalTransformer])
def test_an_output_does_not_depend_on_later_features(network_type: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = network_type(6, 3).eval()
    features = torch.randn(1, 40, 6)
    expected = network(features)[-1]
    assert expected.shape == (1, 40, 3)

    for now in (0, 1, 17, 38):
        changed = features.clone()
        changed[:, now + 1 :] = 100 * torch.randn(1, 39 - now, 6)
        outputs = network(changed)[-1]
        assert torch.allclose(outputs[:, : now + 1], expected[:, : now + 1], atol=1e-5)
        assert not torch.allclose(outputs[:, now + 1], expected[:, now + 1], atol=1e-3)
        assert torch.allclose(
            network(features[:, : now + 1])[-1], expected[:, : now + 1], atol=1e-5
        ), "a video that has only begun"


@pytest.mark.parametrize("network_type", [CausalTcn, CausalTransformer])
def test_an_output_depends_on_features_of_the_past(network_type: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = network_type(6, 3).eval()
    features = torch.randn(1, 300, 6, requires_grad=True)
    network(features)[-1][0, 299].sum().backward()
    assert features.grad is not None
    reached = features.grad.abs().sum(2)[0] > 0
    assert reached[60:].float().mean() > 0.9, "eight layers of a stage see 511 steps"


def test_each_stage_after_the_first_sees_probabilities_alone() -> None:
    network = CausalTcn(6, 3, stages=3)
    assert [stage[0].in_channels for stage in network.stages] == [6, 3, 3]
    assert len(network(torch.randn(2, 5, 6))) == 3
