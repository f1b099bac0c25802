"""VideoMAE's checkpoints, read and written.

Agreement of the networks with VideoMAE's is tested in test_hf_videomae.py.
"""

from pathlib import Path

import pytest
import torch

from surgrec.convert import ImportOptions, export_weights, read_external
from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._videomae import read_videomae
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import Decoder, DecoderConfig, Encoder, EncoderConfig, load_strictly
from tests.support.weight_layouts import (
    Shapes,
    on_meta,
    random_tensors,
    videomae_file,
    videomae_model,
    weights_of,
)

TINY = ImportOptions(num_heads=4, decoder_heads=3)


def file_of(shapes: Shapes) -> CheckpointFile:
    return CheckpointFile(path=Path("vit.pth"), sha256="", content={"model": on_meta(shapes)})


@pytest.mark.parametrize(
    ("key", "wrap"), [("model", ""), ("module", "module.")], ids=["v1", "wrapped"]
)
def test_a_checkpoint_is_read_from_any_entry_and_the_rest_is_listed(tmp_path, key, wrap):
    tensors = random_tensors(videomae_model(48, 3, 192, 8))
    videomae_file(
        tmp_path / "vitb.pth", {wrap + name: tensor for name, tensor in tensors.items()}, key
    )

    weights = read_external(tmp_path / "vitb.pth", "auto", TINY)
    assert (weights.origin.format, weights.origin.key, weights.origin.license) == (
        "videomae",
        key,
        "CC-BY-NC-4.0",
    )
    assert {entry.name for entry in weights.origin.left_out} == {
        "optimizer",
        "scaler",
        "epoch",
        "args",
    }
    assert torch.equal(weights.encoder.state["norm.bias"], tensors["encoder.norm.bias"])


@pytest.mark.parametrize(
    ("size", "patch", "decoder", "version"),
    [
        ((768, 12, 3072), 16, (384, 4, 1536), "videomae"),
        ((1024, 24, 4096), 16, (512, 12, 2048), "videomae"),
        ((1024, 24, 4096), 16, (512, 4, 2048), "videomae2"),
        ((1280, 32, 5120), 16, None, "videomae"),
        ((1408, 40, 6144), 14, None, "videomae2"),
    ],
    ids=["B", "L of v1", "L of v2", "H of v1", "g of v2"],
)
def test_the_versions_differ_in_the_license_of_their_weights(size, patch, decoder, version):
    origin = read_videomae(file_of(videomae_model(*size, patch, decoder)), ImportOptions()).origin
    licenses = {"videomae": "CC-BY-NC-4.0", "videomae2": "NOASSERTION"}
    assert (origin.format, origin.license, origin.license_from) == (
        version,
        licenses[version],
        "format",
    )


def test_the_arguments_of_v2_distinguish_it_from_v1(tmp_path):
    tensors = random_tensors(videomae_model(48, 3, 192, 8))
    videomae_file(
        tmp_path / "vitb.pth", tensors, decoder_mask_type="run_cell", decoder_mask_ratio=0.5
    )
    assert read_external(tmp_path / "vitb.pth", "auto", TINY).origin.license == "NOASSERTION"
    given = ImportOptions(num_heads=4, decoder_heads=3, license="MIT")
    assert read_external(tmp_path / "vitb.pth", "auto", given).origin.license == "MIT"


def test_keys_get_a_bias_of_zeros_between_those_of_queries_and_values(tmp_path):
    tensors = random_tensors(videomae_model(48, 3, 192, 8))
    videomae_file(tmp_path / "vitb.pth", tensors)
    weights = read_external(tmp_path / "vitb.pth", "videomae", TINY)
    query, key, value = weights.encoder.state["blocks.2.attn.qkv.bias"].chunk(3)
    assert torch.equal(query, tensors["encoder.blocks.2.attn.q_bias"])
    assert torch.equal(value, tensors["encoder.blocks.2.attn.v_bias"])
    assert not key.any()
    load_strictly(Encoder(weights.encoder.config), weights.encoder.state, "test")
    load_strictly(
        Decoder(weights.decoder.config, weights.encoder.config), weights.decoder.state, "test"
    )


