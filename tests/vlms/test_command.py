"""`surgrec vlm` from the corpus to the files of an evaluation, against a real server."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from tests.support.evaluations import damage_a_clip, write_labels, write_run
from tests.support.model_server import ModelServer, images
from tests.support.tool import refusal, surgrec_here

SPLIT = "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"
FILES = ("evaluation.json", "predictions.parquet", "cases.parquet", "vlm.json")
WINDOWS = 30
"""Test windows of the tiny corpus with the options below."""


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labeled copy of the tiny corpus, and a split beside it."""
    return labeled_copy(tiny_corpus, tmp_path_factory.mktemp("labeled"))


def labeled_copy(corpus: Path, folder: Path) -> Path:
    """Return a copy of a corpus with labels of phases, and a split beside it."""
    copy = Path(shutil.copytree(corpus, folder / "corpus"))
    write_labels(copy)
    (folder / "split.yaml").write_text(SPLIT, encoding="utf-8")
    return copy


def words(corpus: Path, server: ModelServer, out: Path, *options: object) -> list[str]:
    """Return the arguments of a command; later options win."""
    given = [
        *("vlm", corpus, "--task", "phase", "--split", corpus.parent / "split.yaml"),
        *("--model", "tiny", "--endpoint", server.endpoint, "--out", out),
        *("--window_frames", 4, "--frames", 2, "--image_px", 32, "--tries", 1),
        *("--wordings", 2, "--orders", 2, "--variation_windows", 4),
        *("--allow_unknown_pretraining", "true", *options),
    ]
    return [str(each) for each in given]


