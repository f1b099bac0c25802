"""A user's ONNX model scores a picture per second, drops stretches, and fills a column."""

import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.curation import CurateSettings, Curation, Curator, FrameModel
from surgrec_shard.curation._measures import planes_of
from surgrec_shard.curation._scorer import rgb_picture
from surgrec_shard.sampling import Frames

from surgrec.errors import ConfigError
from surgrec.recordings import BadVideoError
from surgrec.shards import open_corpus
from tests.support.onnx_models import SIDE, endless_nodes, write_model
from tests.support.tool import QUICK, build_folder, ffmpeg, refusal, run_here

WIDTH, HEIGHT, RATE = 64, 48, 8
FORMAT = FrameFormat(width=WIDTH, height=HEIGHT, rate=Fraction(RATE), colors=())
BRIGHT = (4.0, 9.0)
"""Seconds of the bright stretch of `video`."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render 13 s of a moving pattern, bright from second 4 to 9."""
    path = tmp_path_factory.mktemp("videos") / "op.mp4"
    brighten = "lutyuv=y='120+val/2':enable='between(t,3.99,8.95)'"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=13", "-vf", f"{brighten},format=yuv420p", path
    )
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "patient-smith.onnx")


@pytest.fixture(scope="module")
def built(video: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run = build(video, folder, *options(model), "--curate.model_name", "outside")
    assert run.returncode == 0, run.stderr
    return folder


def test_stretches_with_a_high_score_are_dropped_and_told(built: Path) -> None:
    assert dropped(built) == [(*BRIGHT, "model:outside")]
    assert [start for start, _ in scores(built)] == [0, 2, 9, 11]


def test_the_index_and_the_json_give_the_mean_score_of_each_clip(built: Path) -> None:
    rows = pq.read_table(built / "corpus/lap/index.parquet").to_pylist()
    assert all(0.2 < row["model_score"] < 0.3 for row in rows)

    (shard,) = (built / "corpus/lap").glob("*.tar")
    with tarfile.open(shard) as tar:
        files = [tar.extractfile(name) for name in tar.getnames() if name.endswith(".json")]
        stored = [json.loads(file.read())["model_score"] for file in files if file]
    assert sorted(stored) == sorted(row["model_score"] for row in rows)
    assert run_here("verify", built / "corpus").returncode == 0


def test_a_mixture_can_limit_the_score(built: Path) -> None:
    index = open_corpus([str(built / "corpus")])["lap"].index
    values = sorted(index.column("model_score").to_pylist())
    assert len(index.rows(splits=["train"], limits={"model_score": (0.0, values[1])})) == 2


def test_the_corpus_tells_the_digest_of_the_model_and_not_its_name(
    built: Path, model: Path
) -> None:
    settings = json.loads((built / "corpus/corpus.json").read_text())["settings"]
    assert settings["curate.model"] == hashlib.sha256(model.read_bytes()).hexdigest()
    page = run_here("provenance", built / "corpus").stdout
    assert settings["curate.model"] in page
    assert "model:outside 0.0014 h" in page
    for path in built.rglob("*"):
        assert not path.is_file() or b"smith" not in path.read_bytes()


def test_stored_clips_keep_their_score_when_they_are_packed_again(
    built: Path, video: Path, model: Path
) -> None:
    before = scores(built)
    words = (*options(model), "--curate.model_name", "outside", "--license", "CC0-1.0")
    run = build(video, built, *words)
    assert "0 videos encoded, 4 stored clips reused" in run.stderr
    assert scores(built) == before


def test_another_model_never_enters_the_same_corpus(built: Path, video: Path) -> None:
    other = write_model(built / "other.onnx", metadata={"mean": "0.5,0.5,0.5"})
    words = (*options(other), "--curate.model_name", "outside")
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    assert f"(now {digest})" in refusal(build(video, built, *words))


def test_a_model_that_only_scores_drops_nothing(video: Path, model: Path, tmp_path: Path) -> None:
    run = build(video, tmp_path, "--curate.model", model, "--curate.model_drop", "none")
    assert run.returncode == 0, run.stderr
    assert dropped(tmp_path) == []
    found = dict(scores(tmp_path))
    assert len(found) == 7
    assert found[0] < 0.6 < found[6]


def test_videos_of_other_splits_are_scored_and_stored_whole(
    video: Path, model: Path, tmp_path: Path
) -> None:
    run = build(video, tmp_path, *options(model), "--split", "test")
    assert run.returncode == 0, run.stderr
    assert dropped(tmp_path) == []
    assert dict(scores(tmp_path))[6] > 0.6


def test_low_scores_can_be_those_that_are_dropped(model: Path, tmp_path: Path) -> None:
    pictures = [*shade(200, 32), *shade(40, 32), *shade(200, 8), *shade(40, 8)]
    found = curate(pictures, model, tmp_path, model_drop="below", model_threshold=0.4)
    assert [(row.start_s, row.end_s, row.reason) for row in found.dropped] == [(4, 8, "model")]


def test_a_span_gets_the_scores_of_the_whole(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = {"w": random.normal(size=(3 * SIDE * SIDE, 1)).astype(np.float32)}
    nodes = [
        helper.make_node("Flatten", ["pictures"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["score"]),
    ]
    path = write_model(tmp_path / "m.onnx", nodes, values=values, output=("N", 1))
    size = WIDTH * HEIGHT * 3 // 2
    pictures = [random.integers(16, 235, size, dtype=np.uint8).tobytes() for _ in range(30 * RATE)]
    whole = curate(pictures, path, tmp_path, model_threshold=0.0)
    span = curate(pictures, path, tmp_path, first=11 * RATE, model_threshold=0.0)
    assert len(whole._scorer.scores) == 30
    assert span._scorer.scores == {
        frame: score for frame, score in whole._scorer.scores.items() if frame >= 11 * RATE
    }
    assert span.kept_frames == [frame for frame in whole.kept_frames if frame >= 11 * RATE]  # type: ignore[attr-defined]


def test_every_frame_is_kept_once_in_order_or_dropped(model: Path, tmp_path: Path) -> None:
    pictures = [*shade(60, 44), *shade(220, 60), *shade(60, 8), *shade(220, 16), *shade(60, 21)]
    found = curate(pictures, model, tmp_path)
    # A second has the score of its first frame.
    assert [(row.start_s, row.end_s) for row in found.dropped] == [(6.0, 13.0)]
    assert found.kept_frames == [*range(48), *range(104, len(pictures))]  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_rgb_from_0_to_1_of_the_size_of_the_model(tmp_path: Path) -> None:
    rgb, raw = tmp_path / "frame.rgb", tmp_path / "frame.yuv"
    smooth = "testsrc2=s=96x64:r=1:d=1,format=gbrp,gblur=sigma=6,eq=saturation=0.7,format=rgb24"
    ffmpeg("-f", "lavfi", "-i", smooth, "-f", "rawvideo", rgb)
    given = ("-f", "rawvideo", "-s", "96x64", "-pix_fmt", "rgb24", "-i", rgb)
    bt709 = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
    ffmpeg(*given, "-vf", bt709, "-f", "rawvideo", raw)
    pixels = np.frombuffer(rgb.read_bytes(), np.uint8).reshape(16, 4, 24, 4, 3)
    expected = pixels.mean((1, 3)).transpose(2, 0, 1)

    planes = planes_of(raw.read_bytes(), 96, 64)
    picture = rgb_picture(planes, (16, 24), (0.2126, 0.0722))
    assert picture.dtype == np.float32
    assert np.abs(picture - expected / 255).max() < 0.01
    enlarged = rgb_picture(planes, (160, 200), (0.2126, 0.0722))
    assert enlarged.shape == (3, 160, 200)
    assert np.abs(enlarged.mean((1, 2)) - picture.mean((1, 2))).max() < 1e-3


def test_logits_become_the_probability_of_the_chosen_class(tmp_path: Path) -> None:
    values = {"w": np.array([[0.0, 2.0, 0.0]], np.float32)}
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["m"], ["b"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["b", "w"], ["score"]),
    ]
    path = write_model(tmp_path / "m.onnx", nodes, values=values, output=("N", 3))
    white = np.ones((3, SIDE, SIDE), np.float32)
    found = FrameModel(path, 1).scores({2: white, 5: white * 0})
    assert found == {2: round(np.exp(2) / (np.exp(2) + 2), 4), 5: round(1 / 3, 4)}
    with pytest.raises(ConfigError, match=r"gives 3 logits per picture; .*model_class, 0 to 2"):
        FrameModel(path)
    with pytest.raises(ConfigError, match=r"gives 3 logits per picture; .*model_class, 0 to 2"):
        FrameModel(path, 3)


def test_the_mean_and_std_of_the_metadata_are_applied(tmp_path: Path) -> None:
    metadata = {"mean": "0.5, 0.5, 0.5", "std": "0.25,0.25,0.25"}
    path = write_model(tmp_path / "m.onnx", shape=(1, 3, 8, 8), output=(1,), metadata=metadata)
    model = FrameModel(path)
    assert model.batch == 1
    assert model.scores({0: np.ones((3, 8, 8), np.float32)}) == {0: 2.0}


def identity(kind: str = "Identity") -> list[onnx.NodeProto]:
    return [helper.make_node(kind, ["pictures"], ["score"])]


def weights_elsewhere(path: Path) -> None:
    model = onnx.load(write_model(path, [helper.make_node("Mul", ["m", "w"], ["score"])]))
    model.graph.node.insert(0, helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[1, 2, 3]))
    weights = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    path.with_name("weights.bin").write_bytes(np.ones(1, np.float32).tobytes())
    path.write_bytes(model.SerializeToString())


def two_inputs(path: Path) -> None:
    model = onnx.load(write_model(path))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    path.write_bytes(model.SerializeToString())


BY_CHANCE = [
    helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[1, 2, 3], keepdims=0),
    helper.make_node("RandomUniformLike", ["m"], ["score"]),
]
BY_OTHERS = [
    helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[1, 2, 3], keepdims=0),
    helper.make_node("ReduceMax", ["m"], ["most"], keepdims=0),
    helper.make_node("Sub", ["m", "most"], ["score"]),
]
NOT_A_NUMBER = [
    helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[1, 2, 3], keepdims=0),
    helper.make_node("Neg", ["m"], ["n"]),
    helper.make_node("Sqrt", ["n"], ["score"]),
]
TOO_MANY = [helper.make_node("Reshape", ["pictures", "shape"], ["score"])]
UNWRITABLE: dict[str, Any] = {
    "cannot be read (No such file": lambda path: None,
    "cannot be read (Is a directory": lambda path: path.mkdir(),
    "cannot be read (larger than": lambda path: _sparse(path),
    "is not a model that ONNX Runtime loads (": lambda path: path.write_bytes(b"hello " * 50),
    "is not a model that ONNX Runtime loads (No graph": lambda path: path.write_bytes(b""),
    "is not a model that ONNX Runtime loads (Failed to load": lambda path: path.write_bytes(
        write_model(path).read_bytes()[:-30]
    ),
    "has weights in another file, which is not read": weights_elsewhere,
    "my.own:Best": lambda path: write_model(
        path,
        [helper.make_node("Best", ["pictures"], ["score"], domain="my.own")],
        operators=["my.own"],
    ),
    "has 2 inputs, not one": two_inputs,
    "has an input of the type tensor(float16)": lambda path: write_model(
        path, [helper.make_node("Cast", ["pictures"], ["score"], to=1)], kind=TensorProto.FLOAT16
    ),
    "has an input of the shape ['N', 3, 'H', 'W'], not [N, 3,": lambda path: write_model(
        path, shape=("N", 3, "H", "W")
    ),
    "has an input of the shape ['N', 8, 8, 3], not [N, 3,": lambda path: write_model(
        path, shape=("N", 8, 8, 3)
    ),
    "has an input of the shape ['N', 3, 4096, 4096], not [N, 3,": lambda path: write_model(
        path, shape=("N", 3, 4096, 4096)
    ),
    "has an input of the shape [64, 3, 1024, 1024], not [N, 3,": lambda path: write_model(
        path, shape=(64, 3, 1024, 1024)
    ),
    "has an input of the shape [4096, 3, 8, 8], not [N, 3,": lambda path: write_model(
        path, shape=(4096, 3, 8, 8)
    ),
    "gives an output of the shape [8, 3, 8, 8] for 8 pictures": lambda path: write_model(
        path, identity(), output=("A", "B", "C", "D")
    ),
    "gives an output of the shape [1536] for 8 pictures": lambda path: write_model(
        path, TOO_MANY, values={"shape": np.array([-1])}, output=("A",)
    ),
    "fails (Non-zero status code": lambda path: write_model(
        path, TOO_MANY, values={"shape": np.array([7])}, output=("A",)
    ),
    "gives a random picture the score nan": lambda path: write_model(path, NOT_A_NUMBER),
    "by chance or by the other pictures of a call": lambda path: write_model(path, BY_CHANCE),
    "gives one picture the scores -": lambda path: write_model(path, BY_OTHERS),
    "has '0.5' as mean in its metadata": lambda path: write_model(path, metadata={"mean": "0.5"}),
    "has '1,0,1' as std in its metadata": lambda path: write_model(path, metadata={"std": "1,0,1"}),
}


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)


