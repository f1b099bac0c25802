"""A filter that is trained on the out-of-body labels of some cases finds such times in others."""

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from jaxtyping import Bool, Float32
from onnx import helper
from sklearn.linear_model import LogisticRegression

from tests.support.onnx_models import feature_nodes, linear_nodes, write_model
from tests.support.phantom_cases import render_case
from tests.support.tool import QUICK, run_here, write_csv

SIDE, CELLS = 64, 4
SECONDS = 30
TRAINING, HELD_OUT = range(1, 9), range(9, 15)
DOMAINS = ("laparoscopy", "endoscopy")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of dropped stretches with labels, by time."""

    precision: float
    recall: float
    worst_s: float
    """Largest difference of an end."""


@pytest.mark.slow
def test_a_trained_filter_drops_the_times_outside_the_body_of_other_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = [render(tmp_path, case) for case in TRAINING]
    held_out = [render(tmp_path, case) for case in HELD_OUT]

    # Logistic regression, once per second, on the labels of the phantom.
    features = features_of(np.concatenate([pictures_of(video) for video in training]), tmp_path)
    labels = np.concatenate([seconds_outside(video) for video in training])
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    trained = LogisticRegression(C=0.1).fit((features - mean) / spread, labels)
    weights = (trained.coef_[0] / spread).astype(np.float32)
    bias = (trained.intercept_ - weights @ mean).astype(np.float32)
    model = write_model(
        tmp_path / "outside.onnx",
        [*feature_nodes(CELLS, SIDE), *linear_nodes()],
        values={"weights": weights[:, None], "bias": bias},
        shape=("N", 3, SIDE, SIDE),
        output=("N", 1),
    )

    rows = [
        {
            "path": video,
            "source": "phantom",
            "domain": DOMAINS[0],
            "case": f"case-{video.stem}",
            "split": "train",
            "labels": labels_file(video),
        }
        for video in held_out
    ]
    manifest = write_csv(tmp_path / "videos.csv", rows)
    places = ("--out", tmp_path / "corpus", "--private", tmp_path / "private")
    chosen = ("--curate.model", model, "--curate.model_name", "outside")
    built = run_here("build", "--manifest", manifest, *places, *QUICK, *chosen)
    assert built.returncode == 0, built.stderr

    found = agreement(tmp_path / "corpus" / "phantom")
    with capsys.disabled():
        sys.stdout.write(f"\nout of body, {len(held_out)} other cases: {found}\n")
    assert found.precision > 0.9
    assert found.recall > 0.9
    scores = pq.read_table(tmp_path / "corpus/phantom/index.parquet")["model_score"].to_pylist()
    assert np.median(scores) < 0.25


def render(folder: Path, case: int) -> Path:
    """Render a case whose camera is outside the body at a time of its own."""
    random = np.random.default_rng(case)
    start, length = random.uniform(2, 14), random.uniform(11, 14)
    return render_case(
        folder,
        case,
        domain=DOMAINS[case % 2],
        seconds=SECONDS,
        outside_s=[(start, start + length)],
    )


def labels_file(video: Path) -> Path:
    return video.with_name(f"{video.stem}.labels.csv")


def seconds_outside(video: Path) -> Bool[np.ndarray, " seconds"]:
    """Return for each second of a video whether a label says that it begins outside the body."""
    outside = np.zeros(SECONDS, dtype=bool)
    with labels_file(video).open(newline="") as file:
        for row in csv.DictReader(file):
            if row["task"] == "out_of_body":
                seconds = np.arange(SECONDS)
                outside |= (seconds >= float(row["start_s"])) & (seconds < float(row["end_s"]))
    return outside


def pictures_of(video: Path) -> Float32[np.ndarray, "seconds 3 side side"]:
    """Return the first picture of each second as RGB from 0 to 1."""
    filters = f"select='not(mod(n,8))',scale={SIDE}:{SIDE}:flags=area,format=rgb24"
    output = ("-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(video), *output]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    pixels = np.frombuffer(data, np.uint8).reshape(SECONDS, SIDE, SIDE, 3)
    return (pixels.transpose(0, 3, 1, 2) / 255).astype(np.float32)


def features_of(
    pictures: Float32[np.ndarray, "n 3 side side"], folder: Path
) -> Float32[np.ndarray, "n features"]:
    """Return the features on which the model decides."""
    nodes = [*feature_nodes(CELLS, SIDE), helper.make_node("Identity", ["features"], ["score"])]
    shape, output = ("N", 3, SIDE, SIDE), ("N", 6 * CELLS * CELLS)
    path = write_model(folder / "features.onnx", nodes, shape=shape, output=output)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {"pictures": pictures})
    return np.asarray(features)


def agreement(source: Path) -> Agreement:
    """Compare the dropped stretches of a source with its out-of-body labels."""
    labels = [
        (row["video"], row["start_s"], row["end_s"])
        for row in pq.read_table(source / "labels.parquet").to_pylist()
        if row["task"] == "out_of_body"
    ]
    dropped = [
        (row["video"], row["start_s"], row["end_s"])
        for row in pq.read_table(source / "dropped.parquet").to_pylist()
        if row["reason"] == "model:outside"
    ]
    both = sum(
        max(0.0, min(label[2], stretch[2]) - max(label[1], stretch[1]))
        for label in labels
        for stretch in dropped
        if label[0] == stretch[0]
    )
    ends = [
        min(
            max(abs(label[1] - stretch[1]), abs(label[2] - stretch[2]))
            for stretch in dropped
            if label[0] == stretch[0]
        )
        for label in labels
    ]
    return Agreement(
        precision=both / sum(end - start for _, start, end in dropped),
        recall=both / sum(end - start for _, start, end in labels),
        worst_s=max(ends),
    )
