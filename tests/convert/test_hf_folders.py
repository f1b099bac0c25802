"""Folders for Hugging Face's AutoModel, written and read: no missing or unexpected tensors, equal
outputs, equal bytes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import save_file

from surgrec.convert import ImportOptions, export_weights, read_external
from surgrec.convert._checkpoint_file import read_checkpoint_file
from surgrec.errors import CheckpointError, ConfigError
from surgrec.features import load_encoder
from surgrec.models import (
    Decoder,
    DecoderConfig,
    Encoder,
    EncoderConfig,
    Predictor,
    PredictorConfig,
    load_strictly,
    save_encoder,
)
from tests.support.hugging_face import transformers_or_skip
from tests.support.weight_layouts import (
    assert_same_bytes,
    random_tensors,
    shake,
    surgrec,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
    weights_of,
)

transformers = transformers_or_skip()

ROPE = EncoderConfig(
    width=64, depth=2, num_heads=2, num_frames=6, crop_px=56, patch_size=8, mlp_ratio=48 / 11
)
SINCOS = replace(ROPE, positions="sincos", mlp_ratio=2.0)


def jepa(config=ROPE, **predictor):
    torch.manual_seed(1)
    sizes = PredictorConfig(width=24, depth=2, num_heads=2, mlp_ratio=3.0, **predictor)
    return Encoder(config), Predictor(sizes, config, 2)


def mae(config=SINCOS):
    torch.manual_seed(1)
    return Encoder(config), Decoder(DecoderConfig(width=36, depth=1, num_heads=3), config)


def loaded(auto, folder):
    """Load a folder's model, and check that it has exactly the expected tensors."""
    model, report = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(
        report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    ), report
    return model.eval()


