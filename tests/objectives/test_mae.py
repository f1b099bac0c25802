from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from surgrec.errors import ConfigError
from surgrec.masks import Masks, tube_masks
from surgrec.models import DecoderConfig, Encoder, EncoderConfig
from surgrec.models.positions import sinusoid_table
from surgrec.normalize import RGB_MEAN, RGB_STD
from surgrec.objectives import MaeObjective, MaeObjectiveConfig, mae_masks
from surgrec.objectives._mae import pixel_targets

ENCODER = EncoderConfig(
    width=48, depth=2, num_heads=2, num_frames=4, crop_px=32, patch_size=8, positions="sincos"
)
CONFIG = MaeObjectiveConfig(decoder=DecoderConfig(width=36, depth=1, num_heads=3), mask_ratio=0.75)


LONG = replace(ENCODER, num_frames=8)


def objective_with_random_weights(
    seed: int = 0, noise: float = 0.1, encoder: EncoderConfig = ENCODER
) -> MaeObjective:
    torch.manual_seed(seed)
    objective = MaeObjective(Encoder(encoder), CONFIG)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=noise)
    return objective


def clips_at(positions: np.ndarray, num_frames: int = 4) -> torch.Tensor:
    """Return different clips, each a function of its position."""
    generators = [torch.Generator().manual_seed(position) for position in positions.tolist()]
    return torch.stack(
        [torch.randn(3, num_frames, 32, 32, generator=generator) for generator in generators]
    )


def masks_at(positions: np.ndarray) -> Masks:
    return tube_masks(ENCODER.grid, CONFIG.mask_ratio, seed=7, positions=positions)


def test_targets_have_mean_zero_and_deviation_one_in_each_color():
    pixels = torch.rand(1, 3, 4, 32, 32)
    clips = (pixels - torch.tensor(RGB_MEAN)[:, None, None, None]) / torch.tensor(RGB_STD)[
        :, None, None, None
    ]
    targets = pixel_targets(clips, ENCODER).unflatten(2, (2, 8, 8, 3))
    assert targets.shape == (1, 32, 2, 8, 8, 3)
    assert targets.mean(dim=(2, 3, 4)).abs().max() < 1e-5
    assert (targets.std(dim=(2, 3, 4), correction=1) - 1).abs().max() < 1e-4
    # Token 21 of 2 x 4 x 4: frames 2-3, rows 8-15, columns 8-15. Compare the green value of its
    # second frame, third row and fourth column.
    tubelet = pixels[0, 1, 2:4, 8:16, 8:16]
    expected = (tubelet[1, 2, 3] - tubelet.mean()) / tubelet.std()
    assert targets[0, 21, 1, 2, 3, 1].item() == pytest.approx(expected.item(), abs=1e-4)


def test_flat_tubelets_have_targets_near_zero_and_a_low_baseline():
    objective, masks = objective_with_random_weights(), masks_at(np.arange(2))
    flat, noise = torch.full((2, 3, 4, 32, 32), 0.7), torch.randn(2, 3, 4, 32, 32)
    assert (
        pixel_targets(flat, ENCODER).abs().max() < 0.2
    )  # rounding, divided by the 1e-6 that keeps it finite
    assert objective(flat, masks)["mean_baseline_loss"] < 0.05
    assert objective(noise, masks)["mean_baseline_loss"].item() == pytest.approx(
        127 / 128, rel=1e-3
    )


def test_copying_the_nearest_tubelet_is_perfect_only_if_tubelets_are_alike():
    objective, masks = objective_with_random_weights(), masks_at(np.arange(10))
    noise = clips_at(np.arange(10))
    alike = noise[:, :, :2, :8, :8].repeat(1, 1, 2, 4, 4)
    for clips, expected in ((alike, 0.0), (noise, 2 * 127 / 128)):
        found = objective.diagnostics(objective(clips, masks), clips, masks)
        assert found["copy_baseline_loss"] == pytest.approx(expected, abs=0.02)
        assert found["mean_baseline_loss"] == pytest.approx(127 / 128, rel=1e-3)


def test_the_loss_is_the_mean_over_hidden_tubelets_alone():
    objective, masks = objective_with_random_weights(), masks_at(np.arange(3))
    clips = clips_at(np.arange(3))
    out = objective(clips, masks)
    for row in range(3):
        targets = pixel_targets(clips, ENCODER)[row, masks.target_index[row]]
        expected = F.mse_loss(objective.predict(clips, masks)[row], targets)
        assert out["loss_per_sample"][row].item() == pytest.approx(expected.item(), rel=1e-5)
    assert out["loss"].item() == pytest.approx(out["loss_per_sample"].mean().item(), rel=1e-6)


@torch.no_grad()
def test_predictions_do_not_depend_on_hidden_pixels():
    objective, masks = objective_with_random_weights(), masks_at(np.arange(2))
    clips = clips_at(np.arange(2))
    hidden = (
        torch.zeros(2, 32)
        .scatter(1, torch.from_numpy(masks.target_index), 1.0)
        .reshape(2, 1, 2, 4, 4)
    )
    hidden = F.interpolate(hidden, size=(4, 32, 32), mode="nearest").bool()
    changed = torch.where(hidden, torch.full_like(clips, 5.0), clips)
    assert torch.equal(objective.predict(changed, masks), objective.predict(clips, masks))
    changed = torch.where(hidden, clips, torch.full_like(clips, 5.0))
    assert not torch.equal(objective.predict(changed, masks), objective.predict(clips, masks))


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("decoder_ratio", [0.0, 0.5])
def test_the_loss_does_not_depend_on_the_number_of_ranks(ranks, decoder_ratio):
    objective, positions = objective_with_random_weights(encoder=LONG), np.arange(8, 16)

    @torch.no_grad()
    def losses(share: np.ndarray) -> torch.Tensor:
        masks = tube_masks(LONG.grid, 0.75, seed=7, positions=share, decoder_ratio=decoder_ratio)
        return objective(clips_at(share, num_frames=8), masks)["loss_per_sample"]

    at_once = losses(positions)
    in_slices = [losses(share) for share in np.split(positions, ranks)]
    torch.testing.assert_close(torch.cat(in_slices), at_once, atol=1e-6, rtol=0)
    assert torch.stack([share.mean() for share in in_slices]).mean().item() == pytest.approx(
        at_once.mean().item(), abs=1e-6
    )
    assert at_once.std() > 1e-3, "equal losses would agree in any order"


