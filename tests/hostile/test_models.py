"""Hostile ONNX models of curation: refused before a video is read, or they cost their own video."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from tests.hostile.harness import Kind, Run, try_kind
from tests.support.onnx_models import write_model
from tests.support.tool import QUICK, ffmpeg

MEAN = helper.make_node("ReduceMean", ["pictures"], ["mean"], axes=[1, 2, 3], keepdims=0)
Write = Callable[[Path], object]


@cache
def video(pattern: str) -> bytes:
    """Return a video of 4 s; `color` is black."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        ffmpeg("-f", "lavfi", "-i", f"{pattern}=s=64x48:r=8:d=4", path)
        return path.read_bytes()


def built(write: Write, *options: object, dark: bool = False) -> Callable[[Path], Sequence[object]]:
    """Return the maker of a model, of a video, and of the command that builds with both."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "videos").mkdir()
        (folder / "videos/bright.mp4").write_bytes(video("testsrc2"))
        if dark:
            (folder / "videos/dark.mp4").write_bytes(video("color"))
        write(folder / "m.onnx")
        places = ("--out", "corpus", "--private", "private")
        source = ("--videos", "videos", "--source", "lap", "--domain", "laparoscopy")
        model = ("--curate.model", "m.onnx", "--curate.model_drop", "none")
        return ["surgrec-shard", "build", *source, *places, *QUICK, *model, *options]

    return make


def changed(change: Callable[[bytearray], object]) -> Write:
    def write(path: Path) -> None:
        data = bytearray(write_model(path).read_bytes())
        change(data)
        path.write_bytes(data)

    return write


def of_nodes(*nodes: onnx.NodeProto, **values: np.ndarray) -> Write:
    return lambda path: write_model(path, nodes, values=values)


def sparse(size: int) -> Write:
    return lambda path: (path.touch(), os.truncate(path, size))


def with_a_function_of_its_own(path: Path) -> None:
    """The function calls itself."""
    node = helper.make_node("Again", ["pictures"], ["score"], domain="mine")
    model = onnx.load(write_model(path, [node], operators=["mine"]))
    again = helper.make_node("Again", ["x"], ["y"], domain="mine")
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    model.functions.append(helper.make_function("mine", "Again", ["x"], ["y"], [again], imports))
    path.write_bytes(model.SerializeToString())


def of_a_later_version(path: Path) -> None:
    model = onnx.load(write_model(path))
    model.ir_version = 99
    path.write_bytes(model.SerializeToString())


def of_a_huge_constant(path: Path) -> None:
    """Its declared size is 4 TB, its bytes are none."""
    model = onnx.load(write_model(path, [MEAN, helper.make_node("Add", ["mean", "w"], ["score"])]))
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40])
    path.write_bytes(model.SerializeToString())


def of_a_huge_result() -> Write:
    nodes = [
        helper.make_node("Expand", ["pictures", "shape"], ["large"]),
        helper.make_node("ReduceMean", ["large"], ["score"], axes=[0, 2, 3, 4], keepdims=0),
    ]
    return of_nodes(*nodes, shape=np.array([1 << 36, 8, 3, 8, 8]))


def scored(count: int) -> Callable[[Path, Run], None]:
    """Return the check that `count` videos are stored, with a score of each clip."""

    def check(folder: Path, run: Run) -> None:
        rows = pq.read_table(folder / "corpus/lap/index.parquet").to_pylist()
        assert len({row["video"] for row in rows}) == count
        assert all(np.isfinite(row["model_score"]) for row in rows)

    return check


def costs_its_video(folder: Path, run: Run) -> None:
    assert run.status == 3
    assert "dark.mp4: the model of curate.model gives the score -inf at 0.0 s" in run.errors
    scored(1)(folder, run)


REFUSED: dict[str, Write] = {
    "that is missing": lambda path: None,
    "that is a folder": lambda path: path.mkdir(),
    "that is a pipe": lambda path: os.mkfifo(path),
    "that links to itself": lambda path: path.symlink_to(path),
    "that is empty": lambda path: path.touch(),
    "of zeros": sparse(4096),
    "of 3 GB": sparse(3 << 30),
    "of 1 TiB": sparse(1 << 40),
    "of text": lambda path: path.write_text("weights\n" * 1000),
    "that is pickled weights": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(300)),
    "without its end": changed(lambda data: data.__delitem__(slice(-25, None))),
    "without its start": changed(lambda data: data.__delitem__(slice(0, 25))),
    "of a later version": of_a_later_version,
    "whose operator has a name that is not UTF-8": changed(
        lambda data: data.__setitem__(slice(None), data.replace(b"ReduceMean", b"Reduce\xff\xfean"))
    ),
    "with an operator of its own": lambda path: write_model(
        path, [helper.make_node("Mine", ["pictures"], ["score"], domain="a")], operators=["a"]
    ),
    "with a function that calls itself": with_a_function_of_its_own,
    "with a constant of 4 TB without bytes": of_a_huge_constant,
    "with a result of 400 TB": of_a_huge_result(),
    "with a height that is not fixed": lambda path: write_model(path, shape=("N", 3, "H", 8)),
    "with a negative width": lambda path: write_model(path, shape=("N", 3, 8, -8)),
    "with pictures of one color": lambda path: write_model(path, shape=("N", 1, 8, 8)),
    "with pictures of 100,000 pixels a side": lambda path: write_model(
        path, shape=("N", 3, 100_000, 100_000)
    ),
    "of three axes": lambda path: write_model(path, shape=(3, 8, 8)),
    "without a score per picture": of_nodes(
        helper.make_node("ReduceMean", ["pictures"], ["score"], axes=[0, 1, 2, 3], keepdims=0)
    ),
    "with NaN as every score": of_nodes(
        MEAN, helper.make_node("Mul", ["mean", "nan"], ["score"]), nan=np.array([np.nan], "f4")
    ),
    "with a mean of two numbers": lambda path: write_model(path, metadata={"mean": "0.5, 0.5"}),
    "with a std of 0": lambda path: write_model(path, metadata={"std": "0, 0, 0"}),
    "with a mean of nan": lambda path: write_model(path, metadata={"mean": "nan, nan, nan"}),
}
LOG = of_nodes(MEAN, helper.make_node("Log", ["mean"], ["score"]))
KINDS = [
    *(
        Kind(name=f"a model {name} is refused", make=built(write))
        for name, write in REFUSED.items()
    ),
    Kind(
        name="a model with a class that it has not is refused",
        make=built(write_model, "--curate.model_class", 7),
    ),
    Kind(
        name="a model without a score of a dark video costs this video",
        make=built(LOG, dark=True),
        right=costs_its_video,
    ),
    Kind(
        name="a model of one picture per call scores",
        make=built(lambda path: write_model(path, shape=(1, 3, 8, 8), output=(1,))),
        right=scored(1),
    ),
    Kind(
        name="a model of pictures of one pixel scores",
        make=built(lambda path: write_model(path, shape=(5, 3, 1, 1), output=(5,))),
        right=scored(1),
    ),
    Kind(
        name="a model of larger pictures than the video's scores",
        make=built(lambda path: write_model(path, shape=("N", 3, 501, 333))),
        right=scored(1),
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    assert run.status in ((0, 3) if kind.right else (1,)), run.errors
    if not kind.right:
        assert "curate.model: " in run.errors
        assert not (tmp_path / "input" / "corpus" / "corpus.json").exists()
