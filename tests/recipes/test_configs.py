"""Every config parses, and has the values that its paper or published config tells it from the others by."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from surgrec.objectives.mae import mae_masks
from surgrec.training.schedule import schedule_value
from tests.recipes.processes import ROOT, load_recipe

CONFIGS = ROOT / "recipes/configs"
NOT_OF_A_RUN = {"phantom_phases"}
OUR_OWN = {"jepa_tiny", "mae_tiny", "jepa_vitl16_continued"}

SMALL, BASE, LARGE, HUGE = (384, 12, 6, 4.0), (768, 12, 12, 4.0), (1024, 24, 16, 4.0), (1280, 32, 16, 4.0)
GIANT, GIGANTIC = (1408, 40, 22, 48 / 11), (1664, 48, 26, 64 / 13)
VIDEOMAE_GIANT = (1408, 40, 16, 48 / 11)

# Encoder (width, blocks, heads, MLP); frames, pixels; clips of a mask group; batch; steps; learning rate at the first step, at
# step 12,000 and at the last.
JEPA = {
    "jepa1_vitl16_224": (LARGE, 16, 224, 24, 3072, 90_000, (2e-4, 6.25e-4, 7.50e-5)),
    "jepa1_vith16_224": (HUGE, 16, 224, 24, 3072, 90_000, (2e-4, 6.25e-4, 7.50e-5)),
    "jepa1_vith16_384": (HUGE, 16, 384, 10, 2400, 90_000, (2e-4, 6.25e-4, 7.50e-5)),
    "jepa2_vitl16_256": (LARGE, 16, 256, 24, 3072, 240_000, (1e-4, 5.25e-4, 5.25e-4)),
    "jepa2_vith16_256": (HUGE, 16, 256, 24, 3072, 240_000, (1e-4, 5.25e-4, 5.25e-4)),
    "jepa2_vitg16_256": (GIANT, 16, 256, 24, 3072, 240_000, (1e-4, 5.25e-4, 5.25e-4)),
    "jepa2_vitl16_256_cooldown": (LARGE, 64, 256, 12, 3072, 12_000, (5.25e-4, 1e-6, 1e-6)),
    "jepa2_vith16_256_cooldown": (HUGE, 64, 256, 12, 3072, 12_000, (5.25e-4, 1e-6, 1e-6)),
    "jepa2_vitg16_256_cooldown": (GIANT, 64, 256, 6, 3072, 12_000, (5.25e-4, 1e-6, 1e-6)),
    "jepa2_vitg16_384_cooldown": (GIANT, 64, 384, 6, 3072, 12_000, (5.25e-4, 1e-6, 1e-6)),
    "jepa21_vitb16_256": (BASE, 16, 256, 96, 3072, 300_000, (1e-4, 6e-4, 6e-4)),
    "jepa21_vitl16_256": (LARGE, 16, 256, 48, 3072, 300_000, (1e-4, 6e-4, 6e-4)),
    "jepa21_vitg16_256": (GIANT, 16, 256, 48, 3072, 300_000, (1e-4, 6e-4, 6e-4)),
    "jepa21_vitgg16_256": (GIGANTIC, 16, 256, 48, 3072, 300_000, (1e-4, 6e-4, 6e-4)),
    "jepa21_vitb16_256_cooldown": (BASE, 64, 256, 12, 3072, 12_000, (6e-4, 1e-6, 1e-6)),
    "jepa21_vitl16_256_cooldown": (LARGE, 64, 256, 12, 3072, 12_000, (6e-4, 1e-6, 1e-6)),
    "jepa21_vitg16_256_cooldown": (GIANT, 64, 256, 12, 3072, 12_000, (6e-4, 1e-6, 1e-6)),
    "jepa21_vitgg16_256_cooldown": (GIGANTIC, 64, 256, 12, 3072, 12_000, (6e-4, 1e-6, 1e-6)),
    "jepa_vitl16": (LARGE, 16, 256, 24, 3072, 90_000, (1e-4, 5.25e-4, 5.25e-4)),
    "surgrec_jepa_vitl16": (LARGE, 16, 256, 24, 3072, 90_000, (1e-4, 5.25e-4, 5.25e-4)),
}
LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}

# Encoder; patch; decoder (width, blocks, heads); batch; learning rate per 256 of it; epochs and those of the warm-up; tokens that
# the encoder sees and that are predicted, of each clip.
MAE = {
    "mae_vits16": (SMALL, 16, (192, 4, 3), 1024, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vitb16": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (800, 40), (160, 1408)),
    "mae_vitl16": (LARGE, 16, (512, 12, 8), 512, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vith16": (HUGE, 16, (640, 12, 8), 1024, 1.5e-4, (1600, 40), (160, 1408)),
    "mae2_vitb16": (BASE, 16, (384, 4, 6), 1024, 1e-3, (200, 20), (160, 704)),
    "mae2_vitl16": (LARGE, 16, (512, 4, 8), 1536, 1e-3, (300, 30), (160, 704)),
    "mae2_vith16": (HUGE, 16, (512, 4, 8), 1536, 1e-3, (300, 30), (160, 704)),
    "mae2_vitg14": (VIDEOMAE_GIANT, 14, (512, 4, 8), 2048, 6e-4, (300, 30), (208, 920)),
    "surgrec_mae_vitb16": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (800, 40), (160, 1408)),
}


@pytest.fixture(scope="module")
def recipes() -> dict[str, ModuleType]:
    """Both recipes as modules."""
    return {name: load_recipe(name) for name in ("jepa", "mae")}


def parsed(recipes: dict[str, ModuleType], name: str) -> Any:
    """A config file as its recipe reads it."""
    method = "jepa" if "jepa" in name else "mae"
    words = ["--config", str(CONFIGS / f"{name}.yaml"), "--corpus", "c", "--run_dir", "r"]
    recipe = recipes[method]
    return recipe.parse(recipe.JepaConfig if method == "jepa" else recipe.MaeConfig, words)


def encoder_size(config: Any) -> tuple[int, int, int, float]:
    encoder = config.encoder
    return encoder.width, encoder.depth, encoder.num_heads, pytest.approx(encoder.mlp_ratio, abs=1e-9)


def test_every_config_of_a_published_recipe_is_in_a_table() -> None:
    names = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert names == {*JEPA, *MAE} | OUR_OWN | NOT_OF_A_RUN


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_says_what_it_is_and_where_it_comes_from(path: Path) -> None:
    head = path.read_text(encoding="utf-8").partition("\n\n")[0]
    comment = " ".join(line.removeprefix("#").strip() for line in head.splitlines() if line.startswith("#"))
    if path.stem not in NOT_OF_A_RUN:
        assert f"recipes/configs/{path.name}" in comment, "the command that runs it"
        assert any(word in comment for word in ("Hardware: ", "Unknown: "))
        assert "Cost" in comment
        assert "tiny" in path.stem or "Source: " in comment or "Unknown, taken from" in comment


@pytest.mark.parametrize("name", JEPA)
def test_a_jepa_has_its_published_values(recipes: dict[str, ModuleType], name: str) -> None:
    size, frames, crop_px, mask_group, batch, steps, rates = JEPA[name]
    config = parsed(recipes, name)
    assert encoder_size(config) == size
    assert (config.encoder.num_frames, config.encoder.crop_px, config.encoder.patch_size) == (frames, crop_px, 16)
    assert (config.objective.mask_group, config.global_batch, config.steps) == (mask_group, batch, steps)
    found = [schedule_value(config.optimizer.lr, step) for step in (0, 12_000, steps)]
    assert found == pytest.approx(rates, rel=1e-3)
    assert [(mask.num_blocks, mask.spatial_scale) for mask in config.objective.masks] == [(8, 0.15), (2, 0.7)]
    assert (config.optimizer.betas, config.objective.trim, config.augment.crop) == (
        (0.9, 0.999),
        "prefix",
        "random_resized",
    )
    assert (config.augment.scale, config.augment.aspect_ratio, config.augment.flip) == ((0.3, 1.0), (0.75, 1.35), 0.5)
    assert (config.objective.predictor.width, config.objective.length_step) == (384, 1)


@pytest.mark.parametrize("name", [name for name in JEPA if name.startswith("jepa1_")])
def test_vjepa_1_differs_in_positions_schedules_and_clipping(recipes: dict[str, ModuleType], name: str) -> None:
    config = parsed(recipes, name)
    assert config.encoder.positions == "sincos3d"
    assert schedule_value(config.optimizer.weight_decay, config.steps) == pytest.approx(0.366, abs=5e-4)
    assert schedule_value(config.momentum, config.steps) == pytest.approx(0.9996)
    assert (config.optimizer.grad_clip, config.optimizer.grad_clip_each) == (10.0, True)
    assert config.optimizer.grad_clip_start > config.optimizer.lr.warmup_steps
    assert (config.objective.predictor.num_heads, config.seed, config.sampling_fps) == (16, 234, 7.5)


@pytest.mark.parametrize("name", [name for name in JEPA if not name.startswith("jepa1_")])
def test_vjepa_2_has_constants_and_rotary_positions_and_21_more(recipes: dict[str, ModuleType], name: str) -> None:
    config = parsed(recipes, name)
    encoder, objective = config.encoder, config.objective
    assert schedule_value(config.optimizer.weight_decay, config.steps) == 0.04
    assert schedule_value(config.momentum, config.steps) == 0.99925
    assert (config.optimizer.grad_clip, objective.predictor.num_heads, config.sampling_fps) == (None, 12, 4.0)
    if not name.startswith("jepa21_"):
        assert (encoder.positions, encoder.rope, encoder.rope_side, encoder.levels) == ("rope", "tiled", None, ())
        assert (objective.predictor.depth, objective.context, encoder.modality_embedding) == (12, None, False)
        return
    assert (encoder.positions, encoder.rope, encoder.rope_side) == ("rope", "interleaved", 16)
    assert (encoder.levels, encoder.modality_embedding) == (LEVELS[encoder.depth], True)
    assert objective.predictor.depth == (12 if encoder.depth == 12 else 24)
    cooldown = name.endswith("cooldown")
    assert (objective.context.weight, objective.context.by_distance) == (0.5, not cooldown)
    assert (objective.context.warmup_start, objective.context.warmup_end) == ((0, 0) if cooldown else (15_000, 30_000))


@pytest.mark.parametrize("name", MAE)
def test_an_mae_has_its_published_values(recipes: dict[str, ModuleType], name: str) -> None:
    size, patch, decoder, batch, rate, (epochs, warmup), (seen, predicted) = MAE[name]
    config = parsed(recipes, name)
    assert encoder_size(config) == size
    assert (config.encoder.num_frames, config.encoder.crop_px, config.encoder.patch_size) == (16, 224, patch)
    found = config.objective.decoder
    assert (found.width, found.depth, found.num_heads) == decoder
    assert config.global_batch == batch
    lr = config.optimizer.lr
    expected = (0.0, rate * batch / 256, 1e-5 * batch / 256)
    assert (lr.start, lr.value, lr.end) == pytest.approx(expected)
    assert (lr.decay, lr.end_step) == ("cosine", config.steps)
    assert lr.warmup_steps / config.steps == pytest.approx(warmup / epochs, rel=1e-2)
    assert config.optimizer.betas == (0.9, 0.95)
    assert config.optimizer.weight_decay.value == 0.05
    assert (config.augment.crop, config.augment.flip) == ("multi_scale", 0.0)
    second = name.startswith("mae2_")
    assert (config.views, config.objective.decoder_mask_ratio) == ((4, 0.5) if second else (1, 0.0))
    assert config.optimizer.grad_clip == (0.02 if name == "mae2_vitg14" else None)
    masks = mae_masks(config.objective, config.encoder.grid, seed=0, positions=np.arange(2))
    assert (masks.context_index.shape[1], masks.target_index.shape[1]) == (seen, predicted)
