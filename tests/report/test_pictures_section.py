"""Pictures are of held-out clips, or say that they are not; a missing one is a sentence."""

import re
from pathlib import Path

import pytest

from surgrec.errors import CheckpointError
from surgrec.report._logged_run import read_runs
from surgrec.report._pictures_section import evenly_spread, pictures_section
from surgrec.shards import open_corpus
from tests.support.logged_runs import make_run


def section(run_dir: Path, corpus: Path) -> str:
    """The section of one run."""
    return pictures_section(read_runs([run_dir])[0], open_corpus([corpus]))


def test_an_mae_shows_its_reconstructions_and_its_features(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    page = section(make_run(tmp_path / "run", tiny_corpus, "mae"), tiny_corpus)
    clips, moments = 2, 2
    for label in ("masked", "mean color", "predicted", "original", "frame", "run", "random init"):
        assert page.count(f'alt="{label}"') == clips * moments, label
    assert page.count("--moments: 2") == 2 * clips, (
        "the rows of both figures of a clip are as long as its moments"
    )
    assert "from stored splits that this run does not draw from: val." in page
    assert "Reconstruction at step 30, 75% of each frame hidden" in page


def test_moments_are_spread_from_the_first_to_the_last() -> None:
    assert evenly_spread(8, 4) == [0, 2, 5, 7]
    assert evenly_spread(2, 4) == [0, 1]
    assert evenly_spread(1, 4) == [0]


def test_other_runs_show_their_features(tiny_corpus: Path, tmp_path: Path) -> None:
    page = section(make_run(tmp_path / "run", tiny_corpus, "jepa", checkpoint=False), tiny_corpus)
    assert 'alt="random init"' in page
    assert "Reconstruction" not in page


def test_clips_of_the_training_data_are_named_so(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, "jepa", splits=["train", "val", "test"])
    page = section(run_dir, tiny_corpus)
    assert re.search(r"These clips are\ntraining data: (train|val|test)", page)
    assert page.count("<figure") == 6


def test_a_run_without_an_encoder_says_so(tiny_corpus: Path, tmp_path: Path) -> None:
    assert "holds no encoder yet" in section(
        make_run(tmp_path / "run", tiny_corpus, None), tiny_corpus
    )


def test_an_mae_without_a_checkpoint_says_so_and_shows_its_features(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    page = section(make_run(tmp_path / "run", tiny_corpus, "mae", checkpoint=False), tiny_corpus)
    assert "holds no checkpoint" in page
    assert 'alt="random init"' in page


def test_a_damaged_checkpoint_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, "mae")
    path = run_dir / "checkpoints/step-00000030/objective.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=str(path)):
        section(run_dir, tiny_corpus)


def test_a_shard_that_is_gone_is_a_sentence(corpus_copy: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", corpus_copy, "jepa")
    for shard in corpus_copy.glob("beta/*.tar"):
        shard.unlink()
    page = section(run_dir, corpus_copy)
    assert "No clip can be shown" in page
    assert "beta-val" in page


def test_the_pictures_are_the_same_every_time(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, "mae")
    assert section(run_dir, tiny_corpus) == section(run_dir, tiny_corpus)
