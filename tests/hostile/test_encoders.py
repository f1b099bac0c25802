"""Hostile presets, weights and ONNX models of encoders: refused before a video is decoded."""

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from tests.hostile.harness import Kind, try_kind
from tests.support.onnx_models import write_model
from tests.support.videos import make_video

VIT = """\
base: dinov2_vits14
model: vit_tiny_patch16_224
arguments: {img_size: 32, depth: 1, embed_dim: 24, num_heads: 3}
num_frames: 2
preprocessing: {size_px: 32}
"""
ONNX = "base: dinov2_vits14\nreader: onnx\nmodel: ''\nnum_frames: 2\npreprocessing: {size_px: 8}\n"
CLIP = ("N", 3, 2, 8, 8)
MEAN = helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[2, 3, 4], keepdims=0)
Write = Callable[[Path], object]


class Code:
    """Unpickling it would write a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("was_run",)


def extracted(
    preset: str | bytes, write: Write, name: str = "w.safetensors"
) -> Callable[[Path], Sequence[object]]:
    """Return the maker of a preset, a file of weights and a video, and the command for them."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "videos").mkdir()
        make_video(folder / "videos/a.mp4", seconds=3)
        data = preset.encode() if isinstance(preset, str) else preset
        (folder / "mine.yaml").write_bytes(data)
        write(folder / name)
        encoder = ("--encoder", "mine.yaml", "--weights", name)
        return ["surgrec", "features", "videos", *encoder, "--out", "out", "--device", "cpu"]

    return make


def tensors(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tensors of the small model; one that is changed to nothing is left out."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 3}
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes).state_dict()
    return {name: value for name, value in (state | changes).items() if value.numel()}


def saved(**changes: torch.Tensor) -> Write:
    return lambda path: save_file(tensors(**changes), path)


def with_header_of(size: int) -> Write:
    return lambda path: path.write_bytes(struct.pack("<Q", size) + b'{"a": 1}')


def sparse(size: int) -> Write:
    return lambda path: (path.touch(), os.truncate(path, size))


def of_nodes(*nodes: onnx.NodeProto, **values: np.ndarray) -> Write:
    return lambda path: write_model(path, nodes, values=values, shape=CLIP, output=("N", 3))


def of_weights_elsewhere(path: Path) -> None:
    add = helper.make_node("Add", ["mean", "w"], ["score"])
    mean = helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=[2, 3, 4], keepdims=0)
    model = onnx.load(write_model(path, [mean, add], shape=CLIP, output=("N", 3)))
    weights = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[3])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/proc/self/mem")
    path.write_bytes(model.SerializeToString())


