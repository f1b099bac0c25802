"""Both recipes rank an encoder that sees above a blind one, and find nothing in shuffled labels."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from surgrec.manifest import Video
from surgrec.models import Encoder, save_encoder
from surgrec.shards import VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet
from tests.support.evaluations import TINY
from tests.support.labeled_runs import record_of
from tests.support.processes import ROOT, finish
from tests.support.videos import build_corpus, make_video

pytestmark = pytest.mark.slow
SPLIT = "name: planted\ntrain: {sources: [north]}\ntest: {sources: [south]}\n"
COLORS = {"red-dark": "0xA02020", "red-light": "0xE03030"} | {
    "blue-dark": "0x2020A0",
    "blue-light": "0x3030E0",
}
"""Color of each case; both sources have the same cases."""
BY_COLOR = {name: name.partition("-")[0] for name in COLORS}
"""The label of each case is its color."""
BY_SHADE = {name: "red" if name.endswith("dark") else "blue" for name in COLORS}
"""Labels of the train cases for the test of chance."""
UNRELATED = BY_SHADE | {"red-dark": "blue", "red-light": "red"}
"""Those of its test cases: the red ones have the opposite labels."""
OPTIONS: Mapping[str, list[object]] = {
    "probe": ["--pooler.num_heads", 2, "--grid.seeds", "[0]", "--epochs", 20],
    "finetune": ["--last_blocks", 1, "--lr", 3e-3, "--mixing.mixup", 0.0, "--mixing.cutmix", 0.0]
    + ["--epochs", 20],
}


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus whose cases show one color each, without labels."""
    folder = tmp_path_factory.mktemp("colors")
    videos = [
        Video(
            path=make_video(
                folder / f"{source}-{name}.mp4",
                seconds=6 + index,  # no video is that of another source
                size="64x64",
                pattern=f"color=c={color}",
            ),
            source=source,
            domain="laparoscopy",
            case=name,
            split="train",
            license="CC0",
        )
        for index, source in enumerate(("north", "south"))
        for name, color in COLORS.items()
    ]
    build_corpus(folder / "corpus", videos, private=folder / "private", public=True)
    return folder / "corpus"


def labeled(corpus: Path, folder: Path, north: Mapping[str, str], south: Mapping[str, str]) -> Path:
    """Return a copy of the corpus with a label for each case of both sources."""
    root = Path(shutil.copytree(corpus, folder / "labeled"))
    for name, source in open_corpus([root]).items():
        columns = [source.index.column(column).to_pylist() for column in ("video", "case")]
        value_of = north if name == "north" else south
        labels = [
            VideoLabel(
                video=video,
                case=case,
                split="train",
                task="color",
                start_s=0.0,
                end_s=30.0,
                value=value_of[case],
            )
            for video, case in sorted(set(zip(*columns, strict=True)))
        ]
        (root / name / "labels.parquet").write_bytes(rows_to_parquet(VideoLabel, labels))
    return root


def encoder_file(path: Path, *, blind: bool) -> Path:
    """Write an encoder with random weights. A blind one gives all clips the same tokens."""
    torch.manual_seed(0)
    encoder = Encoder(TINY)
    if blind:
        nn.init.zeros_(encoder.patch_embed.proj.weight)
    save_encoder(encoder, path, {"config": {"sampling_fps": 4.0}, "init_from": None})
    return path


def score(recipe: str, corpus: Path, encoder: Path, out: Path) -> float:
    """Run a recipe and return the balanced accuracy on the cases of the second source."""
    split = out.with_suffix(".yaml")
    split.write_text(SPLIT, encoding="utf-8")
    words = [
        ROOT / f"recipes/{recipe}.py",
        *("--config", f"{recipe}_tiny", "--corpus", corpus, "--encoder", encoder),
        *("--task", "color", "--split", split, "--out", out, "--random_seeds", "[]"),
        *("--allow_unknown_pretraining", "true", *OPTIONS[recipe]),
    ]
    status, errors = finish([sys.executable, *map(str, words)])
    assert status == 0, errors
    trained = record_of(out)["scores"][0]
    assert trained["features"] == "trained"
    return float(trained["metrics"]["balanced_accuracy"]["value"])


@pytest.mark.parametrize("recipe", list(OPTIONS))
def test_an_encoder_that_sees_is_ranked_above_a_blind_one(
    recipe: str, colors: Path, tmp_path: Path
) -> None:
    corpus = labeled(colors, tmp_path, BY_COLOR, BY_COLOR)
    sees, blind = (
        score(
            recipe,
            corpus,
            encoder_file(tmp_path / f"{name}.safetensors", blind=name == "blind"),
            tmp_path / name,
        )
        for name in ("sees", "blind")
    )
    assert sees > 0.9
    assert blind == 0.5


@pytest.mark.parametrize("recipe", list(OPTIONS))
def test_nothing_is_better_than_chance_with_shuffled_labels(
    recipe: str, colors: Path, tmp_path: Path
) -> None:
    # Any rule over colors and shades is right for half of the test cases.
    corpus = labeled(colors, tmp_path, BY_SHADE, UNRELATED)
    encoder = encoder_file(tmp_path / "sees.safetensors", blind=False)
    assert score(recipe, corpus, encoder, tmp_path / "out") < 0.65
