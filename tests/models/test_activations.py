"""Blocks that compute activations again give the same gradients with less memory."""

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from surgrec.models import Encoder, EncoderConfig
from surgrec.models.activations import ActivationCheckpointing
from surgrec.models.blocks import Block, checkpoint_activations

CONFIG = EncoderConfig(width=64, depth=3, num_heads=2, num_frames=4, crop_px=32)


def gradients(encoder: Encoder, clips: Tensor) -> tuple[list[Tensor], int]:
    """Return the gradients of a loss, and the bytes of activations that are kept for it."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    encoder.zero_grad()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = encoder(clips).square().mean()
    loss.backward()
    found = [parameter.grad for parameter in encoder.parameters()]
    return [gradient.clone() for gradient in found if gradient is not None], sum(kept.values())


def test_gradients_are_equal_and_less_is_kept() -> None:
    torch.manual_seed(0)
    encoder, clips = Encoder(CONFIG), torch.randn(2, 3, 4, 32, 32)
    plain, most = gradients(encoder, clips)
    checkpoint_activations(encoder, "full")
    again, least = gradients(encoder, clips)
    assert len(again) == len(plain) > 20
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert least < most / 4


@pytest.mark.parametrize("kept", ["selective", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_gradients_are_equal_in_every_precision(
    kept: ActivationCheckpointing, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    encoder, clips = Encoder(CONFIG), torch.randn(2, 3, 4, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        plain, _ = gradients(encoder, clips)
        checkpoint_activations(encoder, kept)
        again, _ = gradients(encoder, clips)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))


@pytest.mark.parametrize("kept", ["selective", "full"])
def test_a_block_that_is_called_twice_computes_again_under_autocast(
    kept: ActivationCheckpointing,
) -> None:
    torch.manual_seed(0)
    encoder, clips = Encoder(CONFIG), torch.randn(2, 3, 4, 32, 32)

    def gradient() -> Tensor:
        encoder.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = (encoder(clips) + encoder(2 * clips)).square().mean()
        loss.backward()
        found = encoder.get_parameter("blocks.0.mlp.fc1.weight").grad
        assert found is not None
        return found.clone()

    plain = gradient()
    checkpoint_activations(encoder, kept)
    again = gradient()
    # The gradients of two calls add up in float32 with selective, and in bf16 otherwise.
    assert (again - plain).norm() < 1e-2 * plain.norm()


def test_a_copy_for_the_moving_average_uses_its_own_weights() -> None:
    torch.manual_seed(0)
    encoder, clips = Encoder(CONFIG), torch.randn(1, 3, 4, 32, 32)
    checkpoint_activations(encoder, "full")
    target = copy.deepcopy(encoder)
    before = target(clips)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(2)
    assert torch.equal(target(clips), before)
    assert all(
        b.activation_checkpointing == "full" for b in target.modules() if isinstance(b, Block)
    )
