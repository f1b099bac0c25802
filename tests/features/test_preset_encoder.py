"""Encoders of other projects: timm's image models and converted checkpoints, by a preset."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from surgrec.commands.features import features
from surgrec.encoders import preset_names, read_preset
from surgrec.errors import CheckpointError, ConfigError
from surgrec.features import EncoderChoice, VideoEncoder, open_encoder, read_features
from surgrec.runs.drawn import pretraining_data
from tests.support.weight_layouts import random_tensors, vjepa_encoder, vjepa_file

CPU = torch.device("cpu")
TINY_VIT = """\
base: dinov2_vits14
model: vit_tiny_patch16_224
arguments: {img_size: 32, depth: 2, embed_dim: 24, num_heads: 3}
num_frames: 3
preprocessing: {size_px: 32}
"""
TINY_CONVNEXT = """\
base: lemonfm
model: convnext_atto
arguments: {depths: [1, 1, 2, 1], dims: [8, 16, 24, 32], conv_mlp: false}
num_frames: 2
preprocessing: {size_px: 32}
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def tiny_vit() -> torch.nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3}
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes).eval()


def opened(preset: Path, weights: Path | None = None, **more) -> VideoEncoder:
    return open_encoder(EncoderChoice(path=preset, weights=weights, **more), CPU)


def test_frames_of_an_image_model_are_pooled(tmp_path: Path) -> None:
    model, preset = tiny_vit(), written(tmp_path / "mine.yaml", TINY_VIT)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    encoder = opened(preset, tmp_path / "vit.safetensors", fps=2.0)

    clips = torch.randn(2, 3, 3, 32, 32)
    with torch.no_grad():
        expected = torch.stack([model(clips[:, :, frame]) for frame in range(3)]).mean(0)
        torch.testing.assert_close(encoder.features(clips), expected)
        first = model.forward_features(clips[:, :, 0])[:, 1:]
        torch.testing.assert_close(encoder.tokens(clips)[:, :4], first)
    assert encoder.tokens(clips).shape == (2, 3 * 4, 24)
    assert (encoder.width, len(encoder.blocks)) == (24, 2)
    assert (encoder.sampling.num_frames, encoder.sampling.fps) == (3, 2.0)
    assert encoder.facts["license"] == "Apache-2.0"
    json.dumps(encoder.facts)


def test_an_encoders_identity_has_its_weights_and_its_preprocessing(tmp_path: Path) -> None:
    preset, weights = written(tmp_path / "mine.yaml", TINY_VIT), tmp_path / "vit.safetensors"
    save_file(tiny_vit().state_dict(), weights)
    first = opened(preset, weights)
    smoother = written(tmp_path / "mine.yaml", TINY_VIT.replace("32}\n", "32, antialias: false}\n"))
    assert opened(smoother, weights).facts["sha256"] != first.facts["sha256"]
    renamed = written(tmp_path / "other.yaml", TINY_VIT)
    assert opened(renamed, weights).facts["sha256"] == first.facts["sha256"]


