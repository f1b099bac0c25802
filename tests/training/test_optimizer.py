import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.models import Encoder, EncoderConfig, PredictorConfig
from surgrec.objectives import JepaObjective, JepaObjectiveConfig
from surgrec.training import (
    OptimizerConfig,
    ScheduleConfig,
    build_optimizer,
    clip_gradients,
    set_step,
)

CONFIG = OptimizerConfig(
    lr=ScheduleConfig(start=0.0, value=0.1, warmup_steps=10),
    weight_decay=ScheduleConfig(value=0.1, decay="linear", end=0.5, end_step=10),
)


def small_objective() -> JepaObjective:
    encoder = Encoder(EncoderConfig(width=12, depth=1, num_heads=1, num_frames=2, crop_px=16))
    return JepaObjective(
        encoder, JepaObjectiveConfig(predictor=PredictorConfig(width=12, depth=1, num_heads=1))
    )


def test_biases_and_norms_are_not_decayed_and_all_else_is():
    objective = small_objective()
    names = {parameter: name for name, parameter in objective.named_parameters()}
    decayed, kept = build_optimizer(objective, CONFIG).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    kept_names = {names[parameter] for parameter in kept["params"]}
    decayed_names = {names[parameter] for parameter in decayed["params"]}
    assert kept_names | decayed_names == set(names.values())
    assert kept_names == {
        name for name in names.values() if name.endswith("bias") or "norm" in name
    }
    assert "predictor.mask_tokens" in decayed_names


def test_frozen_parameters_are_left_out():
    objective = small_objective()
    objective.encoder.requires_grad_(False)
    groups = build_optimizer(objective, CONFIG).param_groups
    in_groups = sum(parameter.numel() for group in groups for parameter in group["params"])
    assert in_groups == sum(parameter.numel() for parameter in objective.predictor.parameters())


def test_a_step_sets_both_schedules_and_decays_weights_only():
    linear = torch.nn.Linear(2, 2)
    torch.nn.init.ones_(linear.weight)
    torch.nn.init.ones_(linear.bias)
    optimizer = build_optimizer(linear, CONFIG)
    set_step(optimizer, CONFIG, step=5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]
    assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([0.3, 0.0])
    linear.weight.grad, linear.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    torch.testing.assert_close(linear.weight, torch.full((2, 2), 1 - 0.05 * 0.3))
    assert torch.equal(linear.bias, torch.ones(2))


def two_parts(first: float, second: float) -> torch.nn.ModuleList:
    """Two modules with one gradient each, and a parameter without one."""
    parts = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2))
    for part, gradient in zip(parts, (first, second), strict=True):
        part.weight.grad = torch.tensor([[gradient]])
    return parts


@pytest.mark.parametrize(("grad_clip", "length"), [(None, 5.0), (10.0, 5.0), (1.0, 1.0)])
def test_gradients_are_cut_to_the_asked_norm(grad_clip, length):
    parts = two_parts(3.0, 4.0)
    norm = clip_gradients(parts, OptimizerConfig(grad_clip=grad_clip), step=0)
    assert norm.item() == 5.0
    assert parts[0].weight.grad.item() == pytest.approx(3.0 * length / 5.0)
    assert parts[1].weight.grad.item() == pytest.approx(4.0 * length / 5.0)


def test_vjepa_1_clips_encoder_and_predictor_apart_after_warm_up():
    config = OptimizerConfig(grad_clip=10.0, grad_clip_each=True, grad_clip_start=12_000)
    for step, expected in ((11_999, (30.0, 4.0)), (12_000, (10.0, 4.0))):
        parts = two_parts(30.0, 4.0)
        assert clip_gradients(parts, config, step).item() == pytest.approx(916**0.5)
        assert [part.weight.grad.item() for part in parts] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (
            {"grad_clip_each": True},
            "grad_clip_each is True and grad_clip_start is 0, but grad_clip is None",
        ),
        ({"grad_clip_start": 3}, "grad_clip_start is 3, but grad_clip is None"),
        ({"grad_clip": 0.0}, r"grad_clip is 0\.0"),
        ({"grad_clip": 1.0, "grad_clip_start": -1}, "grad_clip_start is -1"),
    ],
)
def test_clipping_that_contradicts_itself_is_refused(fields, found):
    with pytest.raises(ConfigError, match=found):
        OptimizerConfig(**fields)
