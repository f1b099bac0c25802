"""Networks of Endo-FM and SurgVISTA: their layouts, and their results against timm's blocks."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from surgrec.encoders import read_preset
from surgrec.errors import CheckpointError
from surgrec.features import EncoderChoice, VideoEncoder, open_encoder
from surgrec.features._video_transformers import separate_sinusoids

WIDTH, DEPTH, HEADS, PATCH = 32, 2, 2, 8
SIDE_PX, FRAMES = 16, 4
SMALL = f"""\
num_frames: {FRAMES}
num_heads: {HEADS}
preprocessing: {{size_px: {SIDE_PX}}}
"""


def vit() -> torch.nn.Module:
    """Return an image model of timm with random weights, in which every tensor has an effect."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=SIDE_PX,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        num_classes=0,
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def endofm_tensors(temporal_std: float) -> dict[str, torch.Tensor]:
    """Return Endo-FM's tensors: those of the image model, and random ones of time."""
    tensors = dict(vit().state_dict())
    tensors["time_embed"] = torch.randn(1, FRAMES, WIDTH) * temporal_std
    for number in range(DEPTH):
        shapes = {
            "temporal_norm1.weight": (WIDTH,),
            "temporal_norm1.bias": (WIDTH,),
            "temporal_attn.qkv.weight": (3 * WIDTH, WIDTH),
            "temporal_attn.qkv.bias": (3 * WIDTH,),
            "temporal_attn.proj.weight": (WIDTH, WIDTH),
            "temporal_attn.proj.bias": (WIDTH,),
            "temporal_fc.weight": (WIDTH, WIDTH),
            "temporal_fc.bias": (WIDTH,),
        }
        for name, shape in shapes.items():
            std = temporal_std if "fc" in name else 0.2
            tensors[f"blocks.{number}.{name}"] = torch.randn(shape) * std
    return tensors


def opened(folder: Path, base: str, content: dict[str, object], seed: int | None = None):
    torch.save(content, folder / "weights.pth")
    preset = folder / "mine.yaml"
    preset.write_text(f"base: {base}\n{SMALL}", encoding="utf-8")
    choice = EncoderChoice(path=preset, weights=folder / "weights.pth", random_seed=seed)
    return open_encoder(choice, torch.device("cpu"))


def opened_endofm(
    folder: Path, tensors: dict[str, torch.Tensor], seed: int | None = None
) -> VideoEncoder:
    """Open tensors in the layout of the published file."""
    teacher = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    teacher["head.mlp.0.weight"] = torch.zeros(3, 3)
    return opened(folder, "endofm", {"teacher": teacher, "student": teacher}, seed)


def opened_surgvista(folder: Path, tensors: dict[str, torch.Tensor]) -> VideoEncoder:
    others = {"down_img.weight": torch.zeros(3, 3), "decoder_vid.norm.bias": torch.zeros(3)}
    return opened(folder, "surgvista", {"model": {**tensors, **others}})


def test_endofm_without_attention_over_time_sees_each_frame_as_timm_does(tmp_path: Path) -> None:
    encoder = opened_endofm(tmp_path, endofm_tensors(temporal_std=0.0))
    clip = torch.randn(1, 3, 1, SIDE_PX, SIDE_PX).expand(1, 3, FRAMES, SIDE_PX, SIDE_PX)
    with torch.no_grad():
        expected = vit().forward_features(clip[:, :, 0])
        torch.testing.assert_close(encoder.features(clip), expected[:, 0])
        tokens = encoder.tokens(clip)
        torch.testing.assert_close(tokens, expected[:, 1:].repeat(1, FRAMES, 1))
    assert (encoder.width, len(encoder.blocks)) == (WIDTH, DEPTH)


