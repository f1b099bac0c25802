"""Which format a file has is told from the names in it, and what it is goes into our own file."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from surgrec.convert import (
    ImportFormat,
    ImportOptions,
    export_weights,
    import_weights,
    read_external,
)
from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._key_map import num_blocks, to_surgrec
from surgrec.errors import CheckpointError
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, load_encoder
from tests.support.weight_layouts import (
    assert_same_bytes,
    on_meta,
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    weights_of,
    wrapped,
)

TINY = ImportOptions(num_heads=4, decoder_heads=3)


def test_safetensors_of_a_bare_encoder_are_told_too(tmp_path):
    save_file(random_tensors(vjepa_encoder(48, 2, 192, 8)), tmp_path / "vit.safetensors")
    assert read_external(tmp_path / "vit.safetensors", "auto", TINY).origin.format == "vjepa2"
    save_file(random_tensors(videomae_model(48, 2, 192, 8)), tmp_path / "mae.safetensors")
    assert read_external(tmp_path / "mae.safetensors", "auto", TINY).origin.format == "videomae"


def large(version: str, **more: object) -> CheckpointFile:
    """V-JEPA's layout of a ViT-L, which SurgRec-JEPA has too."""
    shapes = list(vjepa_encoder(1024, 24, 4096, 16, levels=4 if version == "2.1" else 0))
    networks = {name: on_meta(iter(shapes)) for name in ("encoder", "target_encoder")}
    return CheckpointFile(path=Path("large.pt"), sha256="", content=networks, **more)


@pytest.fixture
def read(monkeypatch):
    """Reads a container that no disk should hold."""

    def from_memory(container: CheckpointFile, format_name: ImportFormat):
        monkeypatch.setattr(
            "surgrec.convert._read_external.read_checkpoint_file", lambda _: container
        )
        return read_external(container.path, format_name, ImportOptions())

    return from_memory


def test_a_vit_l_in_v_jepas_layout_may_be_surgrecs_so_its_format_must_be_said(read):
    with pytest.raises(
        CheckpointError, match=r"large\.pt may be V-JEPA's ViT-L or SurgRec-JEPA.*--init_format"
    ):
        read(large("2"), "auto")
    told = {name: read(large("2"), name).origin for name in ("vjepa", "surgrec")}
    assert (told["vjepa"].key, told["vjepa"].license) == ("target_encoder", "MIT")
    assert (told["surgrec"].key, told["surgrec"].license) == ("encoder", "CC-BY-NC-4.0")


def test_what_surgrec_did_not_publish_needs_no_word(read):
    assert read(large("2.1"), "auto").origin.format == "vjepa2.1"
    note = {"license": None, "provenance": {}}
    assert read(large("2", note=note), "auto").origin.license_from == "note"


@pytest.mark.parametrize(
    ("content", "format_name", "match"),
    [
        (
            {"state_dict": {"layer1.0.conv1.weight": torch.ones(1)}},
            "auto",
            "begins with 'state_dict', which no known format",
        ),
        ({"encoder.layer.0.norm1.weight": torch.ones(1)}, "hf", r"no config\.json"),
        ({"model": {"a": 3}}, "vjepa", "no encoder where V-JEPA's files have one"),
        (
            {"encoder": {"module.norm.bias": torch.ones(1), "norm.bias": torch.ones(1)}},
            "vjepa",
            r"'patch_embed\.proj\.weight' is missing",
        ),
        ({"encoder": {3: torch.ones(1)}}, "vjepa", "no encoder where V-JEPA's files have one"),
        ({"encoder": {3: torch.ones(1)}}, "surgrec", "no named tensors where VideoMAE's files"),
        ({"model": {3: torch.ones(1)}}, "videomae", "no named tensors where VideoMAE's files"),
        ({"patch_embed.proj.weight": "none"}, "timm", "holds more than tensors by name"),
        (
            {"encoder": {"patch_embed.proj.weight": torch.ones(48, 3, 0, 8, 8)}},
            "vjepa",
            r"'patch_embed\.proj\.weight' has shape \(48, 3, 0, 8, 8\), 5 axes expected, none of them 0",
        ),
        (
            {"patch_embed.proj.weight": torch.ones(2)},
            "timm",
            r"'patch_embed\.proj\.weight' has shape \(2,\), 4 axes",
        ),
    ],
)
def test_what_no_format_has_is_refused_by_name(tmp_path, content, format_name, match):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=match) as refused:
        read_external(tmp_path / "model.pth", format_name, TINY)
    assert "model.pth" in str(refused.value)


@pytest.mark.parametrize(
    ("model", "field", "value", "match"),
    [
        ("vjepa2", "model_type", ["vjepa2"], r"'model_type' \['vjepa2'\]"),
        ("vjepa2", "num_attention_heads", 0, "'num_attention_heads' of its config.json is 0"),
        ("vjepa2", "patch_size", 0, "'patch_size' of its config.json is 0"),
        ("vjepa2", "patch_size", [[16], [16]], r"'patch_size' of its config.json is \[16\]"),
        (
            "vjepa2",
            "tubelet_size",
            2.5,
            "'tubelet_size' of its config.json is 2.5, a whole number of 1 or more",
        ),
        ("vjepa2", "pred_num_mask_tokens", -1, "'pred_num_mask_tokens' of its config.json is -1"),
        ("vjepa2", "mlp_ratio", float("nan"), "'mlp_ratio' of its config.json is nan"),
        (
            "vjepa2",
            "hidden_size",
            10**30,
            "'hidden_size' of its config.json is 10+, a whole number",
        ),
        (
            "videomae",
            "num_attention_heads",
            5,
            "folder and what was given of it make no encoder: width 768 .* 5",
        ),
        (
            "videomae",
            "num_frames",
            3,
            "folder and what was given of it make no encoder: num_frames 3",
        ),
    ],
)
def test_a_config_of_no_model_is_refused_in_one_sentence(tmp_path, model, field, value, match):
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    config = {"model_type": model, "use_mean_pooling": False, field: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=match):
        read_external(folder, "auto", ImportOptions())


