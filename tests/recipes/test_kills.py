"""A run that is killed again and again, or whose disk is full, goes on exactly."""

import re
from pathlib import Path

import pytest

from tests.support.killed_runs import DisturbedRun
from tests.support.processes import finish
from tests.support.small_disk import small_disk

STEPS = 40


@pytest.fixture(scope="module")
def undisturbed(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> DisturbedRun:
    """The run of two ranks that nothing disturbs."""
    run = DisturbedRun(tiny_corpus, tmp_path_factory.mktemp("whole") / "run", steps=STEPS)
    run.finish()
    return run


@pytest.mark.slow
def test_a_run_killed_again_and_again_equals_an_undisturbed_one(
    tiny_corpus: Path, tmp_path: Path, undisturbed: DisturbedRun
) -> None:
    run = DisturbedRun(tiny_corpus, tmp_path / "run", steps=STEPS)
    faults = ("kill in a save", "kill of one rank", "kill of a loader worker")
    faults = (*faults, "kill of the launcher")
    for index, fault in enumerate(faults):
        ending = run.disturb(fault, 5 * index + 2)
        assert not ending.problem, ending
        assert ending.seconds < 60
    run.finish()
    assert run.result() == undisturbed.result(), "to the last bit"


@pytest.mark.slow
def test_a_disk_that_is_full_in_a_save_ends_both_ranks_and_a_resume_is_exact(
    tiny_corpus: Path, tmp_path: Path, undisturbed: DisturbedRun
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, kilobytes=16_000, larger_megabytes=60) as enlarge:
        run = DisturbedRun(tiny_corpus, disk / "run", steps=STEPS)
        status, errors = finish(run.command)
        assert status == 1
        assert re.search(r"step-00000008 cannot be written \(.*No space left on device", errors)
        assert errors.count("jepa: error: ") == 2, "each rank names it"
        assert "resume from step 4" in errors
        assert "Traceback" not in errors
        assert run.files.checkpoint_steps() == [4]

        enlarge()
        run.finish()
        assert run.result() == undisturbed.result()
