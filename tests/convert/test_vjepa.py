"""V-JEPA's checkpoints, read and written.

Agreement of the networks with V-JEPA's is tested in test_hf_vjepa2.py and test_vjepa21.py.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from einops import rearrange

from surgrec.convert import ImportOptions, export_weights, read_external
from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._vjepa import read_vjepa
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import Encoder, EncoderConfig, Predictor, PredictorConfig, load_strictly
from tests.support.weight_layouts import (
    assert_same_bytes,
    numpy_table,
    on_meta,
    random_tensors,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
    weights_of,
    wrapped,
)

TINY = ImportOptions(num_heads=4, predictor_heads=2)


def networks(width=48, depth=2, tokens=10, **predictor):
    """Context encoder, target encoder and predictor of version 2, with unused tables."""
    shapes = list(vjepa_encoder(width, depth, 4 * width, 8)) + [("pos_embed", (1, 32, width))]
    tensors = {"encoder": random_tensors(shapes, 1), "target_encoder": random_tensors(shapes, 2)}
    shapes = list(vjepa_predictor(width, 24, 2, tokens, **predictor)) + [
        ("predictor_pos_embed", (1, 32, 24))
    ]
    tensors["predictor"] = random_tensors(shapes, 3)
    for number in range(1, tokens):
        tensors["predictor"][f"mask_tokens.{number}"].zero_()  # only the first is ever trained
    return tensors


def rope(**options) -> ImportOptions:
    return ImportOptions(**{"num_heads": 4, "predictor_heads": 2, "positions": "rope", **options})


def exported(weights, path):
    """Export weights, and return the networks in the file."""
    export_weights(weights, "vjepa", path, {"step": 3}, "MIT")
    content = torch.load(path, weights_only=True)
    assert '"MIT"' in content.pop("surgrec")
    return content


def file_of(**networks) -> CheckpointFile:
    return CheckpointFile(path=Path("vit.pt"), sha256="", content=networks)


def without(tensors, *names):
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def test_the_target_encoder_is_used_and_all_other_entries_are_listed(tmp_path):
    tensors = networks()
    vjepa_file(tmp_path / "vitl.pt", **tensors)
    weights = read_external(tmp_path / "vitl.pt", "auto", rope())

    assert torch.equal(
        weights.encoder.state["blocks.1.attn.qkv.weight"],
        tensors["target_encoder"]["blocks.1.attn.qkv.weight"],
    )
    assert torch.equal(weights.context_encoder["norm.bias"], tensors["encoder"]["norm.bias"])
    assert weights.encoder.config == EncoderConfig(width=48, depth=2, num_heads=4, patch_size=8)
    assert (weights.origin.format, weights.origin.key, weights.origin.license) == (
        "vjepa2",
        "target_encoder",
        "MIT",
    )

    left_out = {entry.name: (entry.tensors, entry.kept) for entry in weights.origin.left_out}
    tables = dict.fromkeys(
        ("target_encoder.pos_embed", "encoder.pos_embed", "predictor.predictor_pos_embed"),
        (1, True),
    )
    facts = dict.fromkeys(("scaler", "epoch", "loss", "batch_size", "world_size", "lr"), (0, False))
    assert left_out == tables | facts | {"opt": (2, False)}

    assert weights.assumed == {"num_frames": 16, "crop_px": 256}
    Encoder(weights.encoder.config).load_state_dict(weights.encoder.state)


@pytest.mark.parametrize(("key", "wrap"), [("ema_encoder", True), ("encoder", False), (None, True)])
def test_the_encoder_is_read_from_any_entry_with_or_without_wrappers(tmp_path, key, wrap):
    tensors = without(networks()["encoder"], "pos_embed")
    named = wrapped(tensors) if wrap else tensors
    torch.save(named if key is None else {key: named, "epoch": 3}, tmp_path / "vit.pt")
    weights = read_external(tmp_path / "vit.pt", "auto", TINY)
    assert weights.origin.key == key
    assert_same_bytes(weights.encoder.state, tensors)


@pytest.mark.parametrize(
    ("width", "depth", "hidden", "heads"),
    [(192, 12, 768, 3), (1408, 40, 6144, 22), (1664, 48, 8192, 26)],
)
def test_a_published_size_gives_its_heads(width, depth, hidden, heads):
    shapes = on_meta(vjepa_encoder(width, depth, hidden, 16))
    config = read_vjepa(file_of(encoder=shapes), ImportOptions()).encoder.config
    assert (config.num_heads, round(config.mlp_ratio * width)) == (heads, hidden)


def spoilt(change):
    tensors = without(networks()["target_encoder"], "pos_embed")
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda tensors: tensors.pop("blocks.0.mlp.fc2.bias"),
            r"'blocks\.0\.mlp\.fc2\.bias' is missing \(1 of 28 tensors missing\)",
        ),
        (
            lambda tensors: [
                tensors.pop(name) for name in list(tensors) if name.startswith("blocks.0.attn")
            ],
            r"'blocks\.0\.attn",
        ),
        (
            lambda tensors: tensors.update({"blocks.0.attn.q_bias": torch.ones(48)}),
            r"'blocks\.0\.attn\.q_bias' is unexpected",
        ),
        (
            lambda tensors: tensors.update({"cls_token": torch.ones(1, 1, 48)}),
            r"'cls_token' is unexpected \(1 of 29 tensors unexpected\)",
        ),
        (
            lambda tensors: tensors.update({"norm.bias": torch.ones(47)}),
            r"'norm\.bias' has shape \(47,\), expected \(48,\)",
        ),
        (
            lambda tensors: tensors.update({"norm.bias": torch.ones(48, dtype=torch.int64)}),
            r"'norm\.bias' has shape \(48,\) and type torch\.int64",
        ),
        (
            lambda tensors: tensors.pop("patch_embed.proj.weight"),
            r"'patch_embed\.proj\.weight' is missing",
        ),
    ],
)
def test_a_wrong_encoder_is_refused_by_the_name_of_its_tensor(tmp_path, change, match):
    vjepa_file(tmp_path / "vit.pt", target_encoder=spoilt(change))
    with pytest.raises(CheckpointError, match=match) as refused:
        read_external(tmp_path / "vit.pt", "vjepa", rope())
    assert "vit.pt" in str(refused.value)


@pytest.mark.parametrize(
    ("width", "depth", "levels", "match"),
    [
        (192, 11, 0, r"'blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)"),
        (
            1408,
            39,
            0,
            r"'blocks\.39\.norm1\.weight' is missing \(39 blocks, expected 40\)",
        ),
        (
            192,
            13,
            0,
            r"'blocks\.12\.norm1\.weight' is unexpected \(13 blocks, expected 12\)",
        ),
        (
            1664,
            47,
            4,
            r"'blocks\.47\.norm1\.weight' is missing \(47 blocks, expected 48\)",
        ),
        (
            200,
            12,
            0,
            r"'blocks\.0\.mlp\.fc1\.weight' has 800 and 200 channels, unlike any published size",
        ),
    ],
)
def test_an_unpublished_depth_is_refused_by_the_first_wrong_tensor(width, depth, levels, match):
    hidden = {1408: 6144, 1664: 8192}.get(width, 4 * width)
    tensors = on_meta(vjepa_encoder(width, depth, hidden, 16, levels=levels))
    with pytest.raises(CheckpointError, match=match):
        read_vjepa(file_of(target_encoder=tensors), ImportOptions())


def test_levels_are_known_only_for_published_depths_of_2_1():
    tensors = on_meta(vjepa_encoder(48, 11, 192, 8, levels=4))
    with pytest.raises(
        CheckpointError,
        match=r"'blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)",
    ):
        read_vjepa(file_of(target_encoder=tensors), TINY)


def test_an_unknown_entry_with_tensors_is_refused(tmp_path):
    torch.save(
        {"encoder": networks()["encoder"], "adapter": {"a": torch.ones(1)}}, tmp_path / "vit.pt"
    )
    with pytest.raises(CheckpointError, match=r"the entry 'adapter' holds tensors \(1\)"):
        read_external(tmp_path / "vit.pt", "vjepa", rope())


@pytest.mark.parametrize("positions", [1568, 4608])
def test_a_version_1_table_is_not_imported_under_version_2_and_its_license(tmp_path, positions):
    tensors = networks()
    for name in ("encoder", "target_encoder"):
        tensors[name]["pos_embed"] = torch.zeros(1, positions, 48)
    vjepa_file(tmp_path / "vitl16.pth.tar", **tensors)
    with pytest.raises(
        CheckpointError,
        match=f"'pos_embed' has {positions} positions, as in V-JEPA 1, whose license",
    ):
        read_external(tmp_path / "vitl16.pth.tar", "vjepa", rope())


def test_a_position_table_without_given_positions_is_refused(tmp_path):
    vjepa_file(tmp_path / "vit.pt", **networks())
    with pytest.raises(CheckpointError, match=r"'pos_embed'.*--positions sincos3d for version 1"):
        read_external(tmp_path / "vit.pt", "auto", TINY)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda tensors: tensors.pop("predictor_norm.weight"),
            r"predictor: 'predictor_norm\.weight' is missing",
        ),
        (lambda tensors: tensors.pop("mask_tokens.0"), r"predictor: 'mask_tokens\.0' is missing"),
        (lambda tensors: tensors.pop("mask_tokens.1"), r"predictor: 'mask_tokens\.1' is missing"),
        (
            lambda tensors: tensors.pop("predictor_blocks.0.norm2.bias"),
            r"'predictor_blocks\.0\.norm2\.bias' is missing",
        ),
        (lambda tensors: tensors.update({"extra": torch.ones(2)}), "'extra' is unexpected"),
        (
            lambda tensors: tensors.update({"predictor_blocks.0.attn.q_bias": torch.ones(24)}),
            r"'predictor_blocks\.0\.attn\.q_bias'",
        ),
    ],
)
def test_a_wrong_predictor_is_refused(tmp_path, change, match):
    tensors = networks()
    change(tensors["predictor"])
    vjepa_file(tmp_path / "vit.pt", **tensors)
    with pytest.raises(CheckpointError, match=match):
        read_external(tmp_path / "vit.pt", "vjepa", rope())


@pytest.mark.parametrize(
    ("size", "levels", "depth", "match"),
    [
        (
            (1024, 24, 4096),
            0,
            11,
            r"'predictor_blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)",
        ),
        ((1024, 24, 4096), 0, 13, r"'predictor_blocks\.12\.norm1\.weight' is unexpected"),
        (
            (1408, 40, 6144),
            4,
            12,
            r"'predictor_blocks\.12\.norm1\.weight' is missing \(12 blocks, expected 24\)",
        ),
        (
            (768, 12, 3072),
            4,
            11,
            r"'predictor_blocks\.11\.norm1\.weight' is missing \(11 blocks, expected 12\)",
        ),
    ],
)
def test_an_unpublished_predictor_depth_is_refused_unless_it_is_given(size, levels, depth, match):
    tensors = on_meta(vjepa_encoder(*size, 16, levels=levels))
    file = file_of(
        target_encoder=tensors,
        predictor=on_meta(vjepa_predictor(size[0], 384, depth, 10, levels=levels)),
    )
    with pytest.raises(CheckpointError, match=match):
        read_vjepa(file, ImportOptions())
    assert read_vjepa(file, ImportOptions(predictor_depth=depth)).predictor.config.depth == depth


@pytest.mark.parametrize(
    ("size", "levels", "depth"), [((1024, 24, 4096), 0, 12), ((1408, 40, 6144), 4, 24)]
)
def test_a_published_predictor_has_known_heads_and_one_mask_token(size, levels, depth):
    file = file_of(
        target_encoder=on_meta(vjepa_encoder(*size, 16, levels=levels)),
        predictor=on_meta(vjepa_predictor(size[0], 384, depth, 10, levels=levels)),
    )
    config = read_vjepa(file, ImportOptions()).predictor.config
    assert (config.depth, config.num_heads, config.shared_mask_token) == (depth, 12, True)


def test_the_predictor_of_v_jepa_2_ac_is_left_out():
    predictor = on_meta(vjepa_predictor(192, 384, 2, 0)) | {
        "action_encoder.weight": torch.empty(384, 7)
    }
    weights = read_vjepa(
        file_of(encoder=on_meta(vjepa_encoder(192, 12, 768, 16)), predictor=predictor),
        ImportOptions(),
    )
    assert weights.predictor is None
    assert "predicts from actions" in weights.origin.left_out[0].why


def test_an_unusable_predictor_is_left_out_with_the_reason(tmp_path):
    tensors = networks(features=64)
    vjepa_file(tmp_path / "vit.pt", **tensors)
    weights = read_external(tmp_path / "vit.pt", "vjepa", rope())
    (left,) = (entry for entry in weights.origin.left_out if entry.name == "predictor")
    assert weights.predictor is None
    assert "distilled" in left.why
    assert left.tensors == len(tensors["predictor"])
    vjepa_file(tmp_path / "other.pt", **networks())
    weights = read_external(tmp_path / "other.pt", "vjepa", rope(predictor_heads=None))
    assert weights.predictor is None
    assert any(
        "no published predictor has width 24" in entry.why for entry in weights.origin.left_out
    )


@pytest.fixture
def version_1(tmp_path):
    tensors = networks(tokens=2)
    for name in ("encoder", "target_encoder"):
        tensors[name]["pos_embed"] = numpy_table(4, 5, 48)
    tensors["predictor"]["predictor_pos_embed"] = numpy_table(4, 5, 24)
    vjepa_file(tmp_path / "vitl16.pth.tar", **tensors)
    return tensors, tmp_path / "vitl16.pth.tar"


def test_version_1_gives_its_clip_and_one_mask_token_per_mask(version_1):
    _, path = version_1
    weights = read_external(path, "vjepa", rope(positions="sincos3d"))
    config = weights.encoder.config
    assert (config.positions, config.num_frames, config.crop_px) == ("sincos3d", 8, 40)
    assert (weights.origin.format, weights.origin.license) == ("vjepa1", "CC-BY-NC-4.0")
    assert weights.assumed == {}
    assert not weights.predictor.config.shared_mask_token


def test_version_1_at_another_size_recomputes_its_positions(version_1):
    _, path = version_1
    weights = read_external(path, "vjepa", rope(positions="sincos3d", num_frames=4, crop_px=64))
    encoder = Encoder(weights.encoder.config)
    load_strictly(encoder, weights.encoder.state, "test")
    torch.testing.assert_close(encoder.sinusoids()[0], numpy_table(2, 8, 48)[0], atol=1e-6, rtol=0)


def test_version_1_at_another_size_exports_tables_of_that_size(version_1, tmp_path):
    _, path = version_1
    weights = read_external(path, "vjepa", rope(positions="sincos3d", num_frames=4, crop_px=64))
    back = exported(weights, tmp_path / "back.pt")
    stored = (
        back["target_encoder"]["module.backbone.pos_embed"],
        back["predictor"]["module.backbone.predictor_pos_embed"],
    )
    for table, width in zip(stored, (48, 24), strict=True):
        torch.testing.assert_close(table, numpy_table(2, 8, width), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("network", "table"),
    [
        ("target_encoder", "pos_embed"),
        ("encoder", "pos_embed"),
        ("predictor", "predictor_pos_embed"),
    ],
)
def test_a_table_of_other_than_fixed_positions_is_refused(version_1, tmp_path, network, table):
    tensors, _ = version_1
    tensors[network][table] += 0.01
    vjepa_file(tmp_path / "learned.pt", **tensors)
    with pytest.raises(
        CheckpointError,
        match=f"'{table}' differs from V-JEPA 1's tables of all grids with 100 tubelets",
    ):
        read_external(tmp_path / "learned.pt", "vjepa", rope(positions="sincos3d"))


def test_version_2_1_gives_its_levels_and_keeps_tensors_for_still_images(tmp_path):
    shapes = list(vjepa_encoder(48, 12, 192, 8, levels=4))
    tensors = {"encoder": random_tensors(shapes, 1), "target_encoder": random_tensors(shapes, 2)}
    tensors["predictor"] = random_tensors(vjepa_predictor(48, 24, 2, 8, levels=4), 3)
    vjepa_file(tmp_path / "vitb.pt", **tensors)
    weights = read_external(tmp_path / "vitb.pt", "auto", TINY)

    config, predictor = weights.encoder.config, weights.predictor
    assert (config.rope, config.rope_side, config.levels) == ("interleaved", 16, (2, 5, 8, 11))
    assert (predictor.config.context_head, predictor.config.shared_mask_token) == (True, True)
    load_strictly(Encoder(config), weights.encoder.state, "test")
    load_strictly(
        Predictor(replace(predictor.config, shared_mask_token=False), config, 8),
        predictor.state,
        "test",
    )

    still = ("patch_embed_img.proj.weight", "patch_embed_img.proj.bias", "img_mod_embed")
    expected = {f"{network}.{name}" for network in ("encoder", "target_encoder") for name in still}
    assert {entry.name for entry in weights.origin.left_out if entry.kept} == expected | {
        "predictor.img_mod_embed"
    }


def test_the_distilled_2_1_is_read_without_its_predictor(tmp_path):
    encoder = random_tensors(vjepa_encoder(48, 12, 192, 8, levels=4))
    predictor = random_tensors(vjepa_predictor(48, 24, 2, 8, levels=1, features=104))
    vjepa_file(tmp_path / "vitb.pt", ema_encoder=encoder, predictor=predictor)
    weights = read_external(tmp_path / "vitb.pt", "auto", TINY)
    assert (weights.origin.key, weights.predictor) == ("ema_encoder", None)
    assert torch.equal(weights.encoder.state["level_norms.3.bias"], encoder["norms_block.3.bias"])
    assert torch.equal(
        weights.encoder.state["modality_embed"], rearrange(encoder["video_mod_embed"], "1 1 d -> d")
    )


@pytest.mark.parametrize(
    ("changes", "depth", "shared", "stored"),
    [
        ({}, 2, True, 10),
        ({}, 2, False, 10),
        ({"positions": "sincos3d"}, 2, False, 2),
        (
            {
                "rope": "interleaved",
                "rope_side": 16,
                "levels": (2, 5, 8, 11),
                "modality_embedding": True,
            },
            12,
            True,
            8,
        ),
    ],
    ids=["2", "2, a token for each mask", "1", "2.1"],
)
def test_a_run_exports_the_published_number_of_mask_tokens_all_trained(
    tmp_path, changes, depth, shared, stored
):
    config = EncoderConfig(width=48, depth=depth, num_heads=4, num_frames=4, crop_px=64, **changes)
    head = PredictorConfig(
        width=24, depth=2, num_heads=2, shared_mask_token=shared, context_head=bool(config.levels)
    )
    predictor = Predictor(head, config, num_mask_configs=2)
    weights = weights_of(Encoder(config), predictor)
    back = exported(weights, tmp_path / "out.pt")["predictor"]
    # V-JEPA's loaders predict from the second token by default.
    names = [name for name in back if ".mask_tokens." in name]
    assert sorted(names) == sorted(
        f"module.backbone.mask_tokens.{number}" for number in range(stored)
    )
    trained = 1 if shared else 2
    for number in range(stored):
        token = back[f"module.backbone.mask_tokens.{number}"]
        assert token.shape == (1, 1, 24)
        assert torch.equal(token[0, 0], predictor.mask_tokens[number % trained])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"positions": "sincos"}, "no flat sinusoids"),
        ({"rope": "interleaved"}, "rope interleaved"),
        ({"rope_side": 16}, r"and \(16, \(\), False\)"),
        (
            {"positions": "sincos3d", "modality_embedding": True},
            "no version of V-JEPA has this encoder",
        ),
    ],
)
def test_an_encoder_that_no_version_has_is_refused(tmp_path, changes, match):
    weights = weights_of(
        Encoder(EncoderConfig(width=48, depth=2, num_heads=4, num_frames=4, crop_px=64, **changes))
    )
    with pytest.raises(ConfigError, match=match):
        export_weights(weights, "vjepa", tmp_path / "out.pt", {}, None)
    assert not list(tmp_path.iterdir())