def test_endofm_attends_to_other_frames_at_the_same_place(tmp_path: Path) -> None:
    encoder = opened_endofm(tmp_path, endofm_tensors(temporal_std=0.2))
    clip = torch.randn(1, 3, FRAMES, SIDE_PX, SIDE_PX)
    changed = clip.clone()
    changed[:, :, 3] += 1.0
    with torch.no_grad():
        one, other = encoder.tokens(clip), encoder.tokens(changed)
        first_frame = slice(0, (SIDE_PX // PATCH) ** 2)
        assert (one - other)[:, first_frame].abs().max() > 1e-3

        # The order of the frames has an effect by their positions alone.
        encoder.network.time_embed.zero_()
        torch.testing.assert_close(encoder.features(clip), encoder.features(clip.flip(2)))


def test_surgvista_has_timms_blocks_on_tubelets_with_separate_sinusoids(tmp_path: Path) -> None:
    model = vit()
    tensors = dict(model.state_dict())
    projection = torch.randn(WIDTH, 3, 2, PATCH, PATCH) * 0.2
    del tensors["cls_token"], tensors["pos_embed"]
    tensors["patch_embed.proj.weight"] = projection
    clip = torch.randn(2, 3, FRAMES, SIDE_PX, SIDE_PX)
    encoder = opened_surgvista(tmp_path, tensors)
    with torch.no_grad():
        bias = tensors["patch_embed.proj.bias"]
        patches = torch.nn.functional.conv3d(clip, projection, bias, stride=(2, PATCH, PATCH))
        table = separate_sinusoids(FRAMES // 2, SIDE_PX // PATCH, WIDTH)
        expected = model.norm(model.blocks(patches.flatten(2).transpose(1, 2) + table))
        torch.testing.assert_close(encoder.tokens(clip), expected)
        torch.testing.assert_close(encoder.features(clip), expected.mean(1))


def test_biases_of_query_and_value_are_those_of_one_projection(tmp_path: Path) -> None:
    tensors = {f"encoder.{name}": tensor for name, tensor in vit().state_dict().items()}
    del tensors["encoder.cls_token"], tensors["encoder.pos_embed"]
    tensors["encoder.patch_embed.proj.weight"] = torch.randn(WIDTH, 3, 2, PATCH, PATCH)
    together, apart = dict(tensors), dict(tensors)
    for number in range(DEPTH):
        block = f"encoder.blocks.{number}.attn."
        query, _, value = tensors[f"{block}qkv.bias"].chunk(3)
        together[f"{block}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
        del apart[f"{block}qkv.bias"]
        apart |= {f"{block}q_bias": query, f"{block}v_bias": value}
    clip = torch.randn(1, 3, FRAMES, SIDE_PX, SIDE_PX)
    one, other = (opened_surgvista(tmp_path, each).features(clip) for each in (together, apart))
    assert torch.equal(one, other)

    del apart["encoder.blocks.0.attn.v_bias"]
    with pytest.raises(CheckpointError, match=r"'blocks\.0\.attn\.v_bias' is missing"):
        opened_surgvista(tmp_path, apart)


def test_sinusoids_have_the_time_and_then_column_and_row() -> None:
    table = separate_sinusoids(3, 2, 16)
    assert table.shape == (12, 16)
    time, column, row = table[:, :4], table[:, 4:10], table[:, 10:]
    assert torch.equal(time[0], time[3]), "all places of a time share it"
    assert torch.equal(column[1], column[3]), "rows share the column"
    assert torch.equal(row[0], row[1]), "columns share the row"
    expected = [torch.tensor(2.0).sin(), torch.tensor(0.02).sin()]
    torch.testing.assert_close(time[-1, :2], torch.stack(expected))
    torch.testing.assert_close(column[1, 0], torch.tensor(1.0).sin())


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("norm.bias", r"tensor 'norm\.bias' is missing"),
        ("patch_embed.proj.weight", r"'patch_embed\.proj\.weight' is missing"),
        ("time_embed", r"tensor 'time_embed' is missing"),
    ],
)
def test_a_file_without_a_tensor_is_refused(tmp_path: Path, without: str, message: str) -> None:
    tensors = endofm_tensors(temporal_std=0.2)
    del tensors[without]
    with pytest.raises(CheckpointError, match=message):
        opened_endofm(tmp_path, tensors)


def test_a_file_of_another_width_needs_its_heads(tmp_path: Path) -> None:
    tensors = endofm_tensors(temporal_std=0.2)
    tensors["patch_embed.proj.weight"] = torch.zeros(WIDTH + 1, 3, PATCH, PATCH)
    with pytest.raises(CheckpointError, match=r"the width 33 has no 64 channels for each head"):
        opened_endofm(tmp_path, tensors)


def test_random_weights_have_the_sizes_of_the_file(tmp_path: Path) -> None:
    one, again, other = (
        opened_endofm(tmp_path, endofm_tensors(temporal_std=0.2), seed) for seed in (1, 1, 2)
    )
    clip = torch.randn(1, 3, FRAMES, SIDE_PX, SIDE_PX)
    assert torch.equal(one.features(clip), again.features(clip))
    assert not torch.equal(one.features(clip), other.features(clip))
    assert one.facts["sha256"] == again.facts["sha256"] != other.facts["sha256"]


@pytest.mark.parametrize("name", ["endofm", "surgvista"])
def test_the_presets_name_their_surgical_data(name: str) -> None:
    preset = replace(read_preset(name))
    assert preset.pretraining.has_surgery == "yes"
    assert len(preset.pretraining.data) >= 6
