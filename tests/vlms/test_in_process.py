"""A model in this process: a tiny random one, with free and with restricted tokens."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgrec.errors import ConfigError
from surgrec.vlms._in_process import InProcessModel
from surgrec.vlms._model import Prompt
from surgrec.vlms._prompts import Question
from surgrec.vlms._token_constraint import TokenConstraint, segments_of
from tests.support.evaluations import damage_a_clip
from tests.support.tiny_vlm import write_tiny_vlm
from tests.support.tool import surgrec_here
from tests.vlms.test_command import labeled_copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return write_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny")


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def every_answer(segments: list[list[str]], tokens: list[int]) -> list[str]:
    """Return all answers that begin so; tokens are characters, and 0 is the end."""
    constraint = TokenConstraint(segments, lambda text: list(map(ord, text)), [0])
    following: list[int] = []
    for count in range(len(tokens) + 1):
        following = constraint.allowed(tokens[:count])
    found = []
    for token in following:
        if token == 0:
            found.append("".join(map(chr, tokens)))
        else:
            found += every_answer(segments, [*tokens, token])
    return found


def test_exactly_the_answers_of_the_form_are_allowed() -> None:
    def answers(asked: Question) -> list[str]:
        return every_answer(segments_of(asked), [])

    names = tuple(f"step {number}" for number in range(30))
    codes = answers(Question(task="step", names=names, several=False))
    assert sorted(codes, key=int) == [str(number) for number in range(1, 31)]

    several = Question(task="tool", names=("hook", 'a "clip"'), several=True)
    found = [json.loads(each) for each in answers(several)]
    assert found == [
        {"hook": hook, 'a "clip"': clip} for hook in (False, True) for clip in (False, True)
    ]


def test_a_restricted_answer_has_the_form_and_a_free_one_is_cut(folder: Path) -> None:
    model = InProcessModel("tiny", folder, "cpu")
    asked = Question(task="phase", names=("access", "closure", "other"), several=False)
    several = Question(task="tool", names=("hook", "clip"), several=True)
    parts = ("Two images.", jpeg(0), jpeg(1), "Which?")
    answer = model.answer(Prompt(parts=parts, asked=asked, mode="structured", max_tokens=1))
    assert (answer.text in ("A", "B", "C"), answer.finish) == (True, "stop")
    assert asked.read(answer.text) is not None
    answer = model.answer(Prompt(parts=parts, asked=several, mode="structured", max_tokens=1))
    assert several.read(answer.text) is not None
    answer = model.answer(Prompt(parts=("none",), asked=asked, mode="text", max_tokens=3))
    assert answer.finish == "length"


def test_the_identity_follows_the_weights(folder: Path, tmp_path: Path) -> None:
    other = write_tiny_vlm(tmp_path / "other", seed=1)
    digests = [InProcessModel("tiny", each, "cpu").identity for each in (folder, other, folder)]
    assert digests[0] == digests[2] != digests[1]


def test_a_folder_without_a_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        InProcessModel("tiny", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="cannot be opened as a model of images and text") as bad:
        InProcessModel("tiny", tmp_path)
    assert "\n" not in str(bad.value)


def test_the_command_runs_a_local_model_and_a_damaged_clip_is_counted(
    folder: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    corpus = labeled_copy(tiny_corpus, tmp_path)
    damage_a_clip(corpus)
    done = surgrec_here(
        *("vlm", corpus, "--task", "phase", "--split", tmp_path / "split.yaml"),
        *(
            "--model",
            "tiny",
            "--transformers",
            folder,
            "--device",
            "cpu",
            "--out",
            tmp_path / "out",
        ),
        *("--window_frames", 4, "--frames", 1, "--image_px", 32, "--stride_s", 2),
        *("--wordings", 1, "--orders", 2, "--variation_windows", 2),
        *("--allow_unknown_pretraining", "true"),
    )
    assert done.returncode == 3, done.stderr
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    counts = record["counts"]["test"]
    assert counts["failed"] >= 1
    assert record["encoder"]["identity"]["sha256"]
    stability = json.loads((tmp_path / "out/vlm.json").read_text())
    assert (stability["mode"], stability["endpoints"]) == ("structured", [])
    assert [row["unread"] for row in stability["conditions"]] == [0] * 4
    assert stability["conditions"][0]["windows"] == counts["windows"]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [1, 8, 16])
def test_the_command_shows_a_local_model_so_many_frames(
    folder: Path, tiny_corpus: Path, tmp_path: Path, frames: int
) -> None:
    corpus = labeled_copy(tiny_corpus, tmp_path)
    done = surgrec_here(
        *("vlm", corpus, "--task", "phase", "--split", tmp_path / "split.yaml"),
        *("--model", "tiny", "--transformers", folder, "--device", "cpu", "--image_px", 32),
        *("--window_frames", 16, "--fps", 8, "--frames", frames, "--stride_s", 2),
        *("--wordings", 1, "--orders", 1, "--allow_unknown_pretraining", "true"),
        *("--out", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert record["encoder"]["config"]["frames"] == frames
    assert f"{frames} image" in record["protocol"]
    answers = [json.loads(line) for line in (tmp_path / "out/answers.jsonl").open()]
    own = [row for row in answers if row["condition"] == "main"]
    assert len(own) == record["counts"]["test"]["windows"] > 2
    assert {row["text"] for row in own} <= {"A", "B"}
