"""Scores of triplets equal those of ivtmetrics 0.1.5, which runs in an environment of its own."""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from surgrec.scores.triplets import COMPONENTS, Triplet, TripletTable, score_triplets
from tests.support.needs import missing

PROGRAM = Path(__file__).parents[1] / "support" / "ivtmetrics_scores.py"
PACKAGES = ["numpy==1.26.4", "scikit-learn==1.2.2", "scipy==1.11.4"]
VIDEOS, FRAMES, TRIPLETS, NULLS = 3, 250, 100, 6
NULL_VERB = 9
"""Number of the verb of null triplets."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with ivtmetrics, whose setup needs an old setuptools."""
    folder = tmp_path_factory.mktemp("ivtmetrics")
    uv = shutil.which("uv", path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if uv is None:
        missing("uv is not installed, which makes the environment of ivtmetrics")
    python = folder / "bin" / "python"
    install = [uv, "pip", "install", "-q", "--python", str(python)]
    for command in (
        [uv, "venv", "-q", "--python", "3.11", str(folder)],
        [*install, "setuptools<80", "wheel", *PACKAGES],
        [*install, "--no-deps", "--no-build-isolation", "ivtmetrics==0.1.5"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            missing(f"ivtmetrics cannot be installed ({done.stderr.strip()[-300:]})")
    return python


def made_up(seed: int, share: float) -> dict[str, np.ndarray]:
    """Random triplets of several videos: labels, scores and the video of each frame."""
    rng = np.random.default_rng(seed)
    label = rng.random((VIDEOS * FRAMES, TRIPLETS)) < share
    score = np.round(rng.random(label.shape) + 0.3 * label, 2)  # many equal scores
    score[:, -NULLS:] += label[:, -NULLS:]  # null triplets are easy
    return {"label": label, "score": score, "video": np.repeat(np.arange(VIDEOS), FRAMES)}


def score_elsewhere(python: Path, data: dict[str, np.ndarray], folder: Path) -> dict:
    """Return what ivtmetrics computes."""
    np.savez(folder / "triplets.npz", **data)
    done = subprocess.run(
        [str(python), str(PROGRAM), str(folder / "triplets.npz")],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def meanings(elsewhere: dict) -> list[Triplet]:
    """Return the triplets of ivtmetrics; its null verb has the number 9."""
    return [
        Triplet(str(i), "null_verb" if v == NULL_VERB else str(v), str(t))
        for _, i, v, t in elsewhere["triplets"]
    ]


def triplets(data: dict[str, np.ndarray], classes: list[Triplet]) -> TripletTable:
    """Return our average precisions of the same predictions."""
    return score_triplets(
        data["label"], data["score"], video=data["video"], case=np.arange(VIDEOS), classes=classes
    )


def values(table: TripletTable) -> dict[str, float]:
    return {name: float(each[0]) for name, each in table.scores(np.ones((1, VIDEOS))).items()}


@pytest.mark.slow
def test_all_components_equal_ivtmetrics_with_its_null_trap(python: Path, tmp_path: Path) -> None:
    data = made_up(0, 0.06)
    data["label"][:, 5] = False
    data["label"][data["video"] == 0, 7] = False
    elsewhere = score_elsewhere(python, data, tmp_path)
    classes = meanings(elsewhere)
    assert [index for index, each in enumerate(classes) if each.is_null] == list(range(94, 100))

    # A class is left out of the videos, or of the data set, that lack it.
    table = triplets(data, classes)
    assert np.isnan(table.by_video["ivt"])[:, [5, 7]].tolist() == [[1, 1], [1, 0], [1, 0]]

    found = values(table)
    for component in COMPONENTS:
        assert found[f"ap_{component}"] == pytest.approx(elsewhere["plain"][component], abs=1e-6)
    # `ignore_null` of the constructor does nothing; the argument concerns the triplets alone.
    assert elsewhere["constructor"] == elsewhere["plain"]
    assert found["ap_ivt_ignore_null"] == pytest.approx(elsewhere["argument"]["ivt"], abs=1e-6)
    assert found["ap_ivt_ignore_null"] != pytest.approx(found["ap_ivt"], abs=1e-4)
    for component in COMPONENTS[:-1]:
        assert elsewhere["argument"][component] == elsewhere["plain"][component]
