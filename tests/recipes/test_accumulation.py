"""Parts of a batch and recomputed activations give the run of whole batches."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import ConfigError, TrainingError
from surgrec.runs import read_rows
from surgrec.training import Run
from tests.support.in_process import train

OPTIONS = [
    *("--global_batch", 8, "--precision", "no", "--log.samples", "true"),
    *("--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"),
]
METHODS = {
    # Groups of three are divided between parts.
    "jepa": ["--objective.mask_group", 3],
    "mae": ["--views", 2, "--objective.decoder_mask_ratio", 0.5],
}


def losses(run_dir: Path) -> list[float]:
    return [row["loss"] for row in read_rows(run_dir / "samples.jsonl")]


def identical(run_dir: Path) -> list[tuple[object, ...]]:
    return [(row["step"], row["slot"], row["key"]) for row in read_rows(run_dir / "samples.jsonl")]


@pytest.mark.parametrize(
    ("name", "steps", "parts"),
    [
        pytest.param("mae", 2, [3], id="mae short"),
        pytest.param("mae", 20, [2, 4], id="mae", marks=pytest.mark.slow),
        pytest.param("jepa", 20, [2, 4], id="jepa", marks=pytest.mark.slow),
    ],
)
def test_losses_of_every_sample_do_not_depend_on_the_parts(
    tiny_corpus: Path, tmp_path: Path, name: str, steps: int, parts: list[int]
) -> None:
    options = [*OPTIONS, *METHODS[name], "--steps", steps]
    train(name, tiny_corpus, tmp_path / "whole", *options)
    whole = losses(tmp_path / "whole")
    assert len(whole) == 8 * steps
    assert max(whole) - min(whole) > 1e-2
    for count in parts:
        run_dir = tmp_path / str(count)
        train(name, tiny_corpus, run_dir, *options, "--accumulation", count)
        assert identical(run_dir) == identical(tmp_path / "whole")
        assert losses(run_dir) == pytest.approx(whole, abs=1e-6)


def test_more_parts_than_samples_are_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="accumulation is 9, but a process has 8 samples per step"
    ):
        train("mae", tiny_corpus, tmp_path / "run", *OPTIONS, "--accumulation", 9)


def test_a_recipe_that_leaves_a_part_to_the_next_step_is_refused(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Run.parts

    def first_parts(*inputs: Any) -> Iterator[Any]:
        return islice(parts(*inputs), 2)

    monkeypatch.setattr(Run, "parts", first_parts)
    with pytest.raises(TrainingError, match="has taken 2 of 3 parts of step 0; let it iterate"):
        train("mae", tiny_corpus, tmp_path / "run", *OPTIONS, "--accumulation", 3)
