"""A user's ONNX model as an encoder: its axes, its tokens, its random variant, its refusals."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from surgrec.commands.features import features
from surgrec.errors import CheckpointError, ConfigError, SurgrecError
from surgrec.features import EncoderChoice, VideoEncoder, load_encoder, open_encoder, read_features
from surgrec.models import Encoder
from tests.features.conftest import TINY
from tests.support.onnx_models import write_model

CPU = torch.device("cpu")
STATED = """\
summary: mine
reader: onnx
num_frames: 4
fps: 2
preprocessing: {size_px: 8}
license: MIT
pretraining: {data: [Mine], has_surgery: "yes"}
source: https://example.org
"""
CLIP = ("N", 3, 4, 8, 8)


class Columns(nn.Module):
    """Tokens are columns of pixels. `order` brings the axes of the input into b c t h w."""

    def __init__(self, order: Sequence[int] = (0, 1, 2, 3, 4), *, pooled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.order, self.pooled = tuple(order), pooled
        self.project = nn.Linear(3 * 4 * 8, 6)

    def forward(self, clips: Tensor) -> Tensor:
        columns = clips.permute(self.order).permute(0, 4, 1, 2, 3).flatten(2)
        tokens: Tensor = torch.tanh(self.project(columns))
        return tokens.mean(1) if self.pooled else tokens


def exported(path: Path, model: nn.Module, shape: Sequence[int], *, fixed: bool = False) -> Path:
    """Export a model as docs/encoders.md shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (torch.zeros(*shape),),
            str(path),
            input_names=["clips"],
            dynamic_axes=None if fixed else {"clips": {0: "n"}},
            dynamo=False,
        )
    return path


def opened(folder: Path, weights: Path, text: str = STATED, **more) -> VideoEncoder:
    preset = folder / "mine.yaml"
    preset.write_text(text, encoding="utf-8")
    return open_encoder(EncoderChoice(path=preset, weights=weights, **more), CPU)


@pytest.mark.parametrize("fixed", [False, True], ids=["any number of clips", "2 clips per call"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 2, 1, 3, 4)], ids=["nctHW", "ntcHW"])
def test_tokens_of_a_clip_model_equal_those_of_torch(
    tmp_path: Path, order: Sequence[int], fixed: bool
) -> None:
    model, clips = Columns(order), torch.randn(5, 3, 4, 8, 8)
    sides = clips[:2].permute(order).shape
    path = exported(tmp_path / "m.onnx", model, sides, fixed=fixed)
    encoder = opened(tmp_path, path)
    expected = model(clips.permute(order)).detach()
    torch.testing.assert_close(encoder.tokens(clips), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.features(clips), expected.mean(1), rtol=1e-4, atol=1e-5)
    assert (encoder.width, encoder.sampling.num_frames, encoder.sampling.fps) == (6, 4, 2.0)
    assert isinstance(encoder, VideoEncoder)
    assert list(encoder.blocks) == []


def test_a_model_of_one_vector_per_clip_has_one_token(tmp_path: Path) -> None:
    model, clips = Columns(pooled=True), torch.randn(3, 3, 4, 8, 8)
    encoder = opened(tmp_path, exported(tmp_path / "m.onnx", model, clips.shape))
    assert encoder.tokens(clips).shape == (3, 1, 6)
    torch.testing.assert_close(encoder.features(clips), model(clips).detach())


def test_an_image_model_sees_each_frame_alone(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[2, 3], keepdims=0)
    path = write_model(tmp_path / "m.onnx", [mean], shape=("N", 3, 8, 8), output=("N", 3))
    encoder, clips = opened(tmp_path, path), torch.randn(2, 3, 4, 8, 8)
    assert encoder.tokens(clips).shape == (2, 4, 3)
    torch.testing.assert_close(encoder.features(clips), clips.mean((2, 3, 4)))


def test_features_of_a_corpus_equal_those_of_the_same_encoder_in_torch(
    tmp_path: Path, tiny_corpus: Path, run_dir: Path
) -> None:
    ours = load_encoder(run_dir, "cpu").encoder.network
    assert isinstance(ours, Encoder)
    path = exported(tmp_path / "m.onnx", ours, (2, 3, TINY.num_frames, TINY.crop_px, TINY.crop_px))
    text = STATED.replace("size_px: 8", f"size_px: {TINY.crop_px}").replace("fps: 2", "fps: 4")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    common = {"stride_s": 0.5, "batch": 8, "device": "cpu"}
    features([str(tiny_corpus)], encoder=run_dir, out=tmp_path / "torch", **common)
    features(
        [str(tiny_corpus)],
        encoder=tmp_path / "mine.yaml",
        weights=path,
        out=tmp_path / "onnx",
        **common,
    )
    expected, found = read_features(tmp_path / "torch"), read_features(tmp_path / "onnx")
    assert [row.start_s for row in found.rows] == [row.start_s for row in expected.rows]
    torch.testing.assert_close(found.values, expected.values, rtol=1e-3, atol=1e-4)
    assert found.facts["encoder"]["license"] == "MIT"


