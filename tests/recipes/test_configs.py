"""Every config parses and has the values of its paper or published config."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import pytest

from surgrec.config_values import as_plain
from surgrec.objectives import mae_masks
from surgrec.shards import open_corpus
from surgrec.stream import Stream
from surgrec.training import schedule_value
from tests.support.documents import documented_commands, parse_config, shell_blocks
from tests.support.processes import ROOT, load_recipe
from tests.support.tool import build_folder, run_here
from tests.support.videos import make_video

CONFIGS = ROOT / "recipes/configs"
ALL_FILES = {path.stem: path for path in CONFIGS.rglob("*.yaml")}
"""Every config by its name."""
FILES = {
    name: path for name, path in ALL_FILES.items() if path.parent.name not in ("probe", "finetune")
}
"""Every config of a pretraining; `test_supervised_configs.py` has the others."""
VALUES = ROOT / "tests/recipes/config_values.json"
STATIC = {
    "static_16x224": "jepa1_vitl16_224",
    "static_16x256": "jepa_vitl16",
    "static_64x256": "jepa2_vitl16_256_cooldown",
}
"""Configs that change another one, and one that they fit."""
CHANGED = {
    "mae_vitb16_1600epochs": "mae_vitb16",
    "mae_vitb16_ssv2_800epochs": "mae_vitb16",
    "mae_vitb16_ssv2_2400epochs": "mae_vitb16",
    "mae_vitb16_ucf101": "mae_vitb16",
    "mae_vits16_ssv2_2400epochs": "mae_vits16",
}
"""VideoMAE's other runs, and the run that they change."""
SURGREC_ONLY = {"jepa_tiny", "mae_tiny", "jepa_vitl16_continued", "mae_vitb16_continued"}

SMALL, BASE, LARGE, HUGE = (
    (384, 12, 6, 4.0),
    (768, 12, 12, 4.0),
    (1024, 24, 16, 4.0),
    (1280, 32, 16, 4.0),
)
GIANT, GIGANTIC = (1408, 40, 22, 48 / 11), (1664, 48, 26, 64 / 13)
VIDEOMAE_GIANT = (1408, 40, 16, 48 / 11)

# By step: learning rate, weight decay, target momentum. V-JEPA 1's schedules span 112,500 steps;
# its runs stop at 90,000.
Schedules: TypeAlias = dict[int, tuple[float, float, float]]
VJEPA1: Schedules = {
    0: (2e-4, 0.04, 0.998),
    6_000: (4.125e-4, 0.0425, 0.998107),
    12_000: (6.25e-4, 0.0500, 0.998213),
    62_250: (3.13e-4, 0.2501, 0.999107),
    90_000: (7.50e-5, 0.3656, 0.9996),
}
VJEPA2: Schedules = {
    0: (1e-4, 0.04, 0.99925),
    6_000: (3.125e-4, 0.04, 0.99925),
    12_000: (5.25e-4, 0.04, 0.99925),
    90_000: (5.25e-4, 0.04, 0.99925),
    240_000: (5.25e-4, 0.04, 0.99925),
}
VJEPA2_COOLDOWN: Schedules = {
    0: (5.25e-4, 0.04, 0.99925),
    3_000: (3.94e-4, 0.04, 0.99925),
    6_000: (2.63e-4, 0.04, 0.99925),
    12_000: (1e-6, 0.04, 0.99925),
}
VJEPA2_ABLATION: Schedules = {
    0: (2e-4, 0.04, 0.999),
    12_000: (6.25e-4, 0.0556, 0.999133),
    45_000: (6.25e-4, 0.22, 0.9995),
    78_000: (6.25e-4, 0.3844, 0.999867),
    84_000: (3.13e-4, 0.3961, 0.999933),
    90_000: (1e-6, 0.4, 1.0),
}
VJEPA21: Schedules = {
    0: (1e-4, 0.04, 0.99925),
    6_000: (3.5e-4, 0.04, 0.99925),
    12_000: (6e-4, 0.04, 0.99925),
    300_000: (6e-4, 0.04, 0.99925),
}
VJEPA21_COOLDOWN: Schedules = {
    0: (6e-4, 0.04, 0.99925),
    6_000: (3.005e-4, 0.04, 0.99925),
    12_000: (1e-6, 0.04, 0.99925),
}