def test_a_bare_file_comes_back_as_a_state_dict_that_pytorch_loads(tmp_path):
    encoder = Encoder(EncoderConfig(width=48, depth=2, num_heads=4, patch_size=8))
    torch.save(
        encoder.state_dict(), tmp_path / "vit.pt"
    )  # with V-JEPA's names, which ours are here
    weights = read_external(
        tmp_path / "vit.pt", "vjepa", ImportOptions(num_heads=4, license="CC-BY-4.0")
    )
    export_weights(weights, "vjepa", tmp_path / "back.pt", {}, weights.origin.license)
    encoder.load_state_dict(torch.load(tmp_path / "back.pt", weights_only=True))
    again = read_external(tmp_path / "back.pt", "vjepa", ImportOptions(num_heads=4)).origin
    assert (again.license, again.license_from) == ("CC-BY-4.0", "note")


def test_an_imported_encoder_says_where_it_is_from(tmp_path):
    tensors = random_tensors(videomae_model(48, 2, 192, 8))
    videomae_file(tmp_path / "vitb.pth", tensors)
    options = ImportOptions(num_heads=4, decoder_heads=3, crop_px=64)
    said = import_weights(
        read_external(tmp_path / "vitb.pth", "auto", options),
        tmp_path / "encoder.safetensors",
        None,
    )
    encoder, provenance = (
        load_encoder(tmp_path / "encoder.safetensors"),
        encoder_provenance(tmp_path / "encoder.safetensors"),
    )
    assert torch.equal(encoder.norm.bias, tensors["encoder.norm.bias"])
    assert encoder.config.crop_px == 64
    assert provenance["config"] == {"sampling_fps": 7.5}
    origin = provenance["init_from"]
    assert (origin["name"], origin["license"], origin["license_from"]) == (
        "vitb.pth",
        "CC-BY-NC-4.0",
        "format",
    )
    assert len(origin["sha256"]) == 64
    text = "\n".join(said)
    assert "not in the file, so as published: num_frames 16, sampling_fps 7.5" in text
    assert "left out: optimizer (1 tensors): the optimizer's state" in text
    assert (
        f"{tmp_path / 'encoder.safetensors'}: encoder and decoder of vitb.pth as videomae, from its model"
        in text
    )


def test_weights_of_nobody_else_stay_free_on_their_way_out_and_in(tmp_path):
    config = EncoderConfig(
        width=48, depth=2, num_heads=4, num_frames=4, crop_px=32, positions="sincos"
    )
    weights = weights_of(Encoder(config))
    export_weights(weights, "videomae", tmp_path / "out.pth", {"step": 3, "init_from": None}, None)
    back = read_external(tmp_path / "out.pth", "auto", TINY)
    assert (back.origin.license, back.origin.license_from) == (None, "note")
    given = read_external(
        tmp_path / "out.pth", "auto", ImportOptions(num_heads=4, license="Apache-2.0")
    )
    assert (given.origin.license, given.origin.license_from) == ("Apache-2.0", "given")


def test_a_chain_of_exports_keeps_its_first_license(tmp_path):
    vjepa_file(
        tmp_path / "vitl16.pth.tar", target_encoder=random_tensors(vjepa_encoder(48, 2, 192, 8))
    )
    first = read_external(
        tmp_path / "vitl16.pth.tar", "auto", ImportOptions(num_heads=4, license="CC-BY-NC-4.0")
    )
    provenance = {"init_from": {"name": "vitl16.pth.tar"}}
    export_weights(first, "vjepa", tmp_path / "second.pt", provenance, first.origin.license)
    second = read_external(tmp_path / "second.pt", "auto", TINY)
    assert (second.origin.license, second.origin.license_from) == ("CC-BY-NC-4.0", "note")
    assert second.origin.init_from == {"name": "vitl16.pth.tar"}
    export_weights(second, "hf", tmp_path / "third", provenance, second.origin.license)
    assert "license: cc-by-nc-4.0" in (tmp_path / "third/README.md").read_text()
    third = read_external(tmp_path / "third", "auto", ImportOptions())
    assert third.origin.license == "CC-BY-NC-4.0"
    assert_same_bytes(wrapped(third.encoder.state), wrapped(first.encoder.state))


def test_a_number_of_blocks_that_no_file_could_have_builds_none() -> None:
    names = [f"blocks.{number}.norm1.weight" for number in range(12)]
    assert num_blocks(names, "blocks.") == 12
    assert num_blocks(["blocks.0.norm1.weight", "blocks.2.norm1.weight"], "blocks.") == 3, (
        "the missing one is told by name"
    )
    assert num_blocks([*names, "blocks.20000000.norm1.weight"], "blocks.") < 30
    assert num_blocks([], "blocks.") == 0


def test_tensors_that_become_one_are_refused_where_their_types_differ() -> None:
    parts = {"q": torch.zeros(2), "v": torch.zeros(2, dtype=torch.float16)}
    with pytest.raises(
        CheckpointError,
        match=r"q and v are one tensor here, and of different types: .*float16, .*float32",
    ):
        to_surgrec(parts, ["attn.qkv.bias"], {"attn.qkv.bias": ("q", None, "v")})
