"""Presets: every shipped one is complete, and a user's own file may be based on one."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from surgrec.commands.encoders import encoders
from surgrec.encoders import is_preset, preset_names, read_preset
from surgrec.errors import ConfigError

WITH_WEIGHTS = [name for name in preset_names() if name != "pixels"]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_every_preset_states_its_input_license_and_pretraining(name: str) -> None:
    preset = read_preset(f"preset:{name}")
    assert is_preset(name)
    assert preset.license
    assert preset.source.startswith("http") or "arXiv" in preset.source
    assert preset.pretraining.data or preset.pretraining.has_surgery == "unknown"
    assert preset.num_frames / preset.fps == pytest.approx(4, rel=0.5), "windows of similar length"


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_every_fact_of_a_preset_has_a_source_or_is_unknown(name: str) -> None:
    stated = asdict(read_preset(name).sources)
    assert sorted(stated) == ["license", "preprocessing", "pretraining", "sampling"]
    for fact, source in stated.items():
        known = ("https://", "arXiv:", "timm ", "chosen here", "unknown")
        assert source.startswith(known), f"{fact}: {source!r}"
    preset = read_preset(name)
    assert (preset.license == "NOASSERTION") == stated["license"].startswith("unknown")
    assert bool(preset.pretraining.data) != stated["pretraining"].startswith("unknown")


def test_a_users_file_changes_the_preset_that_it_is_based_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: dinov2_vitb14\nnum_frames: 8\npreprocessing: {size_px: 280}\n")
    mine, base = read_preset(str(path)), read_preset("dinov2_vitb14")
    assert (mine.num_frames, mine.preprocessing.size_px, mine.model) == (8, 280, base.model)
    assert mine.preprocessing.interpolation == "bicubic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: vjepa2\nmodel: vit_tiny_patch16_224\n", "name a model of timm if, and only if"),
        ("base: vjepa2\nnum_frames: 0\n", "num_frames is 0"),
        ("summary: mine\nreader: timm\n", "mine.yaml"),
        ("base: vjepa2\nframes: 3\n", "frames"),
    ],
)
def test_a_wrong_preset_is_refused_by_its_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_preset(str(tmp_path / "mine.yaml"))


def test_an_unknown_preset_is_refused_with_those_it_may_mean() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'dinov2_vitb' .* did you mean dinov2_vitb14"):
        read_preset("preset:dinov2_vitb")


def test_the_command_lists_all_facts_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    encoders(json=True)
    listed = json.loads(capsys.readouterr().out)
    assert sorted(listed) == preset_names()
    assert listed["vjepa2"]["preprocessing"]["size_px"] == 256
    encoders()
    assert "lemonfm" in capsys.readouterr().out
