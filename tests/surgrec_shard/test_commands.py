"""`order` and `info` as a user or a script sees them; and what starting the tool costs."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from surgrec.runs import append_rows
from surgrec.shards import open_corpus
from tests.support.tool import QUICK, refusal, run_here, run_tool
from tests.support.videos import make_video

BATCH = 8


def test_order_prints_what_a_run_would_train_on(tiny_corpus: Path) -> None:
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
    assert len(set(first_epoch)) == len(first_epoch), (
        "an epoch of a source has each of its samples once"
    )


def test_order_is_the_same_for_every_world_size_and_from_every_step(tiny_corpus: Path) -> None:
    whole = order(tiny_corpus, "--num_steps", 6)
    alone = run_tool("order", tiny_corpus, "--seed", 3, "--global_batch", BATCH, "--num_steps", 6)
    assert [json.loads(line) for line in alone.stdout.splitlines()] == whole, (
        "whichever process asks"
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
        "levels: [{by: source, alpha: 0.0}]\nweights: {alpha: 0, beta: 3}\nblock: 16\nsplits: [train]\n"
    )
    lines = order(tiny_corpus, "--num_steps", 2, "--mixture", mixture)
    assert [
        sum(line["source"] == name for line in lines) for name in ("alpha", "beta", "gamma")
    ] == [0, 12, 4]


@pytest.mark.parametrize(
    ("mixture", "arguments", "status", "said"),
    [
        ("", ("--world_size", 3), 1, "global_batch 8 cannot be shared by 3 ranks"),
        ("", ("--world_size", 2, "--rank", 2), 1, "rank 2 is not one of the 2 ranks"),
        ("", ("--start_step", -1), 1, "start_step -1"),
        ("weights: {delta: 1}", (), 1, "the source 'delta'; the corpus has alpha, beta, gamma"),
        ("weight: {alpha: 1}", (), 2, "did you mean 'weights'?"),
        (
            "levels: [{by: hospital, alpha: 1}]",
            (),
            1,
            "no column 'hospital' to divide samples by; it has case",
        ),
        ("block: 2", (), 1, "block 2 is smaller than the 3 groups by domain, source"),
        ("splits: [test]", (), 1, "no sample to draw in splits ['test']"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    mixture: str,
    arguments: tuple[object, ...],
    status: int,
    said: str,
    tiny_corpus: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(mixture)
    chosen = ("--mixture", path) if mixture else ()
    run = run_here("order", tiny_corpus, "--global_batch", BATCH, *chosen, *arguments)
    assert said in refusal(run, status)
    assert run.stdout == ""


def test_order_can_be_cut_short_by_the_shell(tiny_corpus: Path) -> None:
    line = f"{sys.executable} -c 'from surgrec_shard.commands import main; main()' order {tiny_corpus} --num_steps 3000 | head -n 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0
    assert run.stderr == ""
    assert json.loads(run.stdout)["step"] == 0


def test_info_counts_what_a_corpus_holds(tiny_corpus: Path) -> None:
    run = run_here("info", tiny_corpus, "--json", "true")
    rows = {row["source"]: row for row in json.loads(run.stdout)}
    assert {name: row["clips_per_split"] for name, row in rows.items()} == {
        "alpha": {"train": 10},
        "beta": {"train": 6, "val": 2},
        "gamma": {"train": 10},
    }
    assert [rows["beta"][name] for name in ("domain", "videos", "cases", "samples")] == [
        "laparoscopy",
        2,
        2,
        8,
    ]
    assert rows["alpha"]["hours"] == pytest.approx(40 / 3600, abs=1e-5)
    table = run_here("info", tiny_corpus).stdout
    assert all(name in table for name in rows)


def test_a_place_without_a_corpus_is_said_by_every_command(tmp_path: Path) -> None:
    for name in ("info", "verify", "order"):
        assert f"{tmp_path} holds no corpus" in refusal(run_here(name, tmp_path))


def test_no_command_needs_torch(tiny_corpus: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    commands = [
        ["info", str(tiny_corpus)],
        ["order", str(tiny_corpus)],
        ["phantom", "--help"],
        *(
            [
                [
                    "build",
                    "--videos",
                    str(tmp_path / "videos"),
                    "--source",
                    "lap",
                    "--domain",
                    "laparoscopy",
                    "--out",
                    str(tmp_path / "corpus"),
                    *QUICK,
                ]
            ]
        ),
    ]
    program = """
import contextlib, io, json, sys
from surgrec_shard.commands import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["surgrec-shard", *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as exit:
            assert not exit.code, errors.getvalue()
print([name for name in ("torch", "torchcodec", "timm", "accelerate", "einops", "cv2", "boto3") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr


def test_mix_says_what_a_run_will_draw_to_the_sample(tiny_corpus: Path) -> None:
    options = ("--seed", 3, "--mixture.block", 40)
    lines = run_here("order", tiny_corpus, *options, "--global_batch", BATCH, "--num_steps", 13)
    drawn = Counter(json.loads(line)["source"] for line in lines.stdout.splitlines())
    done = run_here("mix", tiny_corpus, *options, "--samples", 13 * BATCH, "--json", "true")
    assert done.returncode == 0
    assert {row["source"]: row["draws"] for row in json.loads(done.stdout)} == drawn
    table = run_here("mix", tiny_corpus, *options, "--samples", 13 * BATCH).stdout
    assert all(f" {count} " in table for count in drawn.values())
    assert f" {drawn['alpha'] + drawn['beta']} " in table, "the sum of a domain with two sources"


def test_mix_compares_what_a_run_has_consumed_with_its_plan(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    planned = run_here(
        "mix", tiny_corpus, "--mixture.block", 16, "--seed", 5, "--samples", 24, "--json", "true"
    )
    consumed = {row["source"]: row["draws"] for row in json.loads(planned.stdout)}
    (tmp_path / "config.yaml").write_text("seed: 5\nmixture: {block: 16}\nsteps: 3\n")
    append_rows(tmp_path / "metrics.jsonl", [{"step": 0, "consumed": consumed}])
    same = run_here("mix", tiny_corpus, "--run", tmp_path)
    assert same.returncode == 0, same.stderr
    assert "to the sample what was planned" in same.stderr
    append_rows(tmp_path / "metrics.jsonl", [{"step": 1, "consumed": {"beta": 16}}])
    other = run_here("mix", tiny_corpus, "--run", tmp_path)
    assert other.returncode == 1
    assert "not as planned: alpha, beta, gamma" in other.stderr


def test_mix_warns_of_repeats_beyond_the_cap_and_its_status_tells(tiny_corpus: Path) -> None:
    capped = (
        "mix",
        tiny_corpus,
        "--mixture.block",
        100,
        "--samples",
        100,
        "--mixture.max_repeats",
        4.5,
    )
    refused, warned = run_here(*capped), run_here(*capped, "--mixture.over_max_repeats", "warn")
    assert (refused.returncode, warned.returncode) == (1, 0)
    assert "max_repeats 4.5: gamma (5.0)" in " ".join(refused.stderr.split())
    assert "give either --samples N" in refusal(run_here("mix", tiny_corpus))


def order(corpus: Path, *arguments: object, seed: int = 3) -> list[dict[str, object]]:
    """The lines that `surgrec-shard order` prints."""
    run = run_here("order", corpus, "--seed", seed, "--global_batch", BATCH, *arguments)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]