@pytest.mark.parametrize(
    ("size", "patch", "decoder", "heads"),
    [
        ((384, 12, 1536), 16, (192, 4, 768), (6, 3)),
        ((768, 12, 3072), 16, (384, 4, 1536), (12, 6)),
        ((1280, 32, 5120), 16, (640, 12, 2560), (16, 8)),
        ((1408, 40, 6144), 14, (512, 4, 2048), (16, 8)),
    ],
    ids=["S", "B", "H", "g of v2"],
)
def test_a_published_size_gives_its_heads(size, patch, decoder, heads):
    weights = read_videomae(file_of(videomae_model(*size, patch, decoder)), ImportOptions())
    assert (weights.encoder.config.num_heads, weights.decoder.config.num_heads) == heads
    assert (weights.encoder.config.crop_px, weights.encoder.config.patch_size) == (224, patch)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda tensors: tensors.pop("encoder.blocks.1.attn.v_bias"),
            r"encoder: 'encoder\.blocks\.1\.attn\.v_bias' is missing",
        ),
        (
            lambda tensors: tensors.update({"encoder.blocks.0.attn.qkv.bias": torch.ones(144)}),
            r"'encoder\.blocks\.0\.attn\.qkv\.bias' is unexpected \(1 of 44 tensors unexpected\)",
        ),
        (
            lambda tensors: tensors.update({"encoder.pos_embed": torch.ones(1, 8, 48)}),
            r"'encoder\.pos_embed' is unexpected",
        ),
        (
            lambda tensors: tensors.update({"fc_norm.weight": torch.ones(48)}),
            r"'fc_norm\.weight', so the model was fine-tuned",
        ),
        (lambda tensors: tensors.pop("mask_token"), "decoder: 'mask_token' is missing"),
        (
            lambda tensors: tensors.pop("encoder_to_decoder.weight"),
            r"'encoder_to_decoder\.weight' is missing",
        ),
        (
            lambda tensors: tensors.update({"head.weight": torch.ones(400, 48)}),
            r"'head\.weight' is unexpected",
        ),
        (
            lambda tensors: tensors.update({"encoder.norm.bias": torch.ones(47)}),
            r"'encoder\.norm\.bias' has shape \(47,\), expected \(48,\)",
        ),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_the_name_of_its_tensor(tmp_path, change, match):
    tensors = random_tensors(videomae_model(48, 3, 192, 8))
    change(tensors)
    videomae_file(tmp_path / "vitb.pth", tensors)
    with pytest.raises(CheckpointError, match=match) as refused:
        read_external(tmp_path / "vitb.pth", "auto", TINY)
    assert "vitb.pth" in str(refused.value)


@pytest.mark.parametrize(
    ("decoder", "match"),
    [
        (
            (384, 3, 1536),
            r"decoder: 'decoder\.blocks\.3\.norm1\.weight' is missing \(3 blocks, expected 4\)",
        ),
        (
            (512, 11, 2048),
            r"'decoder\.blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)",
        ),
        ((512, 13, 2048), r"decoder: 'decoder\.blocks\.12\.norm1\.weight' is unexpected"),
    ],
)
def test_an_unpublished_decoder_depth_is_refused_unless_it_is_given(decoder, match):
    file = file_of(videomae_model(768, 12, 3072, 16, decoder))
    with pytest.raises(CheckpointError, match=match):
        read_videomae(file, ImportOptions())
    assert (
        read_videomae(file, ImportOptions(decoder_depth=decoder[1])).decoder.config.depth
        == decoder[1]
    )


def test_an_unpublished_depth_is_refused_by_the_first_missing_tensor():
    with pytest.raises(
        CheckpointError,
        match=r"'encoder\.blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)",
    ):
        read_videomae(file_of(videomae_model(768, 11, 3072, 16)), ImportOptions())


def test_a_v_jepa_checkpoint_is_not_a_videomae(tmp_path):
    torch.save({"encoder": {"module.backbone.norm.bias": torch.ones(3)}}, tmp_path / "vitl.pt")
    with pytest.raises(
        CheckpointError, match=r"vitl\.pt has no named tensors under 'model' or 'module'"
    ):
        read_external(tmp_path / "vitl.pt", "videomae", TINY)


@pytest.mark.parametrize("positions", ["rope", "sincos3d"])
def test_other_positions_are_refused(tmp_path, positions):
    weights = weights_of(
        Encoder(EncoderConfig(width=48, depth=1, num_heads=2, crop_px=32, positions=positions))
    )
    with pytest.raises(
        ConfigError, match=f"VideoMAE adds flat sinusoids.*has positions {positions}"
    ):
        export_weights(weights, "videomae", tmp_path / "out.pth", {}, None)


def test_a_decoder_with_unknown_heads_is_left_out_with_the_reason(tmp_path):
    videomae_file(tmp_path / "vitb.pth", random_tensors(videomae_model(48, 3, 192, 8)))
    weights = read_external(tmp_path / "vitb.pth", "auto", ImportOptions(num_heads=4))
    (left,) = (entry for entry in weights.origin.left_out if entry.name == "decoder")
    assert (weights.decoder, left.tensors, left.kept) == (None, 26 + 6, True)
    assert "no published decoder has width 36" in left.why


def test_export_then_import_changes_only_the_key_bias(tmp_path):
    config = EncoderConfig(
        width=48, depth=2, num_heads=4, crop_px=32, num_frames=4, positions="sincos"
    )
    decoder = Decoder(DecoderConfig(width=36, depth=1, num_heads=3), config)
    weights = weights_of(Encoder(config), decoder=decoder)

    export_weights(weights, "videomae", tmp_path / "out.pth", {}, None)
    back = read_external(
        tmp_path / "out.pth",
        "auto",
        ImportOptions(num_heads=4, decoder_heads=3, num_frames=4, crop_px=32),
    )

    assert back.encoder.config == config
    assert back.decoder.config == decoder.config
    for name, tensor in weights.encoder.state.items():
        if not name.endswith("qkv.bias"):
            assert torch.equal(back.encoder.state[name], tensor), name
