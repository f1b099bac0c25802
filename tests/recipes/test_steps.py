"""A loss warm-up or a gradient clipping that starts at a step starts exactly there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from surgrec.runs import read_rows
from tests.support.in_process import train

STEPS = 5
CONTEXT = [
    *("--steps", STEPS, "--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"),
    *(
        "--encoder.rope",
        "interleaved",
        "--encoder.levels",
        "[1, 3]",
        "--objective.predictor.context_head",
        "true",
    ),
]
PLAIN = ["--steps", STEPS, "--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"]
CLIPPED = ["--optimizer.grad_clip", 1e-3, "--optimizer.grad_clip_start", 2]


@pytest.fixture
def losses(tiny_corpus: Path, tmp_path: Path) -> Callable[..., list[float]]:
    """Of every step of a run with these options."""

    def run(name: str, *options: object) -> list[float]:
        run_dir = tmp_path / str(len(list(tmp_path.iterdir())))
        train(name, tiny_corpus, run_dir, *options)
        found = [row["loss"] for row in read_rows(run_dir / "metrics.jsonl")]
        assert len(found) == STEPS
        return found

    return run


def test_the_loss_of_the_context_counts_from_the_step_that_the_config_says(
    losses: Callable[..., list[float]],
) -> None:
    """Compare two runs with different weights; at the end of the warm-up their losses differ."""
    light, heavy = (
        losses(
            "jepa",
            *CONTEXT,
            "--objective.context",
            f"{{weight: {weight}, warmup_start: 1, warmup_end: 3}}",
        )
        for weight in (0.5, 1.0)
    )
    assert heavy[:2] == light[:2], "no weight at step 0, and none yet at the first of the warm-up"
    assert heavy[2] > light[2] * 1.05, (
        "half of 0.5, or of 1.0; the weights of the networks are still the same"
    )
    assert heavy[3] - light[3] > 1.5 * (heavy[2] - light[2]), "the whole of it"


@pytest.mark.parametrize("name", ["jepa", "mae"])
def test_gradients_are_clipped_from_the_step_that_the_config_says(
    losses: Callable[..., list[float]], name: str
) -> None:
    """A step's loss is from before its update: what step 2 clips shows at step 3."""
    never, later = losses(name, *PLAIN), losses(name, *PLAIN, *CLIPPED)
    assert later[:3] == never[:3]
    assert later[3] != never[3]
    assert later[4] != never[4]
