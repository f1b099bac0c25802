from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from surgrec.errors import ConfigError
from surgrec.masks import GroupMasks, Masks, MultiblockConfig, batch_masks
from surgrec.models import ENCODER_SIZES, Encoder, EncoderConfig, PredictorConfig
from surgrec.models.tokens import take_tokens, token_coordinates
from surgrec.objectives import JepaObjective, JepaObjectiveConfig, jepa_masks, target_features
from surgrec.objectives._context_loss import ContextLossConfig
from surgrec.training import ema_copy, update_ema
from tests.support.jepa_cases import CASES, Step

ENCODER = EncoderConfig(width=48, depth=2, num_heads=2, num_frames=8, crop_px=64)
CONFIG = JepaObjectiveConfig(
    predictor=PredictorConfig(width=36, depth=2, num_heads=3), mask_group=3
)


def objective_with_random_weights(
    seed: int = 0, noise: float = 0.1, shared: bool = True
) -> JepaObjective:
    torch.manual_seed(seed)
    predictor = replace(CONFIG.predictor, shared_mask_token=shared)
    objective = JepaObjective(Encoder(ENCODER), replace(CONFIG, predictor=predictor))
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=noise)
    return objective


def clips_at(positions: np.ndarray) -> torch.Tensor:
    """Return different clips, each a function of its position."""
    generators = [torch.Generator().manual_seed(position) for position in positions.tolist()]
    return torch.stack([torch.randn(3, 8, 64, 64, generator=generator) for generator in generators])


def masks_at(positions: np.ndarray) -> list[GroupMasks]:
    return batch_masks(
        ENCODER.grid, CONFIG.masks, seed=7, positions=positions, mask_group=CONFIG.mask_group
    )


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_loss_does_not_depend_on_the_number_of_ranks(ranks):
    """Slices of one global batch; no slice is a multiple of the mask groups of 3."""
    objective = objective_with_random_weights()
    target_encoder = objective_with_random_weights(seed=1).encoder

    @torch.no_grad()
    def losses(positions: np.ndarray) -> torch.Tensor:
        clips = clips_at(positions)
        return objective(clips, target_features(target_encoder, clips), masks_at(positions))[
            "loss_per_sample"
        ]

    positions = np.arange(8, 16)
    at_once = losses(positions)
    in_slices = [losses(part) for part in np.split(positions, ranks)]
    torch.testing.assert_close(torch.cat(in_slices), at_once, atol=1e-6, rtol=0)
    mean_of_means = torch.stack(
        [part.mean() for part in in_slices]
    ).mean()  # corresponds to DDP's average of gradients
    assert mean_of_means.item() == pytest.approx(at_once.mean().item(), abs=1e-6)
    assert at_once.std() > 1e-3, "equal losses would agree in any order"


@pytest.mark.parametrize(("seed", "encoder", "predictor"), CASES.values(), ids=CASES)
def test_two_masks_at_once_have_the_gradients_of_each_alone(
    seed: int, encoder: EncoderConfig, predictor: PredictorConfig
) -> None:
    """P13 of the parity plan: the mean over configurations is the mean of separate steps."""
    step, separate = Step(seed, encoder, predictor), Step(seed, encoder, predictor).objective
    targets = step.targets()
    step.objective(step.clips, targets, step.masks)["loss"].backward()
    for mask_config in range(2):
        tokens, losses = separate.encoder.embed(step.clips), []
        for group in step.masks:
            mask = group.masks[mask_config]
            context_index, target_index = (
                torch.from_numpy(mask.context_index),
                torch.from_numpy(mask.target_index),
            )
            context = separate.encoder.encode(tokens[group.rows], context_index)
            predicted = separate.predictor(context, context_index, target_index, mask_config)
            expected = F.layer_norm(
                take_tokens(targets[group.rows], target_index), (encoder.width,)
            )
            losses.append((predicted - expected).abs().mean(dim=(1, 2)))
        (torch.cat(losses).mean() / 2).backward()
    for (name, one), other in zip(
        step.objective.named_parameters(), separate.parameters(), strict=True
    ):
        assert (one.grad - other.grad).norm() < 1e-5 * one.grad.norm(), name


@pytest.mark.parametrize("shared", [True, False])
def test_a_mask_token_gets_the_gradient_of_all_its_configurations(shared):
    """V-JEPA 2 and 2.1 train one token for both configurations, V-JEPA 1 one per configuration."""
    clips, (group,) = clips_at(np.arange(3)), masks_at(np.arange(3))

    def gradient(scored: tuple[int, ...]) -> torch.Tensor:
        """Return the gradient of the mask tokens if only these mask configurations are scored."""
        objective = objective_with_random_weights(shared=shared)
        targets = target_features(objective.encoder, clips)
        losses = [
            objective._clip_losses(objective.encoder.embed(clips), targets, group.masks[n], n, 0)
            for n in scored
        ]
        (torch.stack(losses).sum(dim=0).mean() / 2).backward()
        return objective.predictor.mask_tokens.grad

    both, first, second = gradient((0, 1)), gradient((0,)), gradient((1,))
    assert both.shape == (1 if shared else 2, 36)
    torch.testing.assert_close(both, first + second)
    reached = [[bool(row.norm() > 1e-8) for row in part] for part in (first, second)]
    assert reached == ([[True], [True]] if shared else [[True, False], [False, True]])


