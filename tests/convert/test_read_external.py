"""Detect and read external formats; refuse others in one sentence."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from surgrec.convert import ImportFormat, ImportOptions, read_external
from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.errors import CheckpointError
from tests.support.weight_layouts import on_meta, random_tensors, videomae_model, vjepa_encoder

TINY = ImportOptions(num_heads=4, decoder_heads=3)


def test_safetensors_of_a_bare_encoder_are_detected(tmp_path):
    save_file(random_tensors(vjepa_encoder(48, 2, 192, 8)), tmp_path / "vit.safetensors")
    assert read_external(tmp_path / "vit.safetensors", "auto", TINY).origin.format == "vjepa2"
    save_file(random_tensors(videomae_model(48, 2, 192, 8)), tmp_path / "mae.safetensors")
    assert read_external(tmp_path / "mae.safetensors", "auto", TINY).origin.format == "videomae"


def large(version: str, **more: object) -> CheckpointFile:
    """A ViT-L in V-JEPA's layout, which SurgRec-JEPA has too."""
    shapes = list(vjepa_encoder(1024, 24, 4096, 16, levels=4 if version == "2.1" else 0))
    networks = {name: on_meta(iter(shapes)) for name in ("encoder", "target_encoder")}
    return CheckpointFile(path=Path("large.pt"), sha256="", content=networks, **more)


@pytest.fixture
def read(monkeypatch):
    """Read a checkpoint on the meta device, without a file."""

    def from_memory(file: CheckpointFile, format_name: ImportFormat):
        monkeypatch.setattr("surgrec.convert._read_external.read_checkpoint_file", lambda _: file)
        return read_external(file.path, format_name, ImportOptions())

    return from_memory


def test_a_vit_l_of_v_jepa_or_surgrec_needs_its_format(read):
    with pytest.raises(
        CheckpointError, match=r"large\.pt may be V-JEPA's ViT-L or SurgRec-JEPA.*--init_format"
    ):
        read(large("2"), "auto")
    origins = {name: read(large("2"), name).origin for name in ("vjepa", "surgrec")}
    assert (origins["vjepa"].key, origins["vjepa"].license) == ("target_encoder", "MIT")
    assert (origins["surgrec"].key, origins["surgrec"].license) == ("encoder", "CC-BY-NC-4.0")


def test_a_vit_l_that_surgrec_did_not_publish_is_detected(read):
    assert read(large("2.1"), "auto").origin.format == "vjepa2.1"
    note = {"license": None, "provenance": {}}
    assert read(large("2", note=note), "auto").origin.license_from == "note"


@pytest.mark.parametrize(
    ("content", "format_name", "match"),
    [
        (
            {"state_dict": {"layer1.0.conv1.weight": torch.ones(1)}},
            "auto",
            r"unknown format \(first entries: 'state_dict'",
        ),
        ({"encoder.layer.0.norm1.weight": torch.ones(1)}, "hf", r"no config\.json"),
        ({"model": {"a": 3}}, "vjepa", "has no named tensors under target_encoder"),
        (
            {"encoder": {"module.norm.bias": torch.ones(1), "norm.bias": torch.ones(1)}},
            "vjepa",
            r"'patch_embed\.proj\.weight' is missing",
        ),
        ({"encoder": {3: torch.ones(1)}}, "vjepa", "has no named tensors under target_encoder"),
        ({"encoder": {3: torch.ones(1)}}, "surgrec", "has no named tensors under 'model'"),
        ({"model": {3: torch.ones(1)}}, "videomae", "has no named tensors under 'model'"),
        ({"patch_embed.proj.weight": "none"}, "timm", "'patch_embed.proj.weight' is not a tensor"),
        (
            {"encoder": {"patch_embed.proj.weight": torch.ones(48, 3, 0, 8, 8)}},
            "vjepa",
            r"'patch_embed\.proj\.weight' has shape \(48, 3, 0, 8, 8\), expected 5 axes, all",
        ),
        (
            {"patch_embed.proj.weight": torch.ones(2)},
            "timm",
            r"'patch_embed\.proj\.weight' has shape \(2,\), expected 4 axes",
        ),
    ],
)
def test_content_of_no_format_is_refused_by_name(tmp_path, content, format_name, match):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=match) as refused:
        read_external(tmp_path / "model.pth", format_name, TINY)
    assert "model.pth" in str(refused.value)


@pytest.mark.parametrize(
    ("model", "field", "value", "match"),
    [
        ("vjepa2", "model_type", ["vjepa2"], r"'model_type' in config.json is \['vjepa2'\]"),
        ("vjepa2", "num_attention_heads", 0, "'num_attention_heads' in config.json is 0"),
        ("vjepa2", "patch_size", 0, "'patch_size' in config.json is 0"),
        ("vjepa2", "patch_size", [[16], [16]], r"'patch_size' in config.json is \[16\]"),
        (
            "vjepa2",
            "tubelet_size",
            2.5,
            "'tubelet_size' in config.json is 2.5, expected a whole number from 1",
        ),
        ("vjepa2", "pred_num_mask_tokens", -1, "'pred_num_mask_tokens' in config.json is -1"),
        ("vjepa2", "mlp_ratio", float("nan"), "'mlp_ratio' in config.json is nan"),
        (
            "vjepa2",
            "hidden_size",
            10**30,
            "'hidden_size' in config.json is 10+, expected a whole number",
        ),
        (
            "videomae",
            "num_attention_heads",
            5,
            "folder and the given options do not make a valid encoder: width 768 .* 5",
        ),
        (
            "videomae",
            "num_frames",
            3,
            "folder and the given options do not make a valid encoder: num_frames is 3",
        ),
    ],
)
def test_an_impossible_config_is_refused_in_one_sentence(tmp_path, model, field, value, match):
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    config = {"model_type": model, "use_mean_pooling": False, field: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=match):
        read_external(folder, "auto", ImportOptions())