# Encoder (width, blocks, heads, MLP); (frames, pixels, tokens); mask group; batch; steps;
# schedules.
SHORT_224, SHORT_256, SHORT_384 = (16, 224, 1568), (16, 256, 2048), (16, 384, 4608)
LONG_256, LONG_384 = (64, 256, 8192), (64, 384, 18_432)
JEPA = {
    "jepa1_vitl16_224": (LARGE, SHORT_224, 24, 3072, 90_000, VJEPA1),
    "jepa1_vith16_224": (HUGE, SHORT_224, 24, 3072, 90_000, VJEPA1),
    "jepa1_vith16_384": (HUGE, SHORT_384, 10, 2400, 90_000, VJEPA1),
    "jepa2_vitl16_256": (LARGE, SHORT_256, 24, 3072, 240_000, VJEPA2),
    "jepa2_vith16_256": (HUGE, SHORT_256, 24, 3072, 240_000, VJEPA2),
    "jepa2_vitg16_256": (GIANT, SHORT_256, 24, 3072, 240_000, VJEPA2),
    "jepa2_vitl16_256_ablation": (LARGE, SHORT_256, 24, 3072, 90_000, VJEPA2_ABLATION),
    "jepa2_vitl16_256_cooldown": (LARGE, LONG_256, 12, 3072, 12_000, VJEPA2_COOLDOWN),
    "jepa2_vith16_256_cooldown": (HUGE, LONG_256, 12, 3072, 12_000, VJEPA2_COOLDOWN),
    "jepa2_vitg16_256_cooldown": (GIANT, LONG_256, 6, 3072, 12_000, VJEPA2_COOLDOWN),
    "jepa2_vitg16_384_cooldown": (GIANT, LONG_384, 6, 3072, 12_000, VJEPA2_COOLDOWN),
    "jepa21_vitb16_256": (BASE, SHORT_256, 96, 3072, 300_000, VJEPA21),
    "jepa21_vitl16_256": (LARGE, SHORT_256, 48, 3072, 300_000, VJEPA21),
    "jepa21_vitg16_256": (GIANT, SHORT_256, 48, 3072, 300_000, VJEPA21),
    "jepa21_vitgg16_256": (GIGANTIC, SHORT_256, 48, 3072, 300_000, VJEPA21),
    "jepa21_vitb16_256_cooldown": (BASE, LONG_256, 12, 3072, 12_000, VJEPA21_COOLDOWN),
    "jepa21_vitl16_256_cooldown": (LARGE, LONG_256, 12, 3072, 12_000, VJEPA21_COOLDOWN),
    "jepa21_vitg16_256_cooldown": (GIANT, LONG_256, 12, 3072, 12_000, VJEPA21_COOLDOWN),
    "jepa21_vitgg16_256_cooldown": (GIGANTIC, LONG_256, 12, 3072, 12_000, VJEPA21_COOLDOWN),
    "jepa_vitl16": (LARGE, SHORT_256, 24, 3072, 90_000, VJEPA2),
    "surgrec_jepa_vitl16": (LARGE, SHORT_256, 24, 3072, 90_000, VJEPA2),
}
LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}