def bf16_differences(
    objective: JepaObjective,
    clips: torch.Tensor,
    mask: Masks,
    *,
    of_targets: Callable[[torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """Return differences of targets, context and predictions between bf16 and float32."""

    def features() -> list[torch.Tensor]:
        context_index, target_index = (
            torch.from_numpy(mask.context_index),
            torch.from_numpy(mask.target_index),
        )
        targets = of_targets(target_features(objective.encoder, clips))
        context = objective.encoder(clips, context_index)
        return [targets, context, objective.predictor(context, context_index, target_index, 0)]

    full = features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = features()
    return [(one - other.float()).abs() for one, other in zip(full, low, strict=True)]


@torch.no_grad()
def test_bf16_predictions_and_targets_stay_near_those_of_float32():
    """P14 of the parity plan: at most 5e-2 apart anywhere, 7e-3 on average."""
    objective = objective_with_random_weights(noise=0.03)
    clips, (group,) = clips_at(np.arange(3)), masks_at(np.arange(3))
    mask = group.masks[0]

    for difference in bf16_differences(objective, clips, mask, of_targets=lambda targets: targets):
        assert 0 < difference.mean() < 7e-3
        assert difference.max() < 5e-2


@torch.no_grad()
def test_bf16_features_of_a_small_vit_stay_near_those_of_float32():
    """P14 of the parity plan, with twelve blocks: 7e-3 on average, 99.9 % of values within 5e-2.

    The largest difference, 0.1, is seven steps of bf16 at its size.
    """
    torch.manual_seed(0)
    encoder = EncoderConfig(**ENCODER_SIZES["small"], num_frames=8, crop_px=96)
    config = JepaObjectiveConfig(predictor=PredictorConfig(depth=6))
    objective, clips = JepaObjective(Encoder(encoder), config), torch.randn(1, 3, 8, 96, 96)
    (group,) = jepa_masks(config, encoder.grid, seed=0, positions=np.arange(1))
    mask = group.masks[0]

    for difference in bf16_differences(
        objective, clips, mask, of_targets=lambda targets: F.layer_norm(targets.float(), (384,))
    ):
        assert 0 < difference.mean() < 7e-3
        assert (difference > 5e-2).float().mean() < 1e-3
        assert difference.max() < 0.15


@pytest.mark.parametrize(("step", "weight"), [(0, 0.0), (3, 0.25), (4, 0.5)])
def test_the_loss_of_vjepa_21_covers_all_levels_and_the_weighted_context(step, weight):
    """By hand: each level is normalized separately; visible tubelets count less when far away."""
    torch.manual_seed(0)
    encoder = replace(
        ENCODER, depth=3, levels=(0, 2), rope="interleaved", rope_side=16, modality_embedding=True
    )
    predictor = replace(CONFIG.predictor, context_head=True)
    config = JepaObjectiveConfig(
        predictor=predictor,
        mask_group=3,
        context=ContextLossConfig(weight=0.5, warmup_start=2, warmup_end=4),
    )
    objective, target_encoder = JepaObjective(Encoder(encoder), config), Encoder(encoder)
    with torch.no_grad():
        for parameter in [*objective.parameters(), *target_encoder.parameters()]:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    clips = clips_at(np.arange(2))
    (group,) = jepa_masks(config, encoder.grid, seed=7, positions=np.arange(2))
    targets = target_features(target_encoder, clips)
    losses = objective(clips, targets, [group], step)
    losses["loss"].backward()

    normalized = torch.cat(
        [F.layer_norm(level, (48,)) for level in targets.chunk(2, dim=-1)], dim=-1
    )
    per_config = []
    for mask_config, mask in enumerate(group.masks):
        context_index, target_index = (
            torch.from_numpy(mask.context_index),
            torch.from_numpy(mask.target_index),
        )
        context = objective.encoder.encode_levels(objective.encoder.embed(clips), context_index)
        hidden, visible = objective.predictor.predict_with_context(
            context, context_index, target_index, mask_config
        )
        for row in range(2):
            coordinates = token_coordinates(encoder.grid).float()
            distance = torch.cdist(
                coordinates[context_index[row]], coordinates[target_index[row]]
            ).amin(dim=1)
            errors = (visible[row] - normalized[row, context_index[row]]).abs().mean(
                dim=1
            ) / distance.sqrt()
            per_config.append(
                (hidden[row] - normalized[row, target_index[row]]).abs().mean()
                + weight * errors.mean()
            )
    expected = torch.stack(per_config).unflatten(0, (2, 2)).mean(dim=0)
    torch.testing.assert_close(losses["loss_per_sample"], expected.detach(), atol=1e-5, rtol=1e-5)
    assert (targets.shape, normalized.shape) == ((2, 64, 96), (2, 64, 96))
    assert all(parameter.grad is not None for parameter in objective.parameters())
    if weight:
        assert all(parameter.grad.abs().max() > 0 for parameter in objective.parameters())


@pytest.mark.parametrize("positions", ["sincos3d", "rope"])
def test_vjepa_1_and_2_give_every_trained_parameter_a_gradient(positions):
    torch.manual_seed(0)
    objective = JepaObjective(Encoder(replace(ENCODER, positions=positions)), CONFIG)
    clips = clips_at(np.arange(3))
    objective(clips, target_features(objective.encoder, clips), masks_at(np.arange(3)))[
        "loss"
    ].backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().max() > 0
        for parameter in objective.parameters()
    )


@pytest.mark.parametrize("split", [4, 6, 7])
def test_loss_and_gradient_do_not_depend_on_how_ranks_split_the_batch(split):
    positions = np.arange(
        2, 2 + 12
    )  # mask groups of 3, the first and last of them cut by the batch
    target_encoder = objective_with_random_weights(seed=1).encoder

    def losses(objective: JepaObjective, part: np.ndarray) -> torch.Tensor:
        clips = clips_at(part)
        out = objective(clips, target_features(target_encoder, clips), masks_at(part))
        (out["loss"] * len(part) / len(positions)).backward()
        assert out["loss"].item() == pytest.approx(out["loss_per_sample"].mean().item(), rel=1e-6)
        return out["loss_per_sample"]

    whole, halves = objective_with_random_weights(), objective_with_random_weights()
    at_once = losses(whole, positions)
    in_parts = torch.cat([losses(halves, positions[:split]), losses(halves, positions[split:])])
    torch.testing.assert_close(in_parts, at_once, atol=1e-6, rtol=1e-6)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert (one.grad - other.grad).norm() < 1e-5 * one.grad.norm()


def test_a_step_gives_trained_parameters_a_gradient_and_the_target_none():
    objective = objective_with_random_weights()
    target_encoder = ema_copy(objective.encoder)
    clips = clips_at(np.arange(3))
    targets = target_features(target_encoder, clips)
    assert not targets.requires_grad
    objective(clips, targets, masks_at(np.arange(3)))["loss"].backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().max() > 0
        for parameter in objective.parameters()
    )
    assert all(parameter.grad is None for parameter in target_encoder.parameters())


def test_the_loss_ignores_scale_and_shift_of_the_targets():
    objective = objective_with_random_weights()
    clips, masks = clips_at(np.arange(3)), masks_at(np.arange(3))
    targets = torch.randn(3, 64, 48)
    losses = [
        objective(clips, scaled, masks)["loss"].item() for scaled in (targets, 5 * targets + 3)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_targets_of_unpredicted_tokens_do_not_matter():
    objective = objective_with_random_weights()
    clips, targets = clips_at(np.arange(1)), torch.randn(1, 64, 48)
    mask = Masks(context_index=np.array([[0, 1, 2]]), target_index=np.array([[5, 9]]))
    groups = [GroupMasks(rows=slice(0, 1), masks=(mask, mask))]
    loss = objective(clips, targets, groups)["loss"].item()
    others = targets.clone()
    others[:, [0, 1, 2, 3, 4, 6, 7, 8]] = 100.0
    assert objective(clips, others, groups)["loss"].item() == loss
    others[:, 5] = torch.randn(48)
    assert objective(clips, others, groups)["loss"].item() != loss


def test_training_learns_more_than_the_mean_of_the_targets():
    objective = objective_with_random_weights()
    target_encoder = ema_copy(objective.encoder)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    positions = np.arange(6)
    clips, masks = (
        F.interpolate(clips_at(positions)[:, :, :2, :3, :3], size=(8, 64, 64), mode="trilinear"),
        masks_at(positions),
    )
    losses = []
    for _ in range(60):
        targets = target_features(target_encoder, clips)
        loss = objective(clips, targets, masks)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema(target_encoder, objective.encoder, momentum=0.999)
        losses.append(loss.item())
    normalized = F.layer_norm(targets, targets.shape[-1:])
    loss_of_the_mean = (normalized - normalized.mean(dim=(0, 1))).abs().mean().item()
    assert losses[0] > loss_of_the_mean
    assert losses[-1] < 0.8 * loss_of_the_mean


def test_bf16_stays_near_float32():
    objective = objective_with_random_weights(noise=0.03)
    clips, masks = clips_at(np.arange(3)), masks_at(np.arange(3))
    targets = target_features(objective.encoder, clips)
    loss = objective(clips, targets, masks)["loss_per_sample"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = objective(clips, target_features(objective.encoder, clips), masks)["loss_per_sample"]
    assert low.dtype == torch.float32
    assert not torch.equal(low, loss)
    torch.testing.assert_close(low, loss, atol=7e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": ()}, "masks is empty"),
        ({"mask_group": 0}, "mask_group is 0"),
        ({"context": ContextLossConfig()}, "context is given without predictor.context_head"),
        (
            {"predictor": PredictorConfig(context_head=True)},
            "predictor.context_head is given without context",
        ),
    ],
)
def test_an_impossible_objective_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        JepaObjectiveConfig(**changes)


def test_one_mask_configuration_is_enough():
    config = JepaObjectiveConfig(
        predictor=CONFIG.predictor, masks=(MultiblockConfig(num_blocks=1, spatial_scale=0.5),)
    )
    objective = JepaObjective(Encoder(ENCODER), config)
    masks = batch_masks(ENCODER.grid, config.masks, seed=0, positions=np.arange(2))
    out = objective(clips_at(np.arange(2)), torch.randn(2, 64, 48), masks)
    assert out["loss_per_sample"].shape == (2,)


def test_the_diagnostics_count_tokens_and_score_predictors_that_see_no_clip():
    objective = objective_with_random_weights()
    positions = np.arange(6)
    masks, clips = masks_at(positions), clips_at(positions)
    targets = target_features(objective.encoder, clips)
    found = objective.diagnostics(targets, masks)

    # Each of the two groups has three of the six clips, and every clip two masks.
    kept = [mask for group in masks for mask in group.masks]
    for name, index in (("context_tokens", "context_index"), ("target_tokens", "target_index")):
        expected = sum(getattr(mask, index).shape[1] for mask in kept) / len(kept)
        assert found[name] == pytest.approx(expected)

    # The loss itself, of hidden tubelets under every mask, of predictors without a network.
    normalized = F.layer_norm(targets, targets.shape[-1:])
    coordinates = token_coordinates(ENCODER.grid).float()
    losses = {"zero": [], "mean": [], "copy": []}
    for group in masks:
        for mask in group.masks:
            for clip, context, target in zip(
                normalized[group.rows], mask.context_index, mask.target_index, strict=True
            ):
                near = context[torch.cdist(coordinates[target], coordinates[context]).argmin(dim=1)]
                mean = normalized.mean(dim=(0, 1))
                for name, guess in (("zero", 0.0), ("mean", mean), ("copy", clip[near])):
                    losses[name].append((clip[target] - guess).abs().mean().item())
    assert found["zero_baseline_loss"] == pytest.approx(np.mean(losses["zero"]), rel=1e-5)
    assert found["mean_baseline_loss"] == pytest.approx(np.mean(losses["mean"]), rel=1e-5)
    # Of several tubelets at the same distance, another one may have been copied.
    assert found["copy_baseline_loss"] == pytest.approx(np.mean(losses["copy"]), rel=0.05)

    # Predicting the mean or a copy is perfect if all targets are equal.
    equal = objective.diagnostics(targets[:1, :1].expand_as(targets), masks)
    assert equal["mean_baseline_loss"] == pytest.approx(0.0, abs=1e-5)
    assert equal["copy_baseline_loss"] == pytest.approx(0.0, abs=1e-5)


def test_the_baselines_of_a_context_loss_count_visible_tubelets_too():
    context = ContextLossConfig(weight=0.5, warmup_start=0, warmup_end=10, by_distance=False)
    predictor = replace(CONFIG.predictor, context_head=True)
    config = replace(CONFIG, predictor=predictor, context=context)
    objective = JepaObjective(Encoder(ENCODER), config)
    masks = masks_at(np.arange(6))
    targets = target_features(objective.encoder, clips_at(np.arange(6)))

    alone, half, full = (objective.diagnostics(targets, masks, step) for step in (0, 5, 10))
    zero = [each["zero_baseline_loss"] for each in (alone, half, full)]
    assert zero[1] - zero[0] == pytest.approx(zero[2] - zero[1], rel=1e-4)
    assert zero[2] == pytest.approx(1.5 * zero[0], rel=0.05), "visible tubelets weigh half"
    # A copy of the nearest visible tubelet has no error at a visible tubelet.
    assert full["copy_baseline_loss"] == pytest.approx(alone["copy_baseline_loss"], rel=1e-6)
