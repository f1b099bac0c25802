"""`surgrec evaluate` on the tiny corpus, with an encoder of a few thousand weights."""

import json
from pathlib import Path

import pytest
import torch

from surgrec.commands.main import main
from surgrec.models import Encoder, encoder_provenance, save_encoder
from surgrec.parquet import read_parquet
from surgrec.shards import VideoLabel, open_corpus
from surgrec.shards._index import rows_to_parquet
from surgrec.terminal import SOME_FAILED
from tests.support.evaluations import TINY, write_labels, write_run

SPLIT = "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"


def evaluate(corpus: Path, run: Path, split: str = SPLIT, *more: str) -> int:
    """Run the command; return its exit status."""
    path = run.parent / "split.yaml"
    path.write_text(split, encoding="utf-8")
    arguments = [
        "surgrec",
        "evaluate",
        str(corpus),
        "--encoder",
        str(run),
        "--task",
        "phase",
        "--split",
        str(path),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [*arguments, "--device", "cpu", *more])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture
def labeled_corpus(corpus_copy: Path) -> Path:
    """Copy of the tiny corpus, with phases for every video."""
    write_labels(corpus_copy)
    return corpus_copy


def test_an_evaluation_records_data_and_scores_and_repeats_byte_for_byte(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == 0
    assert "random init" in capsys.readouterr().out
    out = run / "evaluation/phase"
    written = {
        name: (out / name).read_bytes()
        for name in ("evaluation.json", "predictions.parquet", "cases.parquet")
    }
    record = json.loads(written["evaluation.json"])
    assert evaluate(labeled_corpus, run, SPLIT, "--json") == 0
    assert json.loads(capsys.readouterr().out) == record
    assert [(row["features"], row["classifier"], row["seeds"]) for row in record["scores"]] == [
        ("trained", "knn", 1),
        ("trained", "logistic", 1),
        ("random", "knn", 3),
        ("random", "logistic", 3),
        ("pixels", "knn", 1),
        ("pixels", "logistic", 1),
        ("none", "majority", 1),
        ("none", "prior", 1),
        ("none", "elapsed_time", 1),
    ]
    assert record["counts"]["train"]["cases"] == 4
    # One window of 1 s per second: beta-one has 24 s; beta-two 8 s, the last 2 without a label.
    assert record["counts"]["test"] == {
        "cases": 2,
        "videos": 2,
        "windows": 30,
        "unlabeled": 2,
        "failed": 0,
    }
    assert [(row["value"], row["test"]) for row in record["classes"]] == [
        ("access", 8),
        ("closure", 22),
    ]
    audit = {row["check"]: (row["found"], row["of"]) for row in record["audit"]}
    assert audit["test cases that the encoder was pretrained on"] == (0, 2)
    assert audit["test cases for which this is unknown"] == (0, 2)
    assert [row["classifier"] for row in record["verdicts"]] == ["knn", "logistic"]
    assert "pixels: 64 principal components, fitted on the train windows" in record["protocol"]
    majority = record["scores"][6]
    assert majority["degenerate"]
    assert majority["metrics"]["accuracy"]["value"] == pytest.approx(22 / 30)
    predictions = read_parquet(written["predictions.parquet"], "here").to_pylist()
    assert len(predictions) == 30 * 12, (
        "two classifiers on four encoders and pixels, majority, elapsed time"
    )
    trained = [
        row for row in predictions if row["features"] == "trained" and row["classifier"] == "knn"
    ]
    accuracy = sum(row["label"] == row["prediction"] for row in trained) / 30
    assert record["scores"][0]["metrics"]["accuracy"]["value"] == pytest.approx(accuracy), (
        "others can score it again"
    )
    for name in written:
        (out / name).unlink()
    assert evaluate(labeled_corpus, run) == 0
    assert written == {name: (out / name).read_bytes() for name in written}


def test_several_labels_at_a_time_are_evaluated_by_their_kind(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, SPLIT, "--task_kind", "labels") == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    assert [(row["features"], row["classifier"]) for row in record["scores"]] == [
        ("trained", "knn"),
        ("trained", "logistic"),
        ("random", "knn"),
        ("random", "logistic"),
        ("pixels", "knn"),
        ("pixels", "logistic"),
        ("none", "label_prior"),
        ("none", "elapsed_time"),
    ]
    assert record["counts"]["test"]["windows"] == 32
    assert "case mAP" in capsys.readouterr().out


def test_a_run_that_continued_is_evaluated_again_in_the_same_folder(
    labeled_corpus: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == 0
    before = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    torch.manual_seed(99)
    provenance = encoder_provenance(run / "encoder.safetensors")
    save_encoder(Encoder(TINY), run / "encoder.safetensors", provenance)
    assert evaluate(labeled_corpus, run) == 0
    after = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    assert after["encoder"]["sha256"] != before["encoder"]["sha256"]
    assert evaluate(labeled_corpus, run, SPLIT, "--stride_s", "0.5") == 0, "also with other windows"


def test_only_videos_of_the_split_are_extracted(labeled_corpus: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    (features,) = (run / "evaluation/phase/features").glob("trained-*")
    counted = record["counts"]["train"]["videos"] + record["counts"]["test"]["videos"]
    assert len(list(features.glob("*/*.safetensors"))) == counted


def test_an_overlap_with_the_pretraining_is_refused_or_recorded(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus)
    assert evaluate(labeled_corpus, run) == 1
    assert "the encoder was pretrained on 1 of 2 test cases (beta/" in capsys.readouterr().err
    assert not (run / "evaluation").exists(), "nothing was computed"
    assert evaluate(labeled_corpus, run, SPLIT, "--allow_pretraining_overlap", "true") == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    assert {
        "check": "test cases that the encoder was pretrained on",
        "found": 1,
        "of": 2,
    } in record["audit"]
    sentence = "allowed by --allow_pretraining_overlap: the encoder was pretrained on 1 of 2 test"
    assert record["overrides"] == [f"{sentence} cases"]
    assert sentence in " ".join(capsys.readouterr().out.split())


def test_unknown_pretraining_data_are_refused_or_recorded(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    provenance = {"config": {"sampling_fps": 4.0}, "init_from": None}
    save_encoder(Encoder(TINY), run / "encoder.safetensors", provenance)
    assert evaluate(labeled_corpus, run) == 1
    finding = (
        "whether the encoder was pretrained on 2 of 2 test cases is unknown (run has no record"
    )
    message = " ".join(capsys.readouterr().err.split())
    assert finding in message
    assert "give --allow_unknown_pretraining true, which the result will record" in message
    assert not (run / "evaluation").exists(), "nothing was computed"
    assert evaluate(labeled_corpus, run, SPLIT, "--allow_unknown_pretraining", "true") == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    (sentence,) = record["overrides"]
    assert sentence.startswith(f"allowed by --allow_unknown_pretraining: {finding}")


def test_the_digests_of_drawn_videos_stay_in_the_encoder_file(
    labeled_corpus: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    drawn = record["encoder"]["provenance"]["drawn"]
    assert drawn == {"alpha": {"videos": 2, "cases": 2}, "gamma": {"videos": 2, "cases": 2}}


def test_windows_of_a_bad_clip_are_counted_and_set_the_exit_status(
    labeled_corpus: Path, tmp_path: Path
) -> None:
    source = open_corpus([labeled_corpus])["beta"]
    sample = source.index.sample(source.index.rows(splits=["train"]).tolist()[0])
    shard = labeled_corpus / "beta" / sample.shard
    data = bytearray(shard.read_bytes())
    data[sample.mp4_offset + sample.mp4_size // 2] ^= 255
    shard.chmod(0o644)
    shard.write_bytes(data)
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == SOME_FAILED
    counts = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())["counts"]
    assert counts["test"]["failed"] >= 4, "a clip has 4 s"
    assert counts["test"]["windows"] == 30 - counts["test"]["failed"]
    assert counts["train"]["failed"] == 0


@pytest.mark.parametrize(
    ("split", "task", "message"),
    [
        (
            SPLIT,
            "tool",
            "the videos of the split have no labels of the task 'tool'; they have labels of phase",
        ),
        (
            SPLIT.replace("beta", "betta"),
            "phase",
            "no source of the corpus matches 'betta'; did you mean 'beta'?",
        ),
        (
            SPLIT.replace("[beta]", "[alpha]"),
            "phase",
            "clips are of 2 cases that train has, too (alpha/",
        ),
    ],
)
def test_an_impossible_evaluation_is_refused_before_any_computation(
    labeled_corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    task: str,
    message: str,
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, split, "--task", task) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (run / "evaluation").exists()


def test_an_unknown_finding_to_allow_is_refused(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, SPLIT, "--task", "phase", "--allow", "shared_case") == 1
    message = "'shared_case' is not a finding; did you mean shared_cases?"
    assert message in " ".join(capsys.readouterr().err.split())


def test_equal_labels_everywhere_are_refused(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("alpha", "gamma"):
        path = labeled_corpus / name / "labels.parquet"
        rows = read_parquet(path.read_bytes(), name).to_pylist()
        path.write_bytes(
            rows_to_parquet(VideoLabel, [VideoLabel(**(row | {"value": "access"})) for row in rows])
        )
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run) == 1
    assert "all train labels of phase are 'access'" in capsys.readouterr().err


@pytest.mark.slow
def test_few_train_cases_have_scores_and_a_table(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, SPLIT, "--few_shot", "[3, 1, 50%, 4]") == 0
    assert "few-shot, macro F1, mean of 3 subsets" in " ".join(capsys.readouterr().out.split())
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    assert [(row["amount"], row["cases"]) for row in record["few_shot"]] == [
        ("1", 1),
        ("50%", 2),
        ("3", 3),
    ], "four cases are all of them"
    assert "few-shot: mean over 3 subsets of 1, 2, 3 train cases" in record["protocol"]


@pytest.mark.slow
def test_causal_heads_are_scored_beside_the_probes(labeled_corpus: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    more = ("--temporal", "true", "--task_kind", "phases")
    assert evaluate(labeled_corpus, run, SPLIT, *more) == 0
    record = json.loads((run / "evaluation/phase/evaluation.json").read_bytes())
    seeds = {
        (row["features"], row["classifier"]): row["seeds"]
        for row in record["scores"]
        if row["classifier"].startswith("causal")
    }
    assert seeds == {
        (features, f"causal_{network}"): count
        for features, count in (("trained", 3), ("random", 9), ("pixels", 3))
        for network in ("tcn", "transformer")
    }
    assert "edit" in record["metrics"]
    assert (
        "causal TCN: on the labeled windows of a video up to the present one"
        in (record["protocol"])
    )


def test_causal_heads_are_refused_for_a_kind_that_has_none(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, SPLIT, "--temporal", "true", "--task_kind", "labels") == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "--temporal is for tasks of one class at a time, but the task kind is labels" in message
    assert not (run / "evaluation").exists()


def test_an_amount_of_train_cases_that_is_none_is_refused(
    labeled_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", labeled_corpus, weights={"beta": 0.0})
    assert evaluate(labeled_corpus, run, SPLIT, "--few_shot", "[2, ten%]") == 1
    assert "few_shot contains 'ten%'; give a number" in " ".join(capsys.readouterr().err.split())
    assert evaluate(labeled_corpus, run, SPLIT, "--few_shot", "[2, 5]") == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "few_shot contains '5', but the train part has 4 cases with labels" in message
    assert not (run / "evaluation").exists()