def hf_clips(clips):
    return rearrange(clips, "b c t h w -> b t c h w")


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "shared"),
    [(ROPE, True), (ROPE, False), (replace(ROPE, mlp_ratio=4.4), True)],
    ids=["one mask token", "one per mask config", "hidden channels that truncation would change"],
)
def test_a_jepa_loads_in_auto_model_with_equal_features_and_predictions(tmp_path, config, shared):
    encoder, predictor = jepa(config, shared_mask_token=shared)
    export_weights(weights_of(encoder, predictor), "hf", tmp_path / "out", {"step": 7}, None)
    model = loaded(transformers.AutoModel, tmp_path / "out")

    clips = torch.randn(2, 3, 6, 56, 56)
    order = torch.stack([torch.randperm(ROPE.grid.num_tokens) for _ in range(2)])
    context, target = order[:, :50].sort().values, order[:, 50:80].sort().values

    theirs = model(hf_clips(clips), context_mask=[context], target_mask=[target])
    features = encoder(clips)
    torch.testing.assert_close(features, theirs.last_hidden_state, atol=1e-5, rtol=1e-5)

    visible = torch.gather(features, 1, context[..., None].expand(-1, -1, 64))
    ours = predictor(visible, context, target, 1)
    assert ours.std() > 0.1
    torch.testing.assert_close(
        ours, theirs.predictor_output.last_hidden_state, atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_an_encoder_alone_loads_with_an_empty_predictor_and_a_note(tmp_path):
    encoder, _ = jepa()
    export_weights(weights_of(encoder), "hf", tmp_path / "out", {}, None)
    model = loaded(transformers.AutoModel, tmp_path / "out")
    clips = torch.randn(1, 3, 6, 56, 56)
    theirs = model(hf_clips(clips), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(encoder(clips), theirs, atol=1e-5, rtol=1e-5)
    assert "These weights have no predictor." in (tmp_path / "out/README.md").read_text()
    weights = read_external(tmp_path / "out", "auto", ImportOptions())
    assert weights.predictor is None
    assert [entry.name for entry in weights.origin.left_out] == ["predictor"]


@torch.no_grad()
def test_a_mae_loads_in_auto_model_with_equal_features(tmp_path):
    """AutoModel has no decoder, so an MAE's is not written by default."""
    encoder, decoder = mae()
    written = export_weights(weights_of(encoder, decoder=decoder), "hf", tmp_path / "out", {}, None)
    assert written == "encoder"
    clips = torch.randn(2, 3, 6, 56, 56)
    theirs = loaded(transformers.AutoModel, tmp_path / "out")(hf_clips(clips)).last_hidden_state
    torch.testing.assert_close(encoder(clips), theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_mae_with_decoder_loads_for_pretraining_with_equal_predictions(tmp_path):
    encoder, decoder = mae()
    weights = weights_of(encoder, decoder=decoder)
    export_weights(weights, "hf", tmp_path / "out", {}, None, with_decoder=True)

    clips = torch.randn(2, 3, 6, 56, 56)
    hidden = torch.rand(ROPE.grid.num_tokens) < 0.8
    ids = torch.arange(ROPE.grid.num_tokens)
    visible, target = (ids[chosen].expand(2, -1) for chosen in (~hidden, hidden))

    model = loaded(transformers.AutoModelForPreTraining, tmp_path / "out")
    theirs = model(hf_clips(clips), bool_masked_pos=hidden.expand(2, -1)).logits
    assert theirs.std() > 0.1
    torch.testing.assert_close(
        decoder(encoder(clips, visible), visible, target), theirs, atol=1e-5, rtol=1e-5
    )
    assert "reports its weights as unexpected" in (tmp_path / "out/README.md").read_text()


@torch.no_grad()
def test_the_only_trained_mask_token_of_v_jepa_fills_every_slot(tmp_path):
    """Hugging Face uses the second by default, which is zeros in the published files."""
    found = {"target_encoder": random_tensors(vjepa_encoder(48, 2, 192, 8), 1)}
    found["predictor"] = random_tensors(vjepa_predictor(48, 24, 2, 10), 2)
    for number in range(1, 10):
        found["predictor"][f"mask_tokens.{number}"].zero_()
    vjepa_file(tmp_path / "vitl.pt", **found)
    options = ImportOptions(num_heads=4, predictor_heads=2, num_frames=4, crop_px=32)
    weights = read_external(tmp_path / "vitl.pt", "auto", options)
    export_weights(weights, "hf", tmp_path / "out", {}, None)
    tokens = loaded(transformers.AutoModel, tmp_path / "out").predictor.embeddings.mask_tokens
    assert tokens.shape == (10, 1, 1, 24)
    assert all(torch.equal(token, found["predictor"]["mask_tokens.0"][0]) for token in tokens[:, 0])


@pytest.mark.parametrize("networks", [jepa, mae])
def test_weights_in_bfloat16_are_exported_with_their_dtype(tmp_path, networks):
    encoder, head = networks()
    weights = weights_of(
        encoder.bfloat16(), **{"predictor" if networks is jepa else "decoder": head.bfloat16()}
    )
    export_weights(weights, "hf", tmp_path / "first", {}, None)
    export_weights(
        read_external(tmp_path / "first", "auto", ImportOptions()),
        "hf",
        tmp_path / "second",
        {},
        None,
    )

    for name in ("first", "second"):
        assert json.loads((tmp_path / name / "config.json").read_text())["dtype"] == "bfloat16"
        assert loaded(transformers.AutoModel, tmp_path / name).dtype == torch.bfloat16

    export_weights(weights_of(*jepa()), "hf", tmp_path / "float32", {}, None)
    assert json.loads((tmp_path / "float32/config.json").read_text())["dtype"] == "float32"


def test_exported_processors_load_and_prepare_a_video(tmp_path):
    video = np.random.default_rng(0).integers(0, 256, (6, 80, 100, 3), dtype=np.uint8)
    export_weights(weights_of(*jepa()), "hf", tmp_path / "jepa", {}, None)
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path / "jepa")
    assert processor.size["shortest_edge"] == 56
    clip = processor(video, return_tensors="pt")["pixel_values_videos"]
    assert clip.shape == (1, 6, 3, 56, 56)
    assert abs(clip.mean()) < 1

    export_weights(weights_of(mae()[0]), "hf", tmp_path / "mae", {}, None)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "mae")
    assert type(processor).__name__.startswith("VideoMAEImageProcessor")
    clip = processor(list(video), return_tensors="pt")["pixel_values"]
    assert clip.shape == (1, 6, 3, 56, 56)
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "of_length", "of_deviations"),
    [
        ((56, 90), 1e-6, 1e-5),
        ((64, 64), 1e-6, 1e-5),
        ((40, 40), 1e-6, 1e-5),
        ((64, 100), 0.025, 0.12),
    ],
    ids=["of the crop's height", "a larger square", "a smaller square", "resized before its crop"],
)
@pytest.mark.parametrize("networks", [jepa, mae])
def test_an_exported_processor_gives_the_features_of_surgrec(
    tmp_path, networks, size, of_length, of_deviations
):
    encoder, head = networks()
    shake(encoder)
    weights = weights_of(encoder, **{"predictor" if networks is jepa else "decoder": head})
    export_weights(weights, "hf", tmp_path / "out", {}, None)
    provenance = {"config": {"sampling_fps": 4.0}, "recipe": "jepa"}
    save_encoder(encoder, tmp_path / "encoder.safetensors", provenance)

    # 40 clips. 64 pixels become 56, as stored clips of 256 become 224. Of wide frames, processors
    # crop the resized frame, which shifts the view by up to half a pixel.
    coarse = torch.rand(40, 3, 6, 8, 12) * 255
    videos = F.interpolate(coarse, size=(6, *size), mode="trilinear").to(torch.uint8)
    ours = load_encoder(tmp_path / "encoder.safetensors", "cpu").features(videos)
    assert isinstance(ours, torch.Tensor)

    model = loaded(transformers.AutoModel, tmp_path / "out")
    frames = rearrange(videos, "b c t h w -> b t c h w")
    if networks is jepa:
        processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path / "out")
        batch, options = processor(list(frames), return_tensors="pt"), {"skip_predictor": True}
    else:
        processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
        batch, options = processor([list(video) for video in frames], return_tensors="pt"), {}
    theirs = model(**batch, **options).last_hidden_state.mean(1)

    # All features share a large mean, beside which differences look small.
    assert (theirs - ours).norm() < of_length * ours.norm()
    deviations = [features - ours.mean(0) for features in (ours, theirs)]
    assert (theirs - ours).norm() < of_deviations * deviations[0].norm()
    ours, theirs = map(F.normalize, deviations)
    assert (ours @ theirs.T).argmax(1).tolist() == list(range(40))


