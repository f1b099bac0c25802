"""The numbers of a tracker are those of metrics.jsonl."""

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from surgrec.errors import SetupError
from surgrec.runs import read_rows
from surgrec.training import _trackers
from surgrec.training._trackers import require_tracker, tracked_numbers
from tests.support.in_process import train


class Recorder(GeneralTracker):
    """A tracker of accelerate's own interface that keeps what it is sent."""

    name = "tensorboard"
    requires_logging_directory = True
    sent: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012  # of the one run of a test
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, run_name: str, **options: Any) -> None:
        super().__init__()
        Recorder.options = options

    @property
    def tracker(self) -> None:
        return None

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        assert step is not None
        Recorder.sent.append((step, values))


def test_a_missing_tracker_is_refused_with_its_package() -> None:
    with pytest.raises(SetupError, match=r"package mlflow is not installed; .*'\.\[mlflow\]'"):
        require_tracker("mlflow")
    require_tracker("none")


def test_numbers_of_a_row_are_named_by_their_place() -> None:
    row = {
        "step": 7,
        "loss": 0.5,
        "mfu": None,
        "lr": float("nan"),
        "samples_sha256": "ab",
        "is_best": True,
        "loss_by_source": {"alpha": 0.25},
        "knn": {"macro_f1": 0.5},
    }
    assert tracked_numbers(row) == {"loss": 0.5, "loss_by_source/alpha": 0.25, "knn/macro_f1": 0.5}


def test_a_tracker_gets_the_numbers_of_every_row(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_trackers, "require_tracker", lambda name: None)
    monkeypatch.setattr("surgrec.training._run.require_tracker", lambda name: None)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Recorder)
    Recorder.sent.clear()
    tracked = ["--log.tracker", "tensorboard", "--drift.every", 2, "--drift.clips", 8]
    train("mae", tiny_corpus, tmp_path / "run", *tracked)

    rows = read_rows(tmp_path / "run/metrics.jsonl")
    assert Recorder.sent[:2] == [(row["step"] + 1, tracked_numbers(row)) for row in rows]
    (drift,) = read_rows(tmp_path / "run/drift.jsonl")
    step, values = Recorder.sent[2]
    assert (step, values["drift_cosine"]) == (2, drift["cosine"])
    # A start at step 0 drops what comes after it; the drift of its own step would stay.
    assert Recorder.options["purge_step"] == 1
    assert Recorder.options["logging_dir"] == str(tmp_path / "run")