@torch.no_grad()
def test_the_loss_of_videomae_2_covers_decoded_hidden_tubelets():
    """By hand: half of all tokens are decoded, visible ones too; only hidden ones are scored."""
    objective, positions = objective_with_random_weights(encoder=LONG), np.arange(3)
    config = MaeObjectiveConfig(decoder=CONFIG.decoder, mask_ratio=0.75, decoder_mask_ratio=0.5)
    masks = mae_masks(config, LONG.grid, seed=7, positions=positions)
    clips = clips_at(positions, num_frames=8)
    losses = objective(clips, masks)
    decoder = objective.decoder
    visible = torch.from_numpy(masks.context_index)
    features = decoder.encoder_to_decoder(objective.encoder(clips, visible))
    for row in range(3):
        decoded = np.sort(np.concatenate([masks.target_index[row], masks.unscored_index[row]]))
        table = sinusoid_table(64, 36)
        tokens = torch.cat(
            [features[row] + table[visible[row]], decoder.mask_token + table[decoded]]
        )[None]
        for block in decoder.blocks:
            tokens = block(tokens)
        predicted = decoder.head(decoder.norm(tokens[0, len(visible[row]) :]))
        errors = (predicted - pixel_targets(clips, LONG)[row, decoded]).square().mean(dim=1)
        scored = ~np.isin(decoded, masks.context_index[row])
        assert 0 < (~scored).sum() == len(masks.unscored_index[row])
        expected = errors[torch.from_numpy(scored)].mean()
        assert losses["loss_per_sample"][row].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("split", [1, 4])
def test_loss_and_gradient_do_not_depend_on_how_ranks_split_the_batch(split):
    positions = np.arange(2, 8)

    def losses(objective: MaeObjective, part: np.ndarray) -> torch.Tensor:
        out = objective(clips_at(part), masks_at(part))
        (out["loss"] * len(part) / len(positions)).backward()
        return out["loss_per_sample"]

    whole, halves = objective_with_random_weights(), objective_with_random_weights()
    at_once = losses(whole, positions)
    in_parts = torch.cat([losses(halves, positions[:split]), losses(halves, positions[split:])])
    torch.testing.assert_close(in_parts, at_once, atol=1e-6, rtol=1e-6)
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert (one.grad - other.grad).norm() < 1e-5 * one.grad.norm() + 1e-7


def test_a_step_gives_every_parameter_a_gradient():
    objective = objective_with_random_weights()
    objective(clips_at(np.arange(3)), masks_at(np.arange(3)))["loss"].backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().max() > 0
        for parameter in objective.parameters()
    )


def test_training_learns_more_than_the_mean_of_each_tubelet():
    torch.manual_seed(0)
    objective = MaeObjective(Encoder(ENCODER), CONFIG)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    positions = np.arange(2)
    smooth = F.interpolate(
        clips_at(positions)[:, :, :2, :3, :3], size=(4, 32, 32), mode="trilinear"
    )
    losses = []
    for step in range(60):
        out = objective(
            smooth, masks_at(positions + 2 * step)
        )  # other tubelets are hidden each time
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
        losses.append(out["loss"].item())
    mean_baseline_loss = out["mean_baseline_loss"].item()
    assert losses[0] > mean_baseline_loss
    assert np.mean(losses[-5:]) < 0.8 * mean_baseline_loss


def test_bf16_stays_near_float32():
    objective = objective_with_random_weights(noise=0.03)
    clips, masks = clips_at(np.arange(3)), masks_at(np.arange(3))
    loss = objective(clips, masks)["loss_per_sample"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = objective(clips, masks)["loss_per_sample"]
    assert low.dtype == torch.float32
    assert not torch.equal(low, loss)
    torch.testing.assert_close(low, loss, atol=7e-3, rtol=0)


@torch.no_grad()
def test_bf16_features_stay_near_those_of_float32():
    """P14 of the parity plan: at most 5e-2 apart anywhere, 7e-3 on average."""
    objective, clips = objective_with_random_weights(noise=0.03), clips_at(np.arange(3))
    features = objective.encoder(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = objective.encoder(clips)
    difference = (features - low.float()).abs()
    assert 0 < difference.mean() < 7e-3
    assert difference.max() < 5e-2


@pytest.mark.parametrize("ratio", [-0.5, 1.0])
def test_an_impossible_ratio_of_the_decoder_is_refused(ratio):
    with pytest.raises(ConfigError, match=f"decoder_mask_ratio is {ratio}"):
        MaeObjectiveConfig(decoder_mask_ratio=ratio)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_an_impossible_ratio_is_refused(ratio):
    with pytest.raises(ConfigError, match=f"mask_ratio is {ratio}"):
        MaeObjectiveConfig(mask_ratio=ratio)
