"""Compiled runs have the losses of other runs, and compile nothing after their first steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surgrec.runs import read_rows
from surgrec.training import Run
from tests.support.compiled import num_versions, traced_only
from tests.support.in_process import train

pytestmark = pytest.mark.slow
OPTIONS = [
    *("--steps", 20, "--global_batch", 8, "--precision", "no", "--log.samples", "true"),
    *("--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"),
]
STATIC = [
    *("--objective.trim", "random"),
    *("--objective.masks", "[{num_blocks: 4, spatial_scale: 0.2, lengths: [[16, 32], [64, 96]]}]"),
]


@pytest.fixture
def versions_by_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Number of compiled versions after each step of a run."""
    counts: list[int] = []
    record = Run.record

    def counted(*inputs: Any, **values: Any) -> None:
        counts.append(num_versions())
        record(*inputs, **values)

    monkeypatch.setattr(Run, "record", counted)
    with traced_only():
        yield counts


# Encoder, head, and the target encoder of a JEPA: a version each, or one for each of two lengths.
# The first blocks that run without a choice of tokens may be traced once more.
@pytest.mark.parametrize(
    ("name", "options", "most_versions"),
    [
        pytest.param("mae", [], 2, id="mae"),
        pytest.param("jepa", STATIC, 5, id="jepa, fixed lengths"),
        pytest.param("jepa", [], 4, id="jepa, any lengths"),
    ],
)
def test_losses_are_those_of_a_run_without_compilation(
    tiny_corpus: Path,
    tmp_path: Path,
    versions_by_step: list[int],
    name: str,
    options: list[object],
    most_versions: int,
) -> None:
    losses = {}
    for compile_ in ("false", "true"):
        versions_by_step.clear()
        run_dir = tmp_path / compile_
        train(name, tiny_corpus, run_dir, *OPTIONS, *options, "--compile", compile_)
        losses[compile_] = [row["loss"] for row in read_rows(run_dir / "samples.jsonl")]
        if compile_ == "false":
            assert versions_by_step[-1] == 0

    assert len(losses["true"]) == 160
    assert losses["true"] == pytest.approx(losses["false"], abs=1e-5)
    assert 2 <= versions_by_step[-1] <= most_versions, versions_by_step
    assert versions_by_step[10:] == [versions_by_step[-1]] * 10  # none after the first steps