def test_random_weights_shuffle_the_matrices_of_the_model(tmp_path: Path) -> None:
    path = exported(tmp_path / "m.onnx", Columns(), (2, 3, 4, 8, 8))
    clips = torch.randn(2, 3, 4, 8, 8)
    trained = opened(tmp_path, path)
    one, again, other = (opened(tmp_path, path, random_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.features(clips), again.features(clips))
    assert not torch.equal(one.features(clips), other.features(clips))
    assert not torch.equal(one.features(clips), trained.features(clips))
    identities = {each.facts["sha256"] for each in (trained, one, again, other)}
    assert len(identities) == 3
    assert (one.provenance, one.facts["license"]) == ({}, None)
    assert trained.facts["license"] == "MIT"
    json.dumps(trained.facts)


def of_nan_weights(path: Path) -> None:
    model = Columns()
    nn.init.constant_(model.project.weight, float("nan"))
    exported(path, model, (2, 3, 4, 8, 8))


def by_chance(path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["pictures"], ["noise"]),
        helper.make_node("ReduceMean", ["noise"], ["score"], axes=[3, 4], keepdims=0),
        helper.make_node("Flatten", ["score"], ["flat"]),
    ]
    model = onnx.load(write_model(path, nodes, shape=CLIP, output=("N", 12)))
    model.graph.output[0].name = "flat"
    path.write_bytes(model.SerializeToString())


def of_shape(*shape: int | str):
    mean = helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[2, 3], keepdims=0)
    return lambda path: write_model(path, [mean], shape=shape, output=("N", 3))


REFUSED = {
    r"m\.onnx gives NaN or infinite values for a random clip": of_nan_weights,
    r"gives one clip two results": by_chance,
    r"has an input of the shape \['N', 3, 4, 9, 9\], but the preset states 4 frames of 8 x 8": (
        of_shape("N", 3, 4, 9, 9)
    ),
    r"\['N', 'C', 'T', 8, 8\], whose axis of colors cannot be told": of_shape("N", "C", "T", 8, 8),
    r"has an input of the shape \['N', 3\], but": lambda path: write_model(
        path, [helper.make_node("Identity", ["pictures"], ["score"])], shape=("N", 3)
    ),
    r"gives an output of the shape \[2\] for 2 inputs": lambda path: write_model(
        path,
        [helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[1, 2, 3, 4], keepdims=0)],
        shape=CLIP,
    ),
    r"is not a model that ONNX Runtime loads": lambda path: path.write_bytes(b"PK\x03\x04" * 99),
    r"--weights: .*m\.onnx cannot be read": lambda path: None,
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_model_that_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, message: str) -> None:
    path = tmp_path / "m.onnx"
    REFUSED[message](path)
    with pytest.raises(SurgrecError, match=message) as caught:
        opened(tmp_path, path)
    assert "\n" not in str(caught.value)


def test_weights_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = exported(tmp_path / "m.onnx", Columns(), (2, 3, 4, 8, 8))
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location="outside.bin")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    (tmp_path / "outside.bin").write_bytes(np.zeros(1000, np.float32).tobytes())
    for seed in (None, 0):
        with pytest.raises(CheckpointError, match="has weights in another file, which is not read"):
            opened(tmp_path, path, random_seed=seed)


def test_a_model_without_matrices_has_no_random_variant(tmp_path: Path) -> None:
    mean = helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[2, 3], keepdims=0)
    path = write_model(tmp_path / "m.onnx", [mean], shape=("N", 3, 8, 8), output=("N", 3))
    with pytest.raises(CheckpointError, match="stores no matrices as initializers"):
        opened(tmp_path, path, random_seed=0)


def test_a_graph_without_its_description_is_refused_with_the_way(tmp_path: Path) -> None:
    for name, message in (
        ("m.onnx", r"does not state its frames.*--weights .*m\.onnx"),
        ("m.pt2", r"m\.pt2 is a file of torch\.export, which torch reads by unpickling"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(ConfigError, match=message):
            open_encoder(EncoderChoice(path=tmp_path / name), CPU)
    with pytest.raises(ConfigError, match=r"m\.pt2 is a file of torch\.export"):
        opened(tmp_path, tmp_path / "m.pt2")