# Encoder; patch; decoder (width, blocks, heads); batch; learning rate per 256 samples; (epochs,
# warm-up epochs); (encoded tokens, predicted tokens) per clip.
MAE = {
    "mae_vits16": (SMALL, 16, (192, 4, 3), 1024, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vitb16": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (800, 40), (160, 1408)),
    "mae_vitl16": (LARGE, 16, (512, 12, 8), 512, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vith16": (HUGE, 16, (640, 12, 8), 1024, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vitb16_1600epochs": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (1600, 40), (160, 1408)),
    "mae_vitb16_ssv2_800epochs": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (800, 40), (160, 1408)),
    "mae_vitb16_ssv2_2400epochs": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (2400, 40), (160, 1408)),
    "mae_vitb16_ucf101": (BASE, 16, (384, 4, 6), 192, 3e-4, (3200, 40), (392, 1176)),
    "mae_vits16_ssv2_2400epochs": (SMALL, 16, (192, 4, 3), 1024, 1.5e-4, (2400, 40), (160, 1408)),
    "mae2_vitb16": (BASE, 16, (384, 4, 6), 1024, 1e-3, (200, 20), (160, 704)),
    "mae2_vitl16": (LARGE, 16, (512, 4, 8), 1536, 1e-3, (300, 30), (160, 704)),
    "mae2_vith16": (HUGE, 16, (512, 4, 8), 1536, 1e-3, (300, 30), (160, 704)),
    "mae2_vitg14": (VIDEOMAE_GIANT, 14, (512, 4, 8), 2048, 6e-4, (300, 30), (208, 920)),
    "surgrec_mae_vitb16": (BASE, 16, (384, 4, 6), 2048, 1.5e-4, (800, 40), (160, 1408)),
}

KINETICS, SOMETHING, UCF101, HYBRID = (
    (240_436, 30 / 4),
    (168_913, 12 / 2),
    (9_537, 25 / 4),
    (1_348_000, 30 / 4),
)
"""Videos of a dataset, and frames/s where every 4th or 2nd of its usual rate is taken."""


def dataset_of(name: str) -> tuple[int, float]:
    """Of the run that an MAE config is made after."""
    if name.startswith("mae2_"):
        return HYBRID
    return SOMETHING if "ssv2" in name else UCF101 if "ucf101" in name else KINETICS


@pytest.fixture(scope="module")
def recipes() -> dict[str, ModuleType]:
    """Both recipes as modules."""
    return {name: load_recipe(name) for name in ("jepa", "mae")}


def parsed(recipes: dict[str, ModuleType], *names: str) -> Any:
    """Config files as their recipe reads them, one after the other."""
    files = [word for name in names for word in ("--config", name)]
    return parse_config(
        recipes,
        "jepa" if "jepa" in names[0] else "mae",
        [*files, "--corpus", "c", "--run_dir", "r"],
    )


def encoder_size(config: Any) -> tuple[Any, ...]:
    encoder = config.encoder
    return (
        encoder.width,
        encoder.depth,
        encoder.num_heads,
        pytest.approx(encoder.mlp_ratio, abs=1e-9),
    )


def test_every_config_of_a_published_recipe_is_in_a_table() -> None:
    names = set(FILES)
    assert names == {*JEPA, *MAE, *STATIC} | SURGREC_ONLY