def content(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def record_of(out: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((out / name).read_text(encoding="utf-8"))
    return record


def prompt_text(request: dict[str, Any]) -> str:
    parts = request["messages"][0]["content"]
    return "\n".join(part.get("text", "<image>") for part in parts)


def seeing(request: dict[str, Any]) -> str:
    """Answer as a model that reads the time beside the last image, and knows the labels."""
    text = prompt_text(request)
    times = re.findall(r"(\d+) min ([\d.]+) s after the start", text)
    if not times:
        return "I see no image."
    minutes, seconds = times[-1]
    phase = "access" if 60 * int(minutes) + float(seconds) < 4 - 0.06 else "closure"
    code = re.search(rf"^(\w+)\) {phase}$", text, re.MULTILINE)
    assert code is not None
    return f"Answer: {code[1]}"


def test_answers_are_predictions_beside_controls_and_baselines(
    corpus: Path, tmp_path: Path
) -> None:
    with ModelServer(seeing).running() as server:
        done = surgrec_here(*words(corpus, server, tmp_path, "--times", "video"))
    assert done.returncode == 0, done.stderr
    assert f"images go to {server.endpoint} (this machine)" in done.stderr

    with ModelServer(seeing).running() as server:
        printed = surgrec_here(
            *words(corpus, server, tmp_path, "--times", "video"), "--rescore", "--json"
        )
    record = record_of(tmp_path, "evaluation.json")
    assert json.loads(printed.stdout) == {**record, "vlm": record_of(tmp_path, "vlm.json")}
    rows = {row["classifier"]: row for row in record["scores"]}
    assert [*rows] == [
        *("answers", "answers_no_image", "answers_other_case"),
        *("majority", "prior", "elapsed_time"),
    ]
    assert rows["answers"]["metrics"]["macro_f1"]["value"] == 1
    assert rows["answers_no_image"]["metrics"]["accuracy"]["value"] == 0
    assert record["classifiers"]["answers"] == "answers"
    assert {"check": "test windows whose answer cannot be read, which is wrong"}.items() <= next(
        row for row in record["audit"] if "answer cannot be read" in row["check"]
    ).items()
    assert [row["against"] for row in record["verdicts"]] == [
        "answers_no_image",
        "answers_other_case",
    ]
    # Two test cases are too few for any verdict, so the controls are not beaten.
    assert sum("not shown to be better than its control" in row for row in record["overrides"]) == 2

    stability = record_of(tmp_path, "vlm.json")
    conditions = {row["name"]: row for row in stability["conditions"]}
    assert conditions["main"]["windows"] == WINDOWS
    assert conditions["no_image"]["unread_rate"] == 1
    assert conditions["wording_2_order_2"]["windows"] == 4
    assert stability["variations"]["flip_rate"] == 0
    assert stability["mode"] == "text"
    table = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    unread = [row["prediction"] for row in table if row["classifier"] == "answers_no_image"]
    assert unread == [""] * WINDOWS


def test_a_prompt_has_the_frames_of_its_window_up_to_the_label(
    corpus: Path, tmp_path: Path
) -> None:
    with ModelServer(enforces=["json_schema"]).running() as server:
        done = surgrec_here(*words(corpus, server, tmp_path))
    assert done.returncode == 0, done.stderr
    asked = [request for request in server.requests if images(request)]
    # Each window, and 4 of them in 3 variations. The images of another case beside the same text
    # are those of another window, whose answer is known.
    assert len(asked) == WINDOWS + 4 * 3
    assert all(len(images(request)) == 2 for request in asked)
    texts = [prompt_text(request) for request in asked]
    assert all("Image 1, 0.75 s before the last image:\n<image>" in text for text in texts)
    assert record_of(tmp_path, "vlm.json")["mode"] == "json_schema"

    # The prompt without images is the same for all windows: one request answers all.
    others = [request for request in server.requests if not images(request)]
    assert sum("are not shown" in prompt_text(request) for request in others) == 1


def test_results_depend_neither_on_parallel_requests_nor_on_ends(
    corpus: Path, tmp_path: Path
) -> None:
    with ModelServer(enforces=["structured"]).running() as server:
        whole = tmp_path / "whole"
        assert surgrec_here(*words(corpus, server, whole, "--parallel", 1)).returncode == 0
        calls = len(server.requests)

        # A permanent failure in the middle is one sentence, and nothing is lost.
        ended = tmp_path / "ended"
        server.after = (calls + 25, "500")
        sentence = refusal(surgrec_here(*words(corpus, server, ended, "--parallel", 8)), 1)
        assert "answered with status 500" in sentence
        kept = len((ended / "answers.jsonl").read_text().splitlines())
        assert f"{kept} answers are kept in answers.jsonl" in sentence
        assert kept >= 20

        # A power failure cut the last line.
        with (ended / "answers.jsonl").open("a") as file:
            file.write('{"key": "ab')
        server.after, before = None, len(server.requests)
        assert surgrec_here(*words(corpus, server, ended, "--parallel", 8)).returncode == 0
        assert len(server.requests) - before == calls - 1 - kept, "the trial is not repeated"
    assert 1 < server.most_at_once <= 8
    assert content(whole) == content(ended)


def test_stored_answers_are_scored_again_without_the_server(corpus: Path, tmp_path: Path) -> None:
    with ModelServer().running() as server:
        arguments = words(corpus, server, tmp_path)
        assert surgrec_here(*arguments).returncode == 0
    before = content(tmp_path)
    for name in FILES:
        (tmp_path / name).unlink()
    done = surgrec_here(*arguments, "--rescore", "true")
    assert done.returncode == 0, done.stderr
    assert content(tmp_path) == before

    lines = (tmp_path / "answers.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "answers.jsonl").write_text("".join(lines[3:]))
    sentence = refusal(surgrec_here(*arguments, "--rescore", "true"), 1)
    assert "lacks 3 answers of these options" in sentence
    assert "has no answers yet; run without --rescore first" in refusal(
        surgrec_here(*arguments, "--rescore", "true", "--out", tmp_path / "new"), 1
    )


def test_a_model_that_chatters_is_wrong_and_marked(corpus: Path, tmp_path: Path) -> None:
    with ModelServer(lambda _: "A grasper is visible.").running() as server:
        done = surgrec_here(*words(corpus, server, tmp_path))
    assert done.returncode == 0, done.stderr
    record = record_of(tmp_path, "evaluation.json")
    answers = record["scores"][0]
    assert (answers["classifier"], answers["degenerate"]) == ("answers", True)
    assert answers["metrics"]["accuracy"]["value"] == 0
    check = next(row for row in record["audit"] if "answer cannot be read" in row["check"])
    assert (check["found"], check["of"]) == (WINDOWS, WINDOWS)
    assert "100.0%" in done.stdout


def test_several_labels_are_booleans_in_one_answer(corpus: Path, tmp_path: Path) -> None:
    with ModelServer(enforces=["json_schema"]).running() as server:
        done = surgrec_here(*words(corpus, server, tmp_path, "--task_kind", "labels"))
    assert done.returncode == 0, done.stderr
    table = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    rows = [row for row in table if row["classifier"] == "answers"]
    assert len(rows) == WINDOWS + 2, "windows without a label have none of the classes"
    assert {tuple(row["probability"]) for row in rows} <= {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert "micro_f1" in record_of(tmp_path, "vlm.json")["conditions"][0]


def test_labels_have_texts_in_prompts_and_keep_their_names_in_files(
    corpus: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("access: opening the abdomen\nclosure: sutures\n")
    with ModelServer(lambda _: "Answer: opening the abdomen").running() as server:
        done = surgrec_here(*words(corpus, server, tmp_path / "out", "--class_names", names))
        assert done.returncode == 0, done.stderr
        assert "A) opening the abdomen\nB) sutures" in prompt_text(server.requests[-1])
        table = parquet.read_table(tmp_path / "out/predictions.parquet").to_pylist()
        assert {r["prediction"] for r in table if r["classifier"] == "answers"} == {"access"}

        names.write_text("acess: opening\n")
        sentence = refusal(
            surgrec_here(*words(corpus, server, tmp_path / "new", "--class_names", names)), 1
        )
        assert "a text for 'acess', which is not a label of phase" in sentence
        names.write_text("- access\n")
        sentence = refusal(
            surgrec_here(*words(corpus, server, tmp_path / "new", "--class_names", names)), 1
        )
        assert f"{names} does not map labels to texts" in sentence


def test_answers_of_another_model_are_not_mixed(corpus: Path, tmp_path: Path) -> None:
    with ModelServer().running() as server:
        assert surgrec_here(*words(corpus, server, tmp_path)).returncode == 0
        sentence = refusal(surgrec_here(*words(corpus, server, tmp_path, "--model", "large")), 1)
    assert f"{tmp_path} holds answers of tiny" in sentence


def test_answers_of_another_server_are_kept_only_if_it_tells_the_same_model(
    corpus: Path, tmp_path: Path
) -> None:
    models = [{"id": "tiny", "root": "/models/tiny-7b"}]
    with ModelServer(models=models).running() as first:
        assert surgrec_here(*words(corpus, first, tmp_path)).returncode == 0
    with ModelServer(models=models).running() as second:
        assert surgrec_here(*words(corpus, second, tmp_path)).returncode == 0
        assert not second.requests
        assert record_of(tmp_path, "vlm.json")["endpoints"] == [first.endpoint, second.endpoint]

        # The same name and address, but other weights; or a server that does not tell.
        second.models = [{"id": "tiny", "root": "/models/tiny-72b"}]
        sentence = refusal(surgrec_here(*words(corpus, second, tmp_path)), 1)
        assert "(root /models/tiny-7b), not of tiny (root /models/tiny-72b)" in sentence
        second.models = None
        sentence = refusal(surgrec_here(*words(corpus, second, tmp_path)), 1)
        assert f"not of tiny ({second.endpoint})" in sentence
        assert not second.requests


def test_a_window_that_is_damaged_after_its_answer_leaves_the_evaluation(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    corpus, out = labeled_copy(tiny_corpus, tmp_path), tmp_path / "out"
    with ModelServer().running() as server:
        options = ("--wordings", 1, "--variation_windows", 0)
        assert surgrec_here(*words(corpus, server, out, *options)).returncode == 0
        damage_a_clip(corpus)
        done = surgrec_here(*words(corpus, server, out, "--variation_windows", 0))
    assert done.returncode == 3, done.stderr
    counts = record_of(out, "evaluation.json")["counts"]["test"]
    assert counts["failed"] >= 1
    assert counts["windows"] + counts["failed"] == WINDOWS


@pytest.mark.parametrize(
    ("options", "words_of_refusal"),
    [
        (("--frames", 5), "a window has 4 frames, but 5 shall be shown"),
        (("--endpoint", "http://192.0.2.7:8000/v1"), "which is not this machine"),
        (("--transformers", "folder"), "give either --endpoint"),
        (("--allow_unknown_pretraining", "false"), "give --allow_unknown_pretraining true"),
        (("--frames", 0), "frames is 0; give 1 to 64"),
        (("--fps", 30), "frames would repeat"),
    ],
)
def test_an_unfit_option_is_refused_before_any_request(
    corpus: Path, tmp_path: Path, options: tuple[object, ...], words_of_refusal: str
) -> None:
    with ModelServer().running() as server:
        sentence = refusal(surgrec_here(*words(corpus, server, tmp_path / "out", *options)), 1)
    assert words_of_refusal in sentence
    assert not server.requests


@pytest.mark.slow
def test_a_killed_job_continues_with_the_same_tables(corpus: Path, tmp_path: Path) -> None:
    with ModelServer(enforces=["json_schema"]).running() as server:
        assert surgrec_here(*words(corpus, server, tmp_path / "whole")).returncode == 0
        killed = tmp_path / "killed"
        command = [sys.executable, "-m", "surgrec", *words(corpus, server, killed)]
        for lines in (5, 30):
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                _wait_until(lambda: _lines(killed) >= lines or process.poll() is not None)  # noqa: B023
                process.kill()
        assert 5 <= _lines(killed) < _lines(tmp_path / "whole")
        assert surgrec_here(*words(corpus, server, killed)).returncode == 0
    assert content(tmp_path / "whole") == content(killed)


@pytest.mark.slow
def test_answers_are_paired_with_an_evaluated_encoder(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus, out = labeled_copy(tiny_corpus, tmp_path), tmp_path / "out"
    run = write_run(tmp_path / "run", corpus, weights={"beta": 0.0})
    split = tmp_path / "split.yaml"
    arguments = ("--encoder", run, "--task", "phase", "--split", split, "--device", "cpu")
    assert surgrec_here("evaluate", corpus, *arguments).returncode == 0
    with ModelServer(seeing).running() as server:
        assert surgrec_here(*words(corpus, server, out, "--times", "video")).returncode == 0

    done = surgrec_here("compare", f"encoder={run}", f"vlm={out}", "--out", tmp_path / "beside")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "beside/scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["method"], row["classifier"]) for row in rows}
    assert {("encoder", "knn"), ("vlm", "answers"), ("vlm", "answers_no_image")} <= found
    assert {row["windows"] for row in rows} == {str(WINDOWS)}
    assert {row["windows_left_out"] for row in rows if row["method"]} == {"0"}
    assert (tmp_path / "beside/comparison.html").exists()


def _lines(out: Path) -> int:
    path = out / "answers.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if is_so():
            return
        time.sleep(0.001)
    raise AssertionError("it never happened")
