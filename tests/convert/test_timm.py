"""An encoder with sinusoids on a still image, as a model of timm."""

import pytest
import timm
import torch
from einops import repeat
from torchvision.transforms.functional import to_pil_image

from surgrec.convert import ImportOptions, export_weights, read_external
from surgrec.convert._checkpoint_file import read_checkpoint_file
from surgrec.convert._timm import timm_state
from surgrec.errors import CheckpointError, ConfigError
from surgrec.features import load_encoder
from surgrec.features.interface import prepare
from surgrec.models import Encoder, EncoderConfig, load_strictly, save_encoder
from tests.support.weight_layouts import assert_same_bytes, block, norm, random_tensors, weights_of

SIZES = [
    (
        0,
        EncoderConfig(width=48, depth=2, num_heads=3, num_frames=2, crop_px=64, positions="sincos"),
    ),
    (
        1,
        EncoderConfig(
            width=36,
            depth=3,
            num_heads=2,
            num_frames=4,
            crop_px=40,
            patch_size=8,
            tubelet_size=4,
            positions="sincos",
        ),
    ),
    (
        2,
        EncoderConfig(
            width=48, depth=2, num_heads=3, num_frames=2, crop_px=64, positions="sincos3d"
        ),
    ),
]


@pytest.mark.parametrize(("seed", "config"), SIZES, ids=["64px", "40px", "V-JEPA 1"])
@torch.no_grad()
def test_the_image_model_agrees_on_a_still_clip(tmp_path, seed, config):
    torch.manual_seed(seed)
    encoder = Encoder(config)
    export_weights(weights_of(encoder), "timm", tmp_path / "timm", {"step": 3}, None)
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    image = torch.randn(2, 3, config.crop_px, config.crop_px)
    clip = repeat(image, "b c h w -> b c t h w", t=config.num_frames)
    tokens = encoder(clip)[:, : config.grid.height * config.grid.width]
    assert tokens.std() > 0.1
    torch.testing.assert_close(model.forward_features(image), tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(image), tokens.mean(dim=1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [90, 64, 40], ids=["larger", "of the crop", "smaller"])
@torch.no_grad()
def test_its_transform_prepares_a_square_picture_as_surgrec_does(tmp_path, side):
    torch.manual_seed(3)
    config = SIZES[0][1]
    encoder = Encoder(config)
    provenance = {"config": {"sampling_fps": 4.0}, "recipe": "mae"}
    save_encoder(encoder, tmp_path / "encoder.safetensors", provenance)
    export_weights(weights_of(encoder), "timm", tmp_path / "timm", {}, None)
    model = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

    coarse = torch.rand(8, 3, 6, 6) * 255
    pictures = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear").to(torch.uint8)
    theirs = torch.stack([transform(to_pil_image(picture)) for picture in pictures])
    preprocessing = load_encoder(tmp_path / "encoder.safetensors", "cpu").encoder.preprocessing
    ours = prepare(pictures, preprocessing, torch.device("cpu"))

    # Of 256 levels, a rounding after each axis moves at most one.
    torch.testing.assert_close(theirs, ours, atol=1.01 / 255 / min(preprocessing.std), rtol=0)


@pytest.mark.parametrize(("seed", "config"), SIZES, ids=["64px", "40px", "V-JEPA 1"])
def test_it_comes_back_bit_identical(tmp_path, seed, config):
    torch.manual_seed(seed)
    export_weights(weights_of(Encoder(config)), "timm", tmp_path / "original", {}, "MIT")
    options = ImportOptions(
        num_frames=config.num_frames, tubelet_size=config.tubelet_size, positions=config.positions
    )
    weights = read_external(tmp_path / "original", "auto", options)

    assert weights.encoder.config == config
    assert (weights.origin.license, weights.origin.license_from) == ("MIT", "note")
    load_strictly(Encoder(config), weights.encoder.state, "test")

    export_weights(weights, "timm", tmp_path / "exported", {}, "MIT")
    assert_same_bytes(
        read_checkpoint_file(tmp_path / "exported").content,
        read_checkpoint_file(tmp_path / "original").content,
    )


def test_an_image_model_without_a_license_is_noassertion(tmp_path):
    config = SIZES[0][1]
    tensors = timm_state(Encoder(config).state_dict(), config)
    torch.save(tensors, tmp_path / "vit.pth")
    origin = read_external(
        tmp_path / "vit.pth", "auto", ImportOptions(num_heads=3, num_frames=2)
    ).origin
    assert (origin.license, origin.license_from) == ("NOASSERTION", "format")


def image_model(width=48, depth=2, tokens=16, classes=False):
    shapes = [
        ("pos_embed", (1, tokens, width)),
        ("patch_embed.proj.weight", (width, 3, 8, 8)),
        ("patch_embed.proj.bias", (width,)),
    ]
    for number in range(depth):
        shapes += block(f"blocks.{number}", width, 4 * width)
    shapes += norm("norm", width)
    return random_tensors(shapes + ([("cls_token", (1, 1, width))] if classes else []))


@pytest.mark.parametrize(
    ("classes", "match"),
    [(False, "'pos_embed' differs from the fixed sinusoids"), (True, "'cls_token' is unexpected")],
)
def test_an_image_model_with_learned_positions_is_refused(tmp_path, classes, match):
    torch.save(image_model(classes=classes), tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=match):
        read_external(tmp_path / "vit.pth", "auto", ImportOptions(num_heads=4))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"positions": "rope"},
            r"only additive position embeddings.*rotary positions \(positions rope\)",
        ),
        (
            {"positions": "sincos3d", "modality_embedding": True},
            "has levels or a modality embedding",
        ),
    ],
)
def test_features_that_an_image_model_lacks_are_refused_by_name(tmp_path, changes, match):
    weights = weights_of(
        Encoder(EncoderConfig(width=48, depth=1, num_heads=2, crop_px=32, **changes))
    )
    with pytest.raises(ConfigError, match=match):
        export_weights(weights, "timm", tmp_path / "out", {}, None)
    assert not list(tmp_path.iterdir())
