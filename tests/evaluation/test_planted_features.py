"""Made-up features in real files: regressions find an oracle, and nothing in shuffles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from surgrec.evaluation._run_probes import run_probes
from surgrec.evaluation.kinds import KINDS, KindName
from surgrec.evaluation.tasks import AuditedTask, TaskChoice, audit_task, read_split
from surgrec.features import (
    EncoderChoice,
    ExtractConfig,
    extract_several,
    open_encoder,
    read_features,
)
from surgrec.manifest import Video
from surgrec.models import Encoder, save_encoder
from surgrec.shards import VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet
from tests.support.evaluations import TINY
from tests.support.videos import build_corpus, make_video

pytestmark = pytest.mark.slow
CASES, WIDTH = 10, 24
"""Cases of each source; channels of a feature."""
TRIPLETS = ("grasper,grasp,liver", "hook,dissect,liver", "clipper,clip,duct")
KINDS_HERE: tuple[KindName, ...] = ("labels", "triplets", "numbers")
SPLIT = "name: planted\ntrain: {sources: [north]}\ntest: {sources: [south]}\n"
HALF_S = 1.5
"""Labels are those of one half of a video, and then those of the other."""


def truth(kind: KindName) -> np.ndarray:
    """Return the truth `[source, case, half, k]`: which triplets, or a number of the case."""
    rng = np.random.default_rng(4)
    if kind == "numbers":
        return np.repeat(rng.normal(size=(2, CASES, 1, 1)), 2, axis=2)
    return (rng.random((2, CASES, 2, len(TRIPLETS))) < 0.5).astype(float)


def labels_of(video: str, case: str, source: int) -> list[VideoLabel]:
    """Return the labels of all kinds; the task has the name of the kind."""
    found = []
    for kind in KINDS_HERE:
        for half, values in enumerate(truth(kind)[source, int(case)]):
            texts = (
                [f"{values[0]:.6f}"]
                if kind == "numbers"
                else [name for name, has in zip(TRIPLETS, values, strict=True) if has]
            )
            found += [
                VideoLabel(
                    video=video,
                    case=case,
                    split="train",
                    task=kind,
                    start_s=half * HALF_S,
                    end_s=HALF_S + half * 30.0,
                    value=text,
                )
                for text in texts
            ]
    return found


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a corpus, an encoder and its features."""
    folder = tmp_path_factory.mktemp("planted")
    videos = [
        Video(
            path=make_video(
                folder / f"{source}-{case}.mp4",
                seconds=3,
                size="64x64",
                pattern=f"color=c=0x{40 + 10 * case:02X}{90 * index:02X}60",
            ),
            source=source,
            domain="laparoscopy",
            case=str(case),
            split="train",
            license="CC0",
        )
        for index, source in enumerate(("north", "south"))
        for case in range(CASES)
    ]
    corpus = folder / "corpus"
    build_corpus(corpus, videos, private=folder / "private", public=True)
    for index, (name, source) in enumerate(sorted(open_corpus([corpus]).items())):
        columns = [source.index.column(column).to_pylist() for column in ("video", "case")]
        members = sorted(set(zip(*columns, strict=True)))
        rows = [row for video, case in members for row in labels_of(video, case, index)]
        (corpus / name / "labels.parquet").write_bytes(rows_to_parquet(VideoLabel, rows))

    torch.manual_seed(0)
    record = {"config": {"sampling_fps": 4.0}, "init_from": None}
    save_encoder(Encoder(TINY), folder / "encoder.safetensors", record)
    (folder / "split.yaml").write_text(SPLIT, encoding="utf-8")
    choices = {folder / "features": EncoderChoice(path=folder / "encoder.safetensors")}
    config = ExtractConfig(stride_s=0.5, device="cpu")
    names = audited(folder, "numbers").video_names
    assert len(list(extract_several([str(corpus)], choices, config, names))) == 2 * CASES
    return folder


def audited(folder: Path, kind: KindName) -> AuditedTask:
    choice = TaskChoice(
        corpora=[str(folder / "corpus")],
        task=kind,
        split=read_split(folder / "split.yaml"),
        kind=kind,
        allow_unknown_pretraining=True,
    )
    encoder = open_encoder(EncoderChoice(path=folder / "encoder.safetensors"), torch.device("cpu"))
    return audit_task(choice, encoder, stride_s=0.5)


def plant(folder: Path, kind: KindName, noise: float, *, shuffled: bool = False) -> None:
    """Replace the features in their files by the truth with noise: of other cases if shuffled."""
    rng = np.random.default_rng(5)
    known = truth(kind)
    if shuffled:
        known = known[:, rng.permutation(CASES)]
    features = read_features(folder / "features")
    for file in sorted({row.file for row in features.rows}):
        rows = [row for row in features.rows if row.file == file]
        path = folder / "features" / file
        with safe_open(path, "pt") as content:
            metadata = content.metadata()
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        source, case = ("north", "south").index(rows[0].source), int(rows[0].case)
        halves = ((tensors["start_s"].numpy() + 0.75) >= HALF_S).astype(int)
        values = noise * rng.normal(size=(len(halves), WIDTH))
        values[:, : known.shape[-1]] += known[source, case, halves]
        tensors["features"] = torch.from_numpy(values.astype(np.float32))
        save_file(tensors, path, metadata)


def scores(folder: Path, kind: KindName) -> dict[str, float]:
    """Return the primary score of each probe on the features in the files."""
    task = audited(folder, kind)
    features = read_features(folder / "features")
    windows = task.windows(features.rows, features.failed)
    found = run_probes({"trained": features}, windows, task.kind.probes)
    everything = np.ones((1, CASES))
    return {
        each.classifier: float(
            task.kind.table(each, windows, 0.5).scores(everything)[KINDS[kind].primary][0]
        )
        for each in found.predictions
    }


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_an_oracle_is_ranked_above_a_weak_feature_and_shuffles(
    kind: KindName, extracted: Path
) -> None:
    plant(extracted, kind, 0.1)
    oracle = scores(extracted, kind)
    plant(extracted, kind, 4.0)
    weak = scores(extracted, kind)
    plant(extracted, kind, 0.1, shuffled=True)
    shuffled = scores(extracted, kind)
    plant(extracted, kind, 100.0)
    useless = scores(extracted, kind)
    assert len(oracle) == 2
    for name, value in oracle.items():
        assert value > 0.85, name
        assert value > weak[name] + 0.15, name
        # Of ten cases, the correlation of unrelated numbers has a standard deviation of 0.33.
        assert shuffled[name] < (0.6 if kind == "numbers" else useless[name] + 0.1), name
