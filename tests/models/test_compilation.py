"""Compiled blocks: as many versions as are needed, and the results of other blocks."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.models import Encoder, EncoderConfig, _compilation
from surgrec.models.activations import ActivationCheckpointing
from surgrec.models.blocks import Block, checkpoint_activations, compile_blocks
from tests.support.compiled import num_versions, traced_only

pytestmark = pytest.mark.slow
CONFIG = EncoderConfig(width=64, depth=2, num_heads=2, num_frames=4, crop_px=64)


@pytest.fixture(autouse=True)
def tracing() -> Iterator[None]:
    with traced_only():
        yield


def step(encoder: Encoder, rows: int, tokens: int) -> list[Tensor]:
    """Return the features and gradients of a step with so many clips and visible tokens."""
    torch.manual_seed(rows * tokens)
    index = torch.arange(tokens).expand(rows, -1)
    encoder.zero_grad()
    features = encoder(torch.randn(rows, 3, 4, 64, 64), index)
    features.square().mean().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    return [features.detach(), *(each.clone() for each in gradients if each is not None)]


def test_compiled_blocks_give_equal_features_and_gradients() -> None:
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    plain = step(encoder, 2, 8)
    names = list(encoder.state_dict())
    compile_blocks(encoder, fixed_shapes=True)
    again = step(encoder, 2, 8)
    assert len(again) == len(plain) > 20
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, again, strict=True))
    assert list(encoder.state_dict()) == names
    assert num_versions() == 1  # the blocks share it


@pytest.mark.parametrize("kept", ["selective", "full"])
def test_recomputed_activations_are_compiled_in_the_same_graph(
    kept: ActivationCheckpointing,
) -> None:
    torch.manual_seed(0)
    encoder = Encoder(CONFIG)
    plain = step(encoder, 2, 8)
    checkpoint_activations(encoder, kept)
    compile_blocks(encoder, fixed_shapes=True)
    again = step(encoder, 2, 8)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, again, strict=True))
    assert num_versions() == 1


@pytest.mark.parametrize(("fixed_shapes", "versions"), [(True, 4), (False, 1)])
def test_shapes_have_a_version_each_or_one_for_all(fixed_shapes: bool, versions: int) -> None:
    encoder = Encoder(CONFIG)
    compile_blocks(encoder, fixed_shapes=fixed_shapes)
    for _ in range(3):
        for rows, tokens in ((2, 8), (3, 8), (2, 12), (3, 16)):
            step(encoder, rows, tokens)
    assert num_versions() == versions


def test_measurements_are_not_compiled() -> None:
    encoder = Encoder(CONFIG)
    compile_blocks(encoder, fixed_shapes=True)
    clips = torch.randn(1, 3, 4, 64, 64)
    with torch.no_grad():
        encoder(clips)
    encoder.eval()
    encoder(clips).sum().backward()
    assert num_versions() == 0


def test_a_copy_of_compiled_blocks_uses_its_own_weights() -> None:
    encoder = Encoder(CONFIG)
    compile_blocks(encoder, fixed_shapes=True)
    target = copy.deepcopy(encoder).requires_grad_(False)
    with torch.no_grad():
        clips = torch.randn(1, 3, 4, 64, 64)
        before = target(clips)
        for block in encoder.modules():
            if isinstance(block, Block):
                block.mlp.fc2.weight.mul_(2)
        assert torch.equal(target(clips), before)
    assert num_versions() == 1


def test_more_versions_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compilation, "MAX_SHAPES", 1)
    encoder = Encoder(CONFIG)
    compile_blocks(encoder, fixed_shapes=True)
    step(encoder, 2, 8)
    with pytest.raises(ConfigError, match="need more than 1 compiled versions"):
        step(encoder, 2, 12)
