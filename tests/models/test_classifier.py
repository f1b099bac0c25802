"""Classifiers on tokens. Their parity with Hugging Face is tested in tests/convert."""

import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.models.classifier import Classifier, PoolerConfig, PoolerKind

WIDTH = 48


@pytest.mark.parametrize("kind", ["vjepa2", "vjepa1", "mean"])
def test_every_token_counts_and_their_order_does_not(kind: PoolerKind) -> None:
    torch.manual_seed(0)
    classifier = Classifier(PoolerConfig(kind=kind, num_heads=4), width=WIDTH, num_classes=5)
    tokens = torch.randn(1, 6, WIDTH, requires_grad=True)
    logits = classifier(tokens)
    logits.square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad.abs().amax(-1) > 0).all()
    torch.testing.assert_close(classifier(tokens.flip(1)), logits, atol=1e-5, rtol=1e-4)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pooler.num_heads is 7, .* the 48 channels"):
        Classifier(PoolerConfig(num_heads=7), width=WIDTH, num_classes=2)
