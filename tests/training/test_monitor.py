"""A run tells how its encoder does: probe, drift, alarms; and they do not change it."""

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.evaluation import OnlineProbe, ProbeConfig
from surgrec.models import Encoder, encoder_provenance, read_encoder
from surgrec.models.tensor_files import open_tensor_file
from surgrec.runs import RunFiles, read_rows
from surgrec.runs.drawn import drawn_videos
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream
from surgrec.training import _monitor
from tests.support.evaluations import write_labels
from tests.support.in_process import train

SMALL = [
    *("--encoder.crop_px", 32, "--encoder.num_frames", 4, "--encoder.width", 48),
    *("--encoder.depth", 1, "--steps", 4, "--save_every", 2),
]
DRIFT = ["--drift.every", 2, "--drift.clips", 8]
SPLIT = "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"
CHANGING = ("data_wait", "step_s", "clips_per_s", "flops_per_s", "read_stats", "seconds")


def lasting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without times."""
    return [
        {name: value for name, value in row.items() if not name.startswith(CHANGING)}
        for row in rows
    ]


@pytest.fixture(scope="module")
def labeled(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus with phases for every video, and a split beside it."""
    folder = tmp_path_factory.mktemp("labeled")
    corpus = Path(shutil.copytree(tiny_corpus, folder / "corpus"))
    write_labels(corpus)
    (folder / "split.yaml").write_text(SPLIT, encoding="utf-8")
    return corpus


@pytest.fixture(scope="module")
def probe(labeled: Path) -> list[object]:
    """The options of a probe."""
    split = labeled.parent / "split.yaml"
    probe = ["--probe.corpus", labeled, "--probe.split", split, "--probe.every", 2]
    return [*probe, "--probe.clips", 60]