def test_random_weights_of_a_preset_need_no_file(tmp_path: Path) -> None:
    preset = written(tmp_path / "mine.yaml", TINY_VIT)
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    one, again, other = (opened(preset, random_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    clips = torch.randn(1, 3, 3, 32, 32)
    assert torch.equal(one.features(clips), again.features(clips))
    assert not torch.equal(one.features(clips), other.features(clips))
    assert one.facts["sha256"] == again.facts["sha256"] != other.facts["sha256"]
    assert (one.provenance, one.facts["license"]) == ({}, None)


def test_pretraining_data_without_surgery_is_known_and_others_are_not(tmp_path: Path) -> None:
    weights = tmp_path / "vit.safetensors"
    save_file(tiny_vit().state_dict(), weights)
    unknown = opened(written(tmp_path / "mine.yaml", TINY_VIT), weights)
    plain = TINY_VIT + 'pretraining: {data: [ImageNet-1k], has_surgery: "no"}\n'
    known = opened(written(tmp_path / "plain.yaml", plain), weights)
    assert pretraining_data(unknown.provenance, "mine").unknown == ("mine",)
    assert pretraining_data(known.provenance, "plain").unknown == ()


def test_lemonfms_layout_gives_the_features_of_torchvision(tmp_path: Path) -> None:
    convnext = pytest.importorskip("torchvision.models.convnext")
    torch.manual_seed(0)
    blocks = [
        convnext.CNBlockConfig(*sizes)
        for sizes in ((8, 16, 1), (16, 24, 1), (24, 32, 2), (32, None, 1))
    ]
    model = convnext.ConvNeXt(blocks).eval()
    model.classifier[2] = torch.nn.Identity()
    for name, parameter in model.named_parameters():
        if "layer_scale" in name:
            torch.nn.init.normal_(parameter)
    teacher = {f"backbone.{name}": value for name, value in model.state_dict().items()}
    teacher["head.mlp.0.weight"] = torch.zeros(3, 3)
    torch.save({"teacher": teacher, "student": teacher}, tmp_path / "lemon.pth")

    preset = written(tmp_path / "mine.yaml", TINY_CONVNEXT)
    encoder = opened(preset, tmp_path / "lemon.pth")
    clips = torch.randn(2, 3, 2, 32, 32)
    with torch.no_grad():
        expected = (model(clips[:, :, 0]) + model(clips[:, :, 1])) / 2
        torch.testing.assert_close(encoder.features(clips), expected, rtol=1e-4, atol=1e-5)
    assert encoder.tokens(clips).shape == (2, 2, 32)
    assert len(encoder.blocks) == 5


def test_surgenets_encoder_has_relu_in_place_of_timms_activations() -> None:
    encoder = opened(Path("preset:surgenetxl"), random_seed=0)
    kinds = {type(module).__name__ for module in encoder.network.modules()}
    assert "ReLU" in kinds
    assert "StarReLU" not in kinds
    assert encoder.width == 512


def test_any_image_model_of_timm_opens_by_its_name(tmp_path: Path) -> None:
    name = "resnet10t.c3_in1k"
    weights = tmp_path / "resnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), weights)  # with its classifier
    encoder = opened(Path(f"timm:{name}"), weights)
    stated = timm.get_pretrained_cfg(name)
    assert encoder.preprocessing.size_px == stated.input_size[1] == 176
    assert encoder.preprocessing.mean == stated.mean
    assert (encoder.facts["name"], encoder.facts["license"]) == (name, "apache-2.0")
    assert encoder.tokens(torch.randn(1, 3, 4, 32, 32)).shape == (1, 4, 512)
    assert opened(Path("timm:resnet10t"), random_seed=0).facts["license"] is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet10", r"timm .* has no model 'resnet10'"),
        ("timm:hf_hub:someone/model", r"has no model 'hf_hub:someone/model'"),
        ("timm:resnet10t.none", r"Invalid pretrained tag \(none\)"),
        ("timm:resnet10t", r"resnet10t needs its weights"),
    ],
)
def test_a_name_that_timm_does_not_know_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(Path(name))


def test_a_checkpoint_of_vjepa_opens_by_its_preset(tmp_path: Path) -> None:
    found = {"target_encoder": random_tensors(vjepa_encoder(48, 2, 192, 8), 1)}
    vjepa_file(tmp_path / "vitl.pt", **found)
    preset = written(
        tmp_path / "mine.yaml",
        "base: vjepa2\nnum_frames: 4\npreprocessing: {size_px: 32}\nnum_heads: 4\n",
    )
    encoder = opened(preset, tmp_path / "vitl.pt")
    clips = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(encoder.features(clips), encoder.tokens(clips).mean(1))
    assert encoder.facts["license"] == "MIT"
    random = opened(preset, tmp_path / "vitl.pt", random_seed=3)
    assert not torch.equal(random.features(clips), encoder.features(clips))


