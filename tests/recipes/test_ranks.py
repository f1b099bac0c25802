"""Real runs of 1, 2 and 4 processes have the same objective."""

from pathlib import Path

import pytest

from surgrec.runs import read_rows
from tests.support.processes import finish, recipe

STEPS, BATCH = 6, 8
FAST = [
    "--steps",
    STEPS,
    "--global_batch",
    BATCH,
    "--log.every",
    3,
    "--log.samples",
    "true",
    "--loader.num_workers",
    0,
]
MOVING = [
    "--optimizer.lr",
    "{value: 1.0e-3, start: null, warmup_steps: 0}",
]  # no warm-up: six steps change the weights
METHODS = {
    "jepa": [
        "--objective.mask_group",
        3,
    ],  # no rank's share is a multiple of it, so that groups are shared between ranks
    # Ranks exchange their gradients once per step, whatever the number of parts.
    "mae": ["--views", 2, "--objective.decoder_mask_ratio", 0.5, "--accumulation", 2],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jepa", "mae"])
def test_one_two_and_four_processes_have_the_same_keys_and_losses(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    """Compare losses: to 1e-6 before the first update, to a relative 1e-4 after it.

    Ranks add their gradients in another order, and AdamW turns gradients near zero into full steps.
    """
    samples, norms = {}, {}
    for processes in (1, 2, 4):
        run_dir = tmp_path / str(processes)
        status, errors = finish(
            recipe(name, processes, tiny_corpus, run_dir, *FAST, *MOVING, *METHODS[name])
        )
        assert status == 0, errors
        assert read_rows(run_dir / "starts.jsonl")[0]["processes"] == processes
        samples[processes] = read_rows(run_dir / "samples.jsonl")
        rows = read_rows(run_dir / "metrics.jsonl")
        assert rows[0]["lr"] == 1e-3, "the first update is a full one"
        norms[processes] = [row["gradient_norm"] for row in rows]
    alone = samples[1]
    losses = [row["loss"] for row in alone]
    assert len(alone) == STEPS * BATCH
    assert max(losses) - min(losses) > 1e-2, "losses that are all alike would agree in any order"
    for processes in (2, 4):
        places = [
            [(row["step"], row["slot"], row["key"]) for row in rows]
            for rows in (samples[processes], alone)
        ]
        assert places[0] == places[1]
        found = [row["loss"] for row in samples[processes]]
        assert found[:BATCH] == pytest.approx(losses[:BATCH], abs=1e-6)
        assert found == pytest.approx(losses, rel=1e-4)
        assert norms[processes][0] == pytest.approx(norms[1][0], rel=1e-5), (
            "the gradient of the first step, too"
        )