@pytest.mark.parametrize("told", UNWRITABLE)
def test_a_model_that_does_not_fit_is_refused_in_one_sentence(told: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    UNWRITABLE[told](path)
    with pytest.raises(ConfigError) as caught:
        FrameModel(path)
    text = str(caught.value)
    assert text.startswith(f"curate.model: {path} ")
    assert told in text
    assert "; " in text
    assert "\n" not in text


def test_a_model_that_never_ends_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.onnx_files._ALLOWED_S", 0.2)
    path = write_model(tmp_path / "m.onnx", endless_nodes(), values={"true": np.array([True])})
    with pytest.raises(ConfigError, match=r"fails \(has not answered for 0\.2 s\); export"):
        FrameModel(path)


def test_a_class_for_a_model_with_one_output_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave out --curate\.model_class"):
        FrameModel(model, 0)


def test_a_model_is_refused_before_any_video_is_read(video: Path, tmp_path: Path) -> None:
    bad = write_model(tmp_path / "bad.onnx", shape=("N", 3, "H", "W"))
    assert "has an input of the shape" in refusal(build(video, tmp_path, *options(bad)))
    assert not (tmp_path / "corpus" / "corpus.json").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model_threshold": 0.3}, "model_threshold is 0.3, but there is no model"),
        ({"model": Path("m.onnx"), "model_name": "Mr Smith"}, "model_name is 'Mr Smith'"),
        (
            {"model": Path("m.onnx"), "model_threshold": float("nan")},
            "model_threshold is nan; give -1,000,000,000",
        ),
    ],
)
def test_options_of_a_model_that_cannot_work_are_refused(wrong: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CurateSettings(**wrong)


def test_without_onnx_runtime_the_extra_is_named(
    video: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = refusal(build(video, tmp_path, *options(model)))
    assert "curate.model needs ONNX Runtime: run pip install '.[onnx]'" in told


def test_a_video_without_scores_is_named_and_the_others_are_stored(
    video: Path, tmp_path: Path
) -> None:
    """The logarithm of a black picture is minus infinity."""
    nodes = [
        helper.make_node("ReduceMax", ["pictures"], ["most"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMin", ["most"], ["least"], axes=[1], keepdims=0),
        helper.make_node("Log", ["least"], ["score"]),
    ]
    model = write_model(tmp_path / "m.onnx", nodes)
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "good.mp4").symlink_to(video)
    graph = "testsrc2=s=64x48:r=8:d=6,drawbox=c=black:t=fill:enable='gte(t,2.9)'"
    ffmpeg("-f", "lavfi", "-i", graph, folder / "dark.mp4")
    run = build_all(folder, tmp_path, *options(model))
    assert run.returncode == 3
    assert "dark.mp4: the model of curate.model gives the score -inf at 3.0 s" in run.stderr
    assert (0, 0, "model") in dropped(tmp_path)
    assert len(scores(tmp_path)) == 7


def test_a_model_that_fails_later_costs_the_video_and_is_tried_again(tmp_path: Path) -> None:
    """It looks a table up beyond its end for a bright picture; random ones are darker."""
    nodes = [
        helper.make_node("ReduceMean", ["pictures"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["m", "ten"], ["tenfold"]),
        helper.make_node("Cast", ["tenfold"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["score"]),
    ]
    values = {"ten": np.array([10.0], np.float32), "table": np.arange(8, dtype=np.float32)}
    model = FrameModel(write_model(tmp_path / "m.onnx", nodes, values=values))
    with pytest.raises(BadVideoError, match=r"the model of curate\.model fails") as caught:
        model.scores({0: np.ones((3, SIDE, SIDE), np.float32)})
    assert model.scores({5: np.full((3, SIDE, SIDE), 0.31, np.float32)}) == {5: 3.0}
    assert caught.value.may_pass


def curate(
    pictures: Sequence[bytes], model: Path, folder: Path, first: int = 0, **settings: Any
) -> Curator:
    """Return a curator at the end of its video, with the attribute `kept_frames`."""
    frames = (
        Frames(data=data, first=number, count=1, starts=number == first)
        for number, data in enumerate(pictures)
        if number >= first
    )
    chosen = CurateSettings(model=model, **settings)
    with Curator(Curation(settings=chosen, model=chosen.open_model()), FORMAT, folder) as curator:
        kept = list(curator.kept(frames))
    assert all(part.data == pictures[part.first] for part in kept)
    curator.kept_frames = [part.first for part in kept]  # type: ignore[attr-defined]
    return curator


def shade(luma: int, frames: int) -> list[bytes]:
    pixels = WIDTH * HEIGHT
    return [bytes([luma]) * pixels + bytes([128]) * (pixels // 2)] * frames


def options(model: Path) -> tuple[object, ...]:
    return ("--curate.model", model, "--curate.model_threshold", "0.6")


def build(video: Path, folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    return build_all(video.parent, folder, *options)


def build_all(videos: Path, folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    places = ("--out", folder / "corpus", "--private", folder / "private")
    return run_here(*build_folder(videos), *places, *QUICK, *options)


def dropped(folder: Path) -> list[tuple[float, float, str]]:
    rows = pq.read_table(folder / "corpus/lap/dropped.parquet").to_pylist()
    return sorted((row["start_s"], row["end_s"], row["reason"]) for row in rows)


def scores(folder: Path) -> list[tuple[float, float]]:
    """Return the start of each clip, seconds, and its score."""
    rows = pq.read_table(folder / "corpus/lap/index.parquet").to_pylist()
    return sorted((row["start_s"], row["model_score"]) for row in rows)
