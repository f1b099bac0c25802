"""Vision-language models in a benchmark: their steps, and their cells beside those of encoders."""

import csv
import re
from pathlib import Path

import pytest

from surgrec.bench import Settings, Step, choose_models, choose_tasks, plan_steps
from surgrec.bench._models import BenchVlm
from surgrec.errors import ConfigError, MissingError
from surgrec.tasks import find_cards
from tests.bench.benches import SmallBench, started, write_encoder
from tests.bench.trees import rendered, write_trees
from tests.support.model_server import ModelServer

ENDPOINT = "http://127.0.0.1:8000/v1"
TASK = "autolaparo-phase"


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    """An encoder, as the command names it."""
    (tmp_path / "a.safetensors").write_text("weights")
    return f"a={tmp_path / 'a.safetensors'}"


def step_of(encoder: str, vlm: str, task: str, settings: Settings = Settings()) -> Step | None:
    """Return the step that asks the model `vlm` about a task."""
    tasks = choose_tasks(find_cards([task]), root=Path("/data"))
    models = choose_models([encoder], vlms=[vlm])
    plan = plan_steps(tasks, models, {each.folder: "1" for each in tasks}, settings)
    name = f"evaluate/{task}/{models[-1].name}"
    return next((step for step in plan.steps if step.name == name), None)


def test_a_step_asks_a_model_about_the_windows_of_the_card(encoder: str) -> None:
    step = step_of(encoder, f"qwen={ENDPOINT}", TASK, Settings(allow_hosts=("gpu1", "gpu2")))
    assert step
    line = step.command
    assert line.startswith("surgrec vlm corpora/autolaparo --model qwen --task phase")
    assert "--window_frames 16 --frames 8 --stride_s" in line
    assert f"--endpoint {ENDPOINT}" in line
    assert "--allow_hosts '[gpu1, gpu2]'" in line


def test_the_images_of_a_window_are_words_of_the_step(encoder: str) -> None:
    steps = [
        step_of(encoder, f"qwen={ENDPOINT}", TASK, Settings(vlm_frames=frames))
        for frames in (1, 8, 16)
    ]
    words = [step.words for step in steps if step]
    assert [each[each.index("--frames") + 1] for each in words] == ["1", "8", "16"]
    assert len({step.digest(dict.fromkeys(step.needs, "1")) for step in steps if step}) == 3
    with pytest.raises(ConfigError, match=r"windows of 16 frames, but --vlm_frames is 17"):
        step_of(encoder, f"qwen={ENDPOINT}", TASK, Settings(vlm_frames=17))


def test_a_model_has_a_name_of_the_server_and_a_safe_folder(encoder: str) -> None:
    words = [
        f"Qwen/Qwen2.5-VL-7B-Instruct={ENDPOINT}",
        f"qwen2.5vl:7b={ENDPOINT}",
        f"short=Qwen/Qwen2.5-VL-7B-Instruct@{ENDPOINT}",
    ]
    models = [each for each in choose_models([encoder], vlms=words) if isinstance(each, BenchVlm)]
    assert [each.method for each in models] == [
        *("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5vl:7b", "short")
    ]
    assert [each.model for each in models] == [
        *("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5vl:7b", "Qwen/Qwen2.5-VL-7B-Instruct")
    ]
    names = [each.name for each in models]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert names[0].startswith("Qwen-Qwen2.5-VL-7B-Instruct-")
    assert len(set(names)) == 3
    step = step_of(encoder, words[1], TASK)
    assert step
    assert "--model qwen2.5vl:7b --task phase" in step.command
    assert step.outputs[0] == f"tasks/{TASK}/results/{names[1]}/evaluation.json"

    with pytest.raises(ConfigError, match=r"has the name '\.\./x'"):
        choose_models([encoder], vlms=[f"../x={ENDPOINT}"])
    with pytest.raises(ConfigError, match=r"has the model '\.\./x'"):
        choose_models([encoder], vlms=[f"x=../x@{ENDPOINT}"])


def test_another_address_runs_the_command_which_looks_at_the_model_there(encoder: str) -> None:
    steps = [
        step_of(encoder, f"{name}=http://{host}:8000/v1", TASK)
        for name, host in (("qwen", "127.0.0.1"), ("qwen", "gpu1"), ("other", "gpu1"))
    ]
    digests = [step.digest(dict.fromkeys(step.needs, "1")) for step in steps if step]
    assert len(set(digests)) == 3
    assert all(step.is_resumable for step in steps if step), "kept answers are not asked again"


def test_no_model_is_asked_for_numbers(encoder: str) -> None:
    assert step_of(encoder, f"qwen={ENDPOINT}", "aixsuture-score") is None


def test_a_model_without_a_place_or_a_name_of_its_own_is_refused(encoder: str) -> None:
    with pytest.raises(ConfigError, match="the name a, which is taken"):
        choose_models([encoder], vlms=[f"a={ENDPOINT}"])
    with pytest.raises(MissingError, match="neither a folder nor an address"):
        choose_models([encoder], vlms=["qwen=127.0.0.1:8000"])


@pytest.mark.slow
def test_a_model_stands_beside_the_encoders_on_the_page(tmp_path: Path) -> None:
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), ["aixsuture", "autolaparo"])
    with ModelServer(enforces=["json_schema"]).running() as server:
        bench = SmallBench(
            root=tmp_path / "data",
            tasks=[TASK, "aixsuture-score"],
            encoders={"mae": write_encoder(tmp_path / "mae.safetensors")},
            out=tmp_path / "out",
            options=("--vlms", f"tiny={server.endpoint}", "--vlm_frames", "4"),
        )
        run = bench.run()
        assert run.returncode == 3, run.stderr[-3000:]
        asked = len(server.requests)
        assert asked > 0
        assert started(bench.run()) == []
        assert len(server.requests) == asked

    # The cell has the score of the comparison, and no verdict over random weights.
    row = bench.rows[TASK, "tiny"]
    with (bench.out / f"tasks/{TASK}/comparison/scores.csv").open(newline="") as file:
        (compared,) = [
            each
            for each in csv.DictReader(file)
            if (each["method"], each["classifier"], each["metric"])
            == ("tiny", "answers", row["metric"])
        ]
    assert float(row["value"]) == float(compared["value"])
    assert row["over_random"] == ""
    assert bench.rows["aixsuture-score", "mae"]["value"] != "nan"
    numbers = bench.rows["aixsuture-score", "tiny"]
    assert (numbers["value"], numbers["sentence"]) == (
        "nan",
        "tiny: a vision-language model is not asked for numbers",
    )
    assert "not asked for numbers" in bench.page
    assert re.search(r"Protocol of tiny: [^<]*4 images of at most", bench.page)