def hf_jepa(**more):
    sizes = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "crop_size": 32,
        "frames_per_clip": 4,
    }
    predictor = {
        "pred_hidden_size": 24,
        "pred_num_hidden_layers": 1,
        "pred_num_attention_heads": 2,
        "pred_num_mask_tokens": 10,
    }

    return transformers.VJEPA2Model(
        transformers.VJEPA2Config(patch_size=8, **sizes, **predictor, **more)
    ).eval()


def hf_mae():
    sizes = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "num_frames": 4,
    }
    decoder = {
        "decoder_hidden_size": 36,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 3,
    }

    config = transformers.VideoMAEConfig(
        patch_size=8,
        intermediate_size=96,
        decoder_intermediate_size=72,
        use_mean_pooling=False,
        **sizes,
        **decoder,
    )
    return transformers.VideoMAEForPreTraining(config).eval()


def hf_bare_mae():
    return hf_mae().videomae


@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "sharded"])
@pytest.mark.parametrize("make", [hf_jepa, hf_mae, hf_bare_mae])
def test_import_then_export_restores_a_transformers_folder_bit_for_bit(
    tmp_path, monkeypatch, make, sharded
):
    torch.manual_seed(0)
    model = make()
    shake(model)
    original, imported, exported = (
        tmp_path / "original",
        tmp_path / "encoder.safetensors",
        tmp_path / "exported",
    )
    model.save_pretrained(original, **({"max_shard_size": "40KB"} if sharded else {}))
    assert (original / "model.safetensors.index.json").is_file() == sharded

    assert surgrec(monkeypatch, "import", original, "--out", imported) == 0
    decoder = ["--decoder", "true"] if make is hf_mae else []
    assert (
        surgrec(monkeypatch, "export", imported, "--format", "hf", "--out", exported, *decoder) == 0
    )

    assert_same_bytes(
        read_checkpoint_file(exported).content, read_checkpoint_file(original).content
    )
    configs = [json.loads((folder / "config.json").read_text()) for folder in (original, exported)]
    for name in configs[0].keys() & configs[1].keys() - {"layer_norm_eps"}:
        assert configs[1][name] == configs[0][name], name