@pytest.fixture(scope="module")
def watched(labeled: Path, probe: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MAE run with probe and drift. Its encoder is the module that trains."""
    run_dir = tmp_path_factory.mktemp("watched") / "run"
    with (run_dir.parent / "stderr").open("w") as file, contextlib.redirect_stderr(file):
        train("mae", labeled, run_dir, *SMALL, *DRIFT, *probe)
    return run_dir


def test_a_run_is_bit_identical_with_and_without_probe_and_drift(
    labeled: Path, watched: Path, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    train("mae", labeled, tmp_path / "run", *SMALL)
    plain, with_probe = (
        lasting(read_rows(run_dir / "metrics.jsonl")) for run_dir in (tmp_path / "run", watched)
    )
    assert with_probe == plain
    tensors = [
        read_encoder(run_dir / "encoder.safetensors").state_dict()
        for run_dir in (tmp_path / "run", watched)
    ]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_the_probe_scores_held_out_cases_before_between_and_after(watched: Path) -> None:
    rows = read_rows(watched / "probe.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4]
    for row in rows:
        assert row["train"]["cases"] == 4
        assert row["test"]["cases"] == 2
        assert row["test"]["failed"] == 0
        assert row["score"] == row["knn"]["macro_f1"]
        assert 0 <= row["logistic"]["macro_f1"] <= 1
    assert rows[0]["majority"] == rows[2]["majority"], "the labels are the same"


def test_the_best_encoder_is_that_of_the_best_probe(watched: Path) -> None:
    rows = read_rows(watched / "probe.jsonl")
    best = max(rows, key=lambda row: row["score"])  # the first of equals
    record = encoder_provenance(watched / "encoder_best.safetensors")
    assert record["step"] == best["step"] == record["probe"]["step"]
    assert record["probe"]["score"] == best["score"]
    assert [row["is_best"] for row in rows] == [row is best or row is rows[0] for row in rows]
    assert read_encoder(watched / "encoder_best.safetensors").config.width == 48


def test_the_drift_is_none_at_first_and_grows_with_training(watched: Path) -> None:
    rows = read_rows(watched / "drift.jsonl")
    assert [row["step"] for row in rows] == [2, 4]
    assert 1 > rows[0]["cosine"] > rows[1]["cosine"] > 0
    assert 1 > rows[0]["cka"] > rows[1]["cka"] > 0
    assert {(row["clips"], row["from_step"], row["pretrained"]) for row in rows} == {(8, 0, False)}


@pytest.mark.parametrize(("probes", "done", "scored"), [(1, 1, []), (2, 2, [0])])
def test_sigterm_during_a_probe_ends_it_and_saves(
    labeled: Path,
    probe: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probes: int,
    done: int,
    scored: list[int],
) -> None:
    """The first probe is before the first step, and the second one is due after two steps."""
    real, calls = OnlineProbe.features, []

    def features(self: OnlineProbe, encoder: Encoder, numbers: Sequence[int]) -> Any:
        calls.append(numbers)
        if len(calls) == probes:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, encoder, numbers)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(OnlineProbe, "features", features)
    files = RunFiles(tmp_path / "run")
    train("mae", labeled, files.run_dir, *SMALL, *probe, "--save_every", 4)
    assert files.checkpoint_steps() == [done]
    assert [row["step"] for row in read_rows(files.probe)] == scored
    assert len(calls) == probes, "no measurement begins after the request"

    train("mae", labeled, files.run_dir, *SMALL, *probe, "--resume", "true")
    assert [row["step"] for row in read_rows(files.probe)] == [*(scored or [1]), 2, 4]
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_reference_and_its_rows(
    labeled: Path, probe: list[object], watched: Path, tmp_path: Path
) -> None:
    options = [*SMALL, *DRIFT, *probe]
    train("mae", labeled, tmp_path / "run", *options, "--steps", 2)
    reference = (tmp_path / "run/drift_reference.safetensors").read_bytes()
    with open_tensor_file(tmp_path / "run/drift_reference.safetensors") as file:
        keys = [key for _, key in json.loads(file.metadata["surgrec"])["clips"]]
    assert len(set(keys)) == 8

    train("mae", labeled, tmp_path / "run", *options, "--resume", "true")
    assert (tmp_path / "run/drift_reference.safetensors").read_bytes() == reference
    for name in ("drift.jsonl", "probe.jsonl"):
        assert lasting(read_rows(tmp_path / "run" / name)) == lasting(read_rows(watched / name))


@pytest.mark.slow
def test_a_worse_encoder_never_replaces_the_best_one(
    labeled: Path,
    probe: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scores are set, as those of so small a run are chance: .5, then .7; after a restart, .6."""
    scores = iter([0.5, 0.7, 0.6])
    real = _monitor.OnlineProbe.scores
    monkeypatch.setattr(
        _monitor.OnlineProbe,
        "scores",
        lambda self, shares: {**real(self, shares), "score": next(scores)},
    )
    train("jepa", labeled, tmp_path / "run", *SMALL, *probe, "--steps", 2)
    best = (tmp_path / "run/encoder_best.safetensors").read_bytes()
    assert encoder_provenance(tmp_path / "run/encoder_best.safetensors")["step"] == 2
    train("jepa", labeled, tmp_path / "run", *SMALL, *probe, "--resume", "true")
    assert (tmp_path / "run/encoder_best.safetensors").read_bytes() == best
    assert [row["is_best"] for row in read_rows(tmp_path / "run/probe.jsonl")] == [
        True,
        True,
        False,
    ]

    # Scores of another probe cannot be compared with it.
    another = [*SMALL, *probe, "--probe.clips", 20, "--resume", "true"]
    with pytest.raises(ConfigError, match=r"encoder_best.safetensors was chosen by another probe"):
        train("jepa", labeled, tmp_path / "run", *another)
    assert (tmp_path / "run/encoder_best.safetensors").read_bytes() == best


def test_a_best_encoder_of_discarded_steps_is_replaced_and_told(
    labeled: Path,
    probe: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scores are set: .5, .6, then .9 after four steps, which a resume from two discards for .7."""
    scores = iter([0.5, 0.6, 0.9, 0.7])
    real = OnlineProbe.scores
    monkeypatch.setattr(
        OnlineProbe, "scores", lambda self, rows: {**real(self, rows), "score": next(scores)}
    )
    files = RunFiles(tmp_path / "run")
    best = files.run_dir / "encoder_best.safetensors"
    train("mae", labeled, files.run_dir, *SMALL, *probe)
    assert encoder_provenance(best)["probe"]["score"] == 0.9
    assert "does not continue" not in capsys.readouterr().err

    shutil.rmtree(files.run_dir / "checkpoints/step-00000004")
    train("mae", labeled, files.run_dir, *SMALL, *probe, "--resume", "true")
    assert encoder_provenance(best)["probe"]["score"] == 0.7
    assert [row["is_best"] for row in read_rows(files.probe)] == [True, True, True]
    errors = " ".join(capsys.readouterr().err.split())
    assert "encoder_best.safetensors is of steps that this start does not continue" in errors


@pytest.mark.slow
def test_a_drift_without_a_start_counts_from_the_resumed_step(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("jepa", labeled, tmp_path / "run", *SMALL, "--steps", 2)
    train("jepa", labeled, tmp_path / "run", *SMALL, *DRIFT, "--resume", "true")
    errors = capsys.readouterr().err
    assert "the drift is measured from step 2" in errors
    assert "give a corpus with labels as probe.corpus" in errors
    assert read_rows(tmp_path / "run/drift.jsonl")[0]["from_step"] == 2


def test_the_probe_of_a_run_is_scored_on_val_and_never_on_test(
    labeled: Path, tmp_path: Path
) -> None:
    split = tmp_path / "with_val.yaml"
    split.write_text(
        "name: s\ntrain: {sources: [alpha]}\nval: {sources: [gamma]}\ntest: {sources: [beta]}\n"
    )
    online = OnlineProbe(
        ProbeConfig(corpus=str(labeled), split=split, clips=60),
        ClipSampling(num_frames=4, fps=4.0),
        precision="no",
        allow_repeated_frames=False,
    )
    assert {case.split("/")[0] for case in online.test_cases} == {"gamma"}
    assert len(online.numbers) == 4, "no video of a test case is decoded"


def test_held_out_cases_that_the_run_draws_are_named(labeled: Path) -> None:
    """The split holds beta out; a run of one step draws no more than four cases."""
    online = OnlineProbe(
        ProbeConfig(corpus=str(labeled), split=labeled.parent / "split.yaml", clips=60),
        ClipSampling(num_frames=4, fps=4.0),
        precision="no",
        allow_repeated_frames=False,
    )
    stream = Stream(open_corpus([labeled]), Mixture(), seed=0)
    every = drawn_videos(stream, 1000, {})
    (drawn,) = online.drawn_test_cases(every)
    assert drawn in online.test_cases, "the case of the train split; that of val is not drawn"
    assert drawn.startswith("beta/")
    assert len(online.test_cases) == 2
    del every["beta"]
    assert online.drawn_test_cases(every) == []


def test_the_start_warns_of_held_out_cases_that_are_drawn(watched: Path) -> None:
    errors = (watched.parent / "stderr").read_text(encoding="utf-8")
    assert re.search(r"the run draws 1 of the 2 held-out cases of its probe, such as beta/", errors)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--probe.task", "steps", r"no labels of the task 'steps'; they have labels of phase"),
        ("--probe.split", "none.yaml", r"none.yaml"),
        ("--probe.every", 0, r"probe.every"),
        ("--drift.clips", 2, r"drift.clips"),
    ],
)
def test_a_wrong_probe_is_refused_before_the_run_writes(
    labeled: Path, probe: list[object], tmp_path: Path, option: str, value: object, message: str
) -> None:
    with pytest.raises((ConfigError, SystemExit)) as raised:
        train("mae", labeled, tmp_path / "run", *SMALL, *probe, option, value)
    if isinstance(raised.value, ConfigError):
        assert re.search(message, str(raised.value))
    assert not (tmp_path / "run/metrics.jsonl").exists()
    assert not (tmp_path / "run/config.yaml").exists()
