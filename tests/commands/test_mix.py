"""`surgrec mix`: the draws of each source, before a run and during one."""

import json
from collections import Counter
from pathlib import Path

from surgrec.runs import append_rows
from surgrec.shards import open_corpus
from tests.support.tool import refusal, surgrec_here

BATCH = 8


def test_mix_predicts_the_draws_of_a_run_exactly(tiny_corpus: Path) -> None:
    options = ("--seed", 3, "--mixture.block", 40)
    lines = surgrec_here("order", tiny_corpus, *options, "--global_batch", BATCH, "--num_steps", 13)
    drawn = Counter(json.loads(line)["source"] for line in lines.stdout.splitlines())
    done = surgrec_here("mix", tiny_corpus, *options, "--samples", 13 * BATCH, "--json", "true")
    assert done.returncode == 0
    assert {row["source"]: row["draws"] for row in json.loads(done.stdout)} == drawn
    table = surgrec_here("mix", tiny_corpus, *options, "--samples", 13 * BATCH).stdout
    assert all(f" {count} " in table for count in drawn.values())
    assert f" {drawn['alpha'] + drawn['beta']} " in table, "the sum of a domain with two sources"


def test_mix_compares_the_samples_of_a_run_with_its_plan(tiny_corpus: Path, tmp_path: Path) -> None:
    planned = surgrec_here(
        "mix", tiny_corpus, "--mixture.block", 16, "--seed", 5, "--samples", 24, "--json", "true"
    )
    consumed = {row["source"]: row["draws"] for row in json.loads(planned.stdout)}
    (tmp_path / "config.yaml").write_text("seed: 5\nmixture: {block: 16}\nsteps: 3\n")
    append_rows(tmp_path / "metrics.jsonl", [{"step": 0, "consumed": consumed}])
    same = surgrec_here("mix", tiny_corpus, "--run", tmp_path)
    assert same.returncode == 0, same.stderr
    assert "the draws match the plan exactly" in same.stderr
    append_rows(tmp_path / "metrics.jsonl", [{"step": 1, "consumed": {"beta": 16}}])
    other = surgrec_here("mix", tiny_corpus, "--run", tmp_path)
    assert other.returncode == 1
    assert "the draws differ from the plan in alpha, beta, gamma" in other.stderr


def test_a_mixture_file_limits_the_clips_by_their_motion(tiny_corpus: Path, tmp_path: Path) -> None:
    def clips(limits: str) -> int:
        (tmp_path / "mixture.yaml").write_text(f"block: 16\nlimits: {limits}\n")
        words = ("mix", tiny_corpus, "--mixture", tmp_path / "mixture.yaml", "--samples", 100)
        shown = surgrec_here(*words, "--json", "true")
        assert shown.returncode == 0, shown.stderr
        return sum(row["samples"] for row in json.loads(shown.stdout))

    values = [
        value
        for source in open_corpus([tiny_corpus]).values()
        for split, value in zip(
            source.index.column("split").to_pylist(),
            source.index.column("motion").to_pylist(),
            strict=True,
        )
        if split == "train"
    ]
    limit = sorted(values)[len(values) // 2]
    assert clips("{motion: [0, 1]}") == len(values)
    assert clips(f"{{motion: [0, {limit}]}}") == sum(value <= limit for value in values)


def test_mix_refuses_or_warns_about_repeats_beyond_max_repeats(tiny_corpus: Path) -> None:
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
    refused, warned = (
        surgrec_here(*capped),
        surgrec_here(*capped, "--mixture.over_max_repeats", "warn"),
    )
    assert (refused.returncode, warned.returncode) == (1, 0)
    assert "max_repeats 4.5 in gamma (5.0)" in " ".join(refused.stderr.split())
    assert "give either --samples N" in refusal(surgrec_here("mix", tiny_corpus))


def test_mix_refuses_a_run_of_other_corpora(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 5\nmixture: {block: 16}\n")
    append_rows(tmp_path / "metrics.jsonl", [{"step": 0, "consumed": {"elsewhere": 8}}])
    refused = surgrec_here("mix", tiny_corpus, "--run", tmp_path)
    assert refused.returncode == 1
    assert "has consumed samples of elsewhere, which" in refused.stderr
