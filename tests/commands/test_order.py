"""`surgrec order`: the samples that a rank trains on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.shards import open_corpus
from tests.support.tool import heavy_modules_of, refusal, run_surgrec, surgrec_here

BATCH = 8


def test_order_prints_the_samples_of_a_run(tiny_corpus: Path) -> None:
    lines = order(tiny_corpus, "--num_steps", 5)
    assert [(line["step"], line["slot"]) for line in lines] == [
        (step, slot) for step in range(5) for slot in range(BATCH)
    ]
    assert all(list(line) == ["step", "slot", "source", "key", "source_epoch"] for line in lines)
    keys = {
        name: {source.index.key(int(row)) for row in source.index.rows(splits=["train"])}
        for name, source in open_corpus([tiny_corpus]).items()
    }
    assert all(line["key"] in keys[line["source"]] for line in lines)
    first_epoch = [line["key"] for line in lines if line["source_epoch"] == 0]
    assert len(set(first_epoch)) == len(first_epoch), "an epoch of a source has each sample once"


def test_order_is_equal_for_every_world_size_and_start_step(tiny_corpus: Path) -> None:
    whole = order(tiny_corpus, "--num_steps", 6)
    alone = run_surgrec(
        "order", tiny_corpus, "--seed", 3, "--global_batch", BATCH, "--num_steps", 6
    )
    assert [json.loads(line) for line in alone.stdout.splitlines()] == whole, (
        "the same in a new process"
    )
    for world_size in (2, 4):
        ranks = [
            order(tiny_corpus, "--num_steps", 6, "--world_size", world_size, "--rank", rank)
            for rank in range(world_size)
        ]
        assert all(len(rank) == 6 * BATCH // world_size for rank in ranks)
        together = sorted(
            (line for rank in ranks for line in rank), key=lambda line: (line["step"], line["slot"])
        )
        assert together == whole
    assert order(tiny_corpus, "--start_step", 4, "--num_steps", 2) == [
        line for line in whole if line["step"] >= 4
    ]
    assert order(tiny_corpus, "--num_steps", 6, seed=4) != whole


def test_order_follows_the_mixture_file(tiny_corpus: Path, tmp_path: Path) -> None:
    mixture = tmp_path / "mixture.yaml"
    mixture.write_text(
        "levels: [{by: source, alpha: 0.0}]\nweights: {alpha: 0, beta: 3}\n"
        "block: 16\nsplits: [train]\n"
    )
    lines = order(tiny_corpus, "--num_steps", 2, "--mixture", mixture)
    assert [
        sum(line["source"] == name for line in lines) for name in ("alpha", "beta", "gamma")
    ] == [0, 12, 4]


@pytest.mark.parametrize(
    ("mixture", "arguments", "status", "message"),
    [
        ("", ("--world_size", 3), 1, "global_batch 8 cannot be shared equally by 3 ranks"),
        (
            "",
            ("--world_size", 2, "--rank", 2),
            1,
            "rank is 2 and world_size is 2; give a rank from 0 to 1",
        ),
        ("", ("--start_step", -1), 2, "start_step is -1; give 0 to 1,000,000,000"),
        (
            "weights: {delta: 1}",
            (),
            1,
            "the source 'delta', which the corpus does not have; use alpha, beta, gamma",
        ),
        ("weight: {alpha: 1}", (), 2, "did you mean 'weights'?"),
        (
            "levels: [{by: hospital, alpha: 1}]",
            (),
            1,
            "no column 'hospital', by which a level divides samples; use one of ",
        ),
        ("block: 2", (), 1, "block is 2, but domain and source divide the samples into 3 strata"),
        ("splits: [test]", (), 1, "no sample can be drawn from the stored split test"),
    ],
)
def test_an_impossible_order_is_refused(
    mixture: str,
    arguments: tuple[object, ...],
    status: int,
    message: str,
    tiny_corpus: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(mixture)
    chosen = ("--mixture", path) if mixture else ()
    run = surgrec_here("order", tiny_corpus, "--global_batch", BATCH, *chosen, *arguments)
    assert message in refusal(run, status)
    assert run.stdout == ""


def test_order_ends_quietly_if_the_reader_of_its_pipe_ends(tiny_corpus: Path) -> None:
    line = f"{sys.executable} -m surgrec order {tiny_corpus} --num_steps 3000 | head -n 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0
    assert run.stderr == ""
    assert json.loads(run.stdout)["step"] == 0


def test_order_refuses_a_folder_without_a_corpus(tmp_path: Path) -> None:
    assert f"{tmp_path} contains no corpus" in refusal(surgrec_here("order", tmp_path))


def test_order_and_mix_need_no_torch(tiny_corpus: Path) -> None:
    commands = [("order", tiny_corpus), ("mix", tiny_corpus, "--samples", 24)]
    assert heavy_modules_of("surgrec.commands.main", commands) == []


def order(corpus: Path, *arguments: object, seed: int = 3) -> list[dict[str, object]]:
    """Return the lines that `surgrec order` prints."""
    run = surgrec_here("order", corpus, "--seed", seed, "--global_batch", BATCH, *arguments)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]