def test_pixels_are_a_mean_picture_and_a_mean_change_without_weights() -> None:
    encoder = opened(Path("pixels"), num_frames=3, fps=2.0)
    assert (encoder.sampling.num_frames, encoder.sampling.fps) == (3, 2.0)
    assert (encoder.width, encoder.facts["license"]) == (2 * 3 * 16 * 16, None)
    assert pretraining_data(encoder.provenance, "pixels").unknown == ()

    # Red grows by 0.1 and then by 0.3 everywhere; the others stay.
    clips = torch.full((1, 3, 3, 16, 16), 0.5)
    clips[:, 0] = torch.tensor([0.2, 0.3, 0.6])[:, None, None]
    mean, change = encoder.features(clips).reshape(2, 3, 256)
    torch.testing.assert_close(mean[0], torch.full((256,), 1.1 / 3))
    torch.testing.assert_close(mean[1:], torch.full((2, 256), 0.5))
    torch.testing.assert_close(change, torch.tensor([0.2, 0.0, 0.0])[:, None].expand(3, 256))
    assert encoder.features(clips[:, :, :1])[0, 768:].abs().max() == 0, "one frame has no change"


@pytest.mark.parametrize("more", [{"weights": Path("some.pth")}, {"random_seed": 0}])
def test_weights_of_pixels_are_refused(more: dict[str, Path | int]) -> None:
    with pytest.raises(ConfigError, match="pixels has no weights, neither trained nor random"):
        opened(Path("pixels"), **more)


def test_a_number_of_frames_is_refused_where_an_encoder_states_it(run_dir: Path) -> None:
    for path, weights in ((run_dir, None), (Path("vjepa2"), Path("vitl.pt"))):
        with pytest.raises(ConfigError, match="states its frames itself; leave out num_frames"):
            opened(path, weights, num_frames=3)


def test_missing_and_wrong_weights_are_refused_with_their_source(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"dinov2_vitb14 needs its weights.*nothing is downloaded"
    ):
        opened(Path("dinov2_vitb14"))
    preset, weights = written(tmp_path / "mine.yaml", TINY_VIT), tmp_path / "vit.safetensors"
    tensors = tiny_vit().state_dict()
    save_file({name: tensor for name, tensor in tensors.items() if name != "norm.bias"}, weights)
    with pytest.raises(CheckpointError, match=r"tensor 'norm\.bias' is missing"):
        opened(preset, weights)
    with pytest.raises(CheckpointError, match="has no entry 'teacher' of tensors"):
        opened(written(tmp_path / "lemon.yaml", TINY_CONVNEXT), weights)


@pytest.mark.parametrize("argument", ["checkpoint_path: other.pth", "pretrained: true"])
def test_an_argument_that_would_load_other_weights_is_refused(
    tmp_path: Path, argument: str
) -> None:
    text = TINY_VIT.replace("depth: 2", f"depth: 2, {argument}")
    with pytest.raises(ConfigError, match="would load other weights"):
        opened(written(tmp_path / "mine.yaml", text), random_seed=0)


@pytest.mark.parametrize("name", preset_names())
def test_timm_has_the_model_of_every_preset(name: str) -> None:
    preset = read_preset(name)
    assert preset.reader != "timm" or timm.is_model(preset.model)


def test_features_of_a_corpus_come_from_a_preset_by_the_command_line(
    tmp_path: Path, tiny_corpus: Path
) -> None:
    preset, weights = written(tmp_path / "mine.yaml", TINY_VIT), tmp_path / "vit.safetensors"
    save_file(tiny_vit().state_dict(), weights)
    out = tmp_path / "out"
    features([str(tiny_corpus)], encoder=preset, weights=weights, out=out, fps=2.0, device="cpu")
    read = read_features(out)
    assert read.values.shape == (len(read.rows), 24)
    assert read.facts["encoder"]["preprocessing"]["size_px"] == 32
    assert len(read.rows) > 0


def test_weights_without_a_preset_are_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--weights .* belongs to a preset"):
        opened(run_dir, tmp_path / "some.safetensors")