def test_the_readme_lists_every_config() -> None:
    readme = (ROOT / "recipes/README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(ALL_FILES)


def test_the_readme_lists_the_unknowns_of_every_config_head() -> None:
    rows = [
        line
        for line in (ROOT / "recipes/README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    unknown = {
        name: row.split("|")[4].strip() for row in rows for name in re.findall(r"`(\w+)`", row)
    }
    for path in sorted(FILES.values()):
        if "Unknown: " in path.read_text(encoding="utf-8"):
            assert unknown[path.stem], path.stem
    assert (unknown["mae2_vitl16"], unknown["mae2_vith16"]) == ("views", "batch")


@pytest.mark.parametrize(
    "path",
    [ROOT / "recipes/README.md", *sorted(FILES.values())],
    ids=lambda path: path.stem,
)
def test_the_recipes_accept_every_documented_command(
    recipes: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    commands = documented_commands(path.read_text(encoding="utf-8"))
    assert commands
    for method, words in commands:
        assert parse_config(recipes, method, [*words, "--corpus", "c", "--run_dir", "r"])


def test_the_recipes_accept_every_command_of_the_documentation(
    recipes: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "docker/README.md"]
    texts = [shell_blocks(page.read_text(encoding="utf-8")) for page in pages]
    commands = [command for text in texts for command in documented_commands(text)]
    assert len(commands) > 12
    for method, words in commands:
        assert parse_config(recipes, method, [*words, "--corpus", "c", "--run_dir", "r"])


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_config_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    comment = head_of(name)
    assert f"--config {name}" in comment, "the command that runs it"
    assert any(word in comment for word in ("Hardware: ", "Hardware and Cost: ", "Unknown: "))
    assert "Cost" in comment
    assert "tiny" in name or "Source: " in comment or "Unknown, taken from" in comment
    if name in {*JEPA, *MAE} and not name.startswith("surgrec_"):
        deviations = all_deviations(name)
        assert "the mixture decides" in deviations, "which data is used"
        if name in MAE:
            assert "without antialiasing; the original uses antialiasing" in deviations
    if name.startswith("jepa21_"):
        assert "modality embedding has no weight decay" in all_deviations(name)


def head_of(name: str) -> str:
    """The comment at the head of a config, as one line."""
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def all_deviations(name: str) -> str:
    """The deviations that a head states, and those of the config that it refers to."""
    stated = head_of(name).partition("Deviations")[2]
    assert stated
    referred = re.match(r": those of (\w+)", stated)
    return stated + (all_deviations(referred.group(1)) if referred else "")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_config_resolves_to_the_values_on_record(
    recipes: dict[str, ModuleType], name: str
) -> None:
    values = json.loads(VALUES.read_text(encoding="utf-8"))
    full = values["jepa_vitl16" if name in {*JEPA, *STATIC} or "jepa" in name else "mae_vitb16"]
    expected = {key: value for key, value in (full | values[name]).items() if value != "absent"}
    config = parsed(recipes, *([STATIC[name]] if name in STATIC else []), name)
    resolved = dict(flat(as_plain(config)))
    assert {key: resolved[key] for key in expected} == expected
    assert resolved.keys() - expected.keys() == {"corpus", "run_dir"}


@pytest.fixture(scope="module")
def default_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with the default length of clips, of a video with a shorter rest."""
    folder = tmp_path_factory.mktemp("default")
    video = make_video(folder / "videos" / "one.mp4", seconds=40)
    small = ("--encode.short_side_px", 64, "--encode.preset", "ultrafast")
    built = run_here(*build_folder(video.parent), *small, "--out", folder / "corpus")
    assert built.returncode == 0, built.stderr
    return folder / "corpus"


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith("_cooldown")))
def test_a_default_corpus_feeds_a_cooldown(
    recipes: dict[str, ModuleType], name: str, default_corpus: Path
) -> None:
    config = parsed(recipes, name)
    stream = Stream(open_corpus(default_corpus), config.mixture, seed=0)
    assert stream.require_sampling(config.encoder.num_frames, config.sampling_fps) == []
    assert [stratum.size for stratum in stream.order.strata] == [2], "not the rest of 8 s"


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of a config by dotted names."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flat(item, f"{key}.{name}" if key else name)
    else:
        yield key, value


@pytest.mark.parametrize("name", JEPA)
def test_a_jepa_has_its_published_values(recipes: dict[str, ModuleType], name: str) -> None:
    size, (frames, crop_px, tokens), mask_group, batch, steps, schedules = JEPA[name]
    config = parsed(recipes, name)
    assert encoder_size(config) == size
    assert (config.encoder.num_frames, config.encoder.crop_px, config.encoder.patch_size) == (
        frames,
        crop_px,
        16,
    )
    assert (config.encoder.tubelet_size, config.encoder.grid.num_tokens) == (2, tokens)
    assert (config.objective.mask_group, config.global_batch, config.steps) == (
        mask_group,
        batch,
        steps,
    )
    for step, (rate, decay, momentum) in schedules.items():
        assert schedule_value(config.optimizer.lr, step) == pytest.approx(rate, rel=1e-3), step
        assert schedule_value(config.optimizer.weight_decay, step) == pytest.approx(
            decay, rel=1e-3
        ), step
        assert schedule_value(config.momentum, step) == pytest.approx(momentum, abs=1e-6), step
    blocks = [
        (mask.num_blocks, mask.spatial_scale, mask.temporal_scale)
        for mask in config.objective.masks
    ]
    assert blocks == [(8, 0.15, 1.0), (2, 0.7, 1.0)]
    assert all(
        (mask.aspect_ratio, mask.lengths) == ((0.75, 1.5), ()) for mask in config.objective.masks
    )
    assert (config.optimizer.betas, config.optimizer.eps, config.objective.trim) == (
        (0.9, 0.999),
        1e-8,
        "prefix",
    )
    view = config.augment
    assert (view.crop, view.scale, view.aspect_ratio, view.flip) == (
        "random_resized",
        (0.3, 1.0),
        (0.75, 1.35),
        0.5,
    )
    predictor = config.objective.predictor
    assert (predictor.width, predictor.mlp_ratio) == (384, 4.0)
    assert predictor.shared_mask_token == (not name.startswith("jepa1_")), (
        "V-JEPA 1 trains one for each mask configuration"
    )
    assert (config.seed, config.precision) == (234 if name.startswith("jepa1_") else 239, "bf16")


@pytest.mark.parametrize(("name", "base"), STATIC.items())
def test_static_shapes_change_the_lengths_of_masks_and_nothing_else(
    recipes: dict[str, ModuleType], name: str, base: str
) -> None:
    before, after = parsed(recipes, base), parsed(recipes, base, name)
    assert [len(mask.lengths) for mask in after.objective.masks] == [4, 3]
    assert after.objective.trim == "random"
    masks = tuple(replace(mask, lengths=()) for mask in after.objective.masks)
    assert replace(after, objective=replace(after.objective, masks=masks, trim="prefix")) == before


@pytest.mark.parametrize(("name", "base"), CHANGED.items())
def test_a_variant_of_videomae_changes_only_the_fields_of_its_script(
    recipes: dict[str, ModuleType], name: str, base: str
) -> None:
    before, after = parsed(recipes, base), parsed(recipes, name)
    assert after != before
    objective = replace(after.objective, mask_ratio=before.objective.mask_ratio)
    optimizer = replace(after.optimizer, lr=before.optimizer.lr)
    same = {field: getattr(before, field) for field in ("sampling_fps", "global_batch", "steps")}
    assert replace(after, objective=objective, optimizer=optimizer, **same) == before


@pytest.mark.parametrize(
    ("name", "published"),
    [("jepa_vitl16_continued", "jepa2_vitl16_256"), ("mae_vitb16_continued", "mae_vitb16")],
)
def test_a_continued_run_takes_the_whole_published_model_and_cools_down(
    recipes: dict[str, ModuleType], name: str, published: str
) -> None:
    config, origin = parsed(recipes, name), parsed(recipes, published)
    assert (config.encoder, config.objective) == (origin.encoder, origin.objective), (
        "so that all of its weights fit"
    )
    assert (config.augment, config.sampling_fps) == (origin.augment, origin.sampling_fps)
    rate = [schedule_value(config.optimizer.lr, step) for step in (0, 500, 6_000, config.steps)]
    assert rate[0] < 2e-6 < rate[2] < rate[1]
    assert rate[3] == pytest.approx(1e-6)
    assert (
        rate[1] / config.global_batch
        <= schedule_value(origin.optimizer.lr, 12_000) / origin.global_batch * 1.01
    )


@pytest.mark.parametrize("name", [name for name in JEPA if name.startswith("jepa1_")])
def test_vjepa_1_differs_in_positions_heads_and_clipping(
    recipes: dict[str, ModuleType], name: str
) -> None:
    config = parsed(recipes, name)
    assert config.encoder.positions == "sincos3d"
    assert (config.optimizer.grad_clip, config.optimizer.grad_clip_each) == (10.0, True)
    assert config.optimizer.grad_clip_start == 12_300, (
        "the first epoch of 300 steps after the warm-up"
    )
    assert (config.objective.predictor.depth, config.objective.predictor.num_heads) == (12, 16)
    assert config.sampling_fps == 7.5


@pytest.mark.parametrize("name", [name for name in JEPA if not name.startswith("jepa1_")])
def test_vjepa_2_has_rotary_positions_and_no_clipping_and_21_more(
    recipes: dict[str, ModuleType], name: str
) -> None:
    config = parsed(recipes, name)
    encoder, objective = config.encoder, config.objective
    assert (config.optimizer.grad_clip, objective.predictor.num_heads, config.sampling_fps) == (
        None,
        12,
        4.0,
    )
    if not name.startswith("jepa21_"):
        assert (encoder.positions, encoder.rope, encoder.rope_side, encoder.levels) == (
            "rope",
            "tiled",
            None,
            (),
        )
        assert (objective.predictor.depth, objective.context, encoder.modality_embedding) == (
            12,
            None,
            False,
        )
        return
    assert (encoder.positions, encoder.rope, encoder.rope_side) == ("rope", "interleaved", 16)
    assert (encoder.levels, encoder.modality_embedding) == (LEVELS[encoder.depth], True)
    assert objective.predictor.depth == (12 if encoder.depth == 12 else 24)
    cooldown = name.endswith("cooldown")
    assert (objective.context.weight, objective.context.by_distance) == (0.5, not cooldown)
    assert (objective.context.warmup_start, objective.context.warmup_end) == (
        (0, 0) if cooldown else (15_000, 30_000)
    )


@pytest.mark.parametrize("name", MAE)
def test_an_mae_has_its_published_values(recipes: dict[str, ModuleType], name: str) -> None:
    size, patch, decoder, batch, rate, (epochs, warmup), (seen, predicted) = MAE[name]
    config = parsed(recipes, name)
    assert encoder_size(config) == size
    assert (config.encoder.num_frames, config.encoder.crop_px, config.encoder.patch_size) == (
        16,
        224,
        patch,
    )
    videos, fps = dataset_of(name)
    assert config.sampling_fps == fps
    assert config.steps == pytest.approx(epochs * videos / batch, rel=0.015), (
        "one clip of each video an epoch"
    )
    found = config.objective.decoder
    assert (found.width, found.depth, found.num_heads) == decoder
    assert config.global_batch == batch
    lr = config.optimizer.lr
    assert (lr.decay, lr.end_step) == ("cosine", config.steps)
    assert lr.warmup_steps / config.steps == pytest.approx(warmup / epochs, rel=1e-2)
    top, low = rate * batch / 256, 1e-5 * batch / 256
    middle = (lr.warmup_steps + config.steps) / 2
    by_step = {
        0: 0.0,
        lr.warmup_steps / 2: top / 2,
        lr.warmup_steps: top,
        middle: (top + low) / 2,
        config.steps: low,
    }
    for step, expected in by_step.items():
        assert schedule_value(lr, round(step)) == pytest.approx(expected, rel=1e-3), step
    assert [schedule_value(config.optimizer.weight_decay, step) for step in (0, config.steps)] == [
        0.05,
        0.05,
    ]
    assert config.optimizer.betas == (0.9, 0.95)
    assert (config.augment.crop, config.augment.flip) == ("multi_scale", 0.0)
    second = name.startswith("mae2_")
    assert (config.views, config.objective.decoder_mask_ratio) == ((4, 0.5) if second else (1, 0.0))
    assert config.optimizer.grad_clip == (0.02 if name == "mae2_vitg14" else None)
    masks = mae_masks(config.objective, config.encoder.grid, seed=0, positions=np.arange(2))
    assert (masks.context_index.shape[1], masks.target_index.shape[1]) == (seen, predicted)