NOTHING = torch.zeros(0)
PRESETS: dict[str, str | bytes] = {
    "that is empty": "",
    "of random bytes": bytes(range(256)),
    "that is a list": "[]\n",
    "with an unknown field": VIT + "code: os.system\n",
    "with a tag of Python": VIT + "summary: !!python/object/apply:os.mkdir [was_run]\n",
    "that is its own base": VIT.replace("dinov2_vits14", "mine.yaml"),
    "with a base that is missing": VIT.replace("dinov2_vits14", "dinov9"),
    "with a base outside": VIT.replace("dinov2_vits14", "/etc/passwd"),
    "of NaN frames per second": VIT + "fps: .nan\n",
    "of infinitely many frames per second": VIT + "fps: .inf\n",
    "of a billion frames": VIT.replace("num_frames: 2", "num_frames: 1000000000"),
    "of a billion pixels": VIT.replace("size_px: 32", "size_px: 1000000000"),
    "with a NaN mean": VIT.replace("size_px: 32", "size_px: 32, mean: [.nan, 0, 0]"),
    "with a deviation of 0": VIT.replace("size_px: 32", "size_px: 32, std: [0, 1, 1]"),
    "with two means": VIT.replace("size_px: 32", "size_px: 32, mean: [0, 0]"),
    "with arguments that are text": VIT.replace("arguments: {", "arguments: 'x'\nsources: {"),
    "with an argument that timm lacks": VIT.replace("depth: 1", "depth: 1, fun: 2"),
    "of a billion blocks": VIT.replace("depth: 1", "depth: 1000000000"),
    "of 65,000 channels": VIT.replace("depth: 1, embed_dim: 24", "depth: 100, embed_dim: 64998"),
    "of NaN blocks": VIT.replace("depth: 1", "depth: .nan"),
    "of no heads": VIT.replace("num_heads: 3", "num_heads: 0"),
    "that downloads": VIT.replace("depth: 1", "depth: 1, pretrained: true"),
    "that reads another file": VIT.replace("depth: 1", "depth: 1, checkpoint_path: /etc/passwd"),
    "of a model on the hub": VIT.replace("vit_tiny_patch16_224", "'hf_hub:a/b'"),
    "of a model in a folder": VIT.replace("vit_tiny_patch16_224", "'local-dir:/etc'"),
    "of a model with a control character": VIT.replace("vit_tiny_patch16_224", '"a\\e[31mb"'),
}
WEIGHTS: dict[str, Write] = {
    "that are missing": lambda path: None,
    "that are an empty folder": lambda path: path.mkdir(),
    "that are a pipe": lambda path: os.mkfifo(path),
    "that link to themselves": lambda path: path.symlink_to(path),
    "that are empty": lambda path: path.touch(),
    "of text": lambda path: path.write_text("weights\n" * 1000),
    "of 1 TiB of zeros": sparse(1 << 40),
    "with a header of an exabyte": with_header_of(1 << 60),
    "with a header beyond the end": with_header_of(1 << 20),
    "that are NaN": saved(**{"norm.weight": torch.full((24,), torch.nan)}),
    "that are infinite": saved(**{"norm.weight": torch.full((24,), torch.inf)}),
    "of whole numbers": saved(**{"norm.weight": torch.ones(24, dtype=torch.int64)}),
    "of another width": saved(**{"norm.weight": torch.ones(25)}),
    "without a tensor": saved(**{"norm.weight": NOTHING}),
    "with another tensor": saved(**{"more.weight": torch.ones(3)}),
    "with a tensor of an odd name": saved(**{"a\x1b[31m\n": torch.ones(3)}),
}
MODELS: dict[str, Write] = {
    "that is missing": lambda path: None,
    "that is a pipe": lambda path: os.mkfifo(path),
    "that is empty": lambda path: path.touch(),
    "of text": lambda path: path.write_text("graph\n" * 1000),
    "of 3 GB": sparse(3 << 30),
    "of weights in another file": of_weights_elsewhere,
    "of NaN": of_nodes(
        helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("Mul", ["mean", "nan"], ["score"]),
        nan=np.array([np.nan], np.float32),
    ),
    "of a result of 400 TB": of_nodes(
        helper.make_node("Expand", ["pictures", "shape"], ["large"]),
        helper.make_node("ReduceMean", ["large"], ["score"], axes=[2, 3, 4, 5], keepdims=0),
        shape=np.array([1 << 40, 1, 3, 2, 8, 8]),
    ),
    "of an operator of its own": lambda path: write_model(
        path,
        [helper.make_node("Mine", ["pictures"], ["score"], domain="a")],
        shape=CLIP,
        operators=["a"],
    ),
    "of larger pictures": lambda path: write_model(path, [MEAN], shape=("N", 3, 2, 9, 9)),
    "of no clips": lambda path: write_model(path, [MEAN], shape=(0, 3, 2, 8, 8)),
    "of whole numbers": lambda path: write_model(
        path, [MEAN], shape=CLIP, kind=TensorProto.INT32, output=("N", 3)
    ),
}
KINDS = [
    *(
        Kind(name=f"a preset of an encoder {name} is refused", make=extracted(text, saved()))
        for name, text in PRESETS.items()
    ),
    *(
        Kind(name=f"weights {name} are refused", make=extracted(VIT, write))
        for name, write in WEIGHTS.items()
    ),
    Kind(
        name="weights with code are refused",
        make=extracted(VIT, lambda path: torch.save({"norm.weight": Code()}, path), name="w.pth"),
    ),
    Kind(
        name="weights that fit give features",
        make=extracted(VIT, saved()),
        right=lambda folder, run: None,
    ),
    *(
        Kind(name=f"an encoder's model {name} is refused", make=extracted(ONNX, write, "m.onnx"))
        for name, write in MODELS.items()
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    assert run.status == (0 if kind.right else 1), run.errors
    assert not (tmp_path / "input/was_run").exists()
    assert (tmp_path / "input/out/features.json").exists() == bool(kind.right)