@torch.no_grad()
def test_encoders_that_transformers_saved_agree(tmp_path):
    """For 48 channels and a ratio of 4.45, transformers has 213 hidden channels: it truncates."""
    clips = torch.randn(2, 3, 4, 32, 32)
    models = {
        "jepa": hf_jepa(),
        "cut": hf_jepa(mlp_ratio=4.45),
        "mae": hf_mae(),
        "bare": hf_bare_mae(),
    }

    for name, model in models.items():
        shake(model)
        model.save_pretrained(tmp_path / name)
        weights = read_external(tmp_path / name, "auto", ImportOptions())
        encoder = Encoder(weights.encoder.config)
        load_strictly(encoder, weights.encoder.state, name)
        whole = getattr(model, "videomae", model)
        extra = {} if isinstance(whole, transformers.VideoMAEModel) else {"skip_predictor": True}
        theirs = whole(hf_clips(clips), **extra).last_hidden_state
        torch.testing.assert_close(encoder(clips), theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_v_jepa_checkpoint_becomes_the_model_that_transformers_has(tmp_path):
    model = hf_jepa()
    shake(model)

    theirs = model.state_dict()
    tensors = {}
    for name, tensor in theirs.items():
        if not name.startswith("encoder.") or ".key." in name or ".value." in name:
            continue
        if ".query." in name:
            tensor = torch.cat(
                [theirs[name.replace("query", part)] for part in ("query", "key", "value")]
            )
        ours = name.replace("encoder.embeddings.patch_embeddings", "patch_embed").replace(
            "attention.query", "attn.qkv"
        )
        ours = ours.replace("encoder.layer.", "blocks.").replace("attention.proj", "attn.proj")
        tensors[ours.replace("encoder.layernorm", "norm")] = tensor

    vjepa_file(tmp_path / "vit.pt", target_encoder=tensors)
    weights = read_external(
        tmp_path / "vit.pt", "auto", ImportOptions(num_heads=4, num_frames=4, crop_px=32)
    )
    encoder = Encoder(weights.encoder.config)
    load_strictly(encoder, weights.encoder.state, "test")

    clips = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(
        encoder(clips),
        model(hf_clips(clips), skip_predictor=True).last_hidden_state,
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rope": "interleaved"}, "no version of V-JEPA has this encoder"),
        ({"positions": "sincos3d"}, "transformers has only V-JEPA 2.*vjepa1"),
    ],
)
def test_an_encoder_that_transformers_lacks_is_refused(tmp_path, changes, match):
    with pytest.raises(ConfigError, match=match):
        export_weights(
            weights_of(Encoder(replace(ROPE, **changes))), "hf", tmp_path / "out", {}, None
        )
    assert not list(tmp_path.iterdir())


def changed_folder(
    folder, make, change_config=lambda config: None, change_tensors=lambda tensors: None
):
    make().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    change_config(config)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = dict(read_checkpoint_file(folder).content)
    change_tensors(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("make", "config", "tensors", "match"),
    [
        (
            hf_jepa,
            {"num_hidden_layers": 3},
            {},
            r"'encoder\.layer\.2\.norm1\.weight' is missing \(16 of",
        ),
        (
            hf_jepa,
            {"num_hidden_layers": 1},
            {},
            r"'encoder\.layer\.1\..*' is unexpected",
        ),
        (hf_jepa, {"layer_norm_eps": 1e-5}, {}, "'layer_norm_eps' in config.json is 1e-05"),
        (hf_jepa, {"layer_norm_eps": 1e-12}, {}, "'layer_norm_eps' in config.json is 1e-12"),
        (hf_mae, {"layer_norm_eps": 1e-5}, {}, "'layer_norm_eps' in config.json is 1e-05"),
        (hf_jepa, {"hidden_act": "gelu_new"}, {}, "'hidden_act' in config.json is 'gelu_new'"),
        (hf_jepa, {"model_type": "bert"}, {}, "'model_type' in config.json is 'bert'"),
        (hf_jepa, {"crop_size": "big"}, {}, "'crop_size' in config.json is 'big'"),
        (hf_mae, {"use_mean_pooling": True}, {}, "'use_mean_pooling' in config.json is true"),
        (
            hf_mae,
            {},
            {"videomae.encoder.layer.0.attention.attention.key.bias": 48},
            r"key\.bias' is unexpected",
        ),
        (
            hf_mae,
            {},
            {"videomae.layernorm.bias": 47},
            r"'videomae\.layernorm\.bias' has shape \(47,\), expected \(48,\)",
        ),
    ],
)
def test_a_wrong_folder_is_refused_by_name(tmp_path, make, config, tensors, match):
    sizes = {name: torch.zeros(size) for name, size in tensors.items()}
    folder = changed_folder(
        tmp_path / "hf", make, lambda found: found.update(config), lambda found: found.update(sizes)
    )
    with pytest.raises(CheckpointError, match=match):
        read_external(folder, "auto", ImportOptions())


def test_license_and_provenance_are_in_the_card_and_the_weights(tmp_path):
    export_weights(weights_of(*jepa()), "hf", tmp_path / "out", {"step": 7}, "CC-BY-NC-4.0")
    card = (tmp_path / "out/README.md").read_text()
    assert "\nlicense: cc-by-nc-4.0\n" in card
    assert '"step": 7' in card
    with safe_open(tmp_path / "out/model.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["surgrec"])
    assert facts == {"provenance": {"step": 7}, "license": "CC-BY-NC-4.0"}
    weights = read_external(tmp_path / "out", "auto", ImportOptions())
    assert (weights.origin.license, weights.origin.license_from) == ("CC-BY-NC-4.0", "note")


def test_an_existing_path_is_not_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match="out exists already"):
        export_weights(weights_of(*jepa()), "hf", tmp_path / "out", {}, None)
