"""A run is read once, under a name that distinguishes it from the others."""

from pathlib import Path

import pytest

from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import Encoder, save_encoder
from surgrec.report._logged_run import distinct_names, open_corpora, read_runs
from tests.support.logged_runs import ENCODER, make_run


def test_names_are_the_shortest_ends_of_the_paths_that_differ() -> None:
    paths = [Path("/runs/a/x"), Path("/runs/b/x"), Path("/runs/b/y"), Path("/other/a/x")]
    assert distinct_names(paths) == ["runs/a/x", "b/x", "y", "other/a/x"]


def test_a_folder_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} is given twice"):
        distinct_names([tmp_path, tmp_path / "." / "x" / ".."])


def test_a_folder_without_a_logged_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no run"):
        read_runs([tmp_path])


def test_a_run_knows_its_recipe_and_its_consumed_clips(tiny_corpus: Path, tmp_path: Path) -> None:
    run = read_runs([make_run(tmp_path / "run", tiny_corpus, "mae")])[0]
    assert (run.num_clips, run.recipe, run.num_bad_samples) == (240, "mae", 0)
    assert run.realized_shares() == {"alpha": 0.75, "gamma": 0.25}


def test_an_encoder_that_does_not_name_its_recipe_is_refused(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, "mae")
    save_encoder(
        Encoder(ENCODER), run_dir / "encoder.safetensors", {"config": {"sampling_fps": 4.0}}
    )
    with pytest.raises(
        CheckpointError, match=f"{run_dir}/encoder.safetensors does not record the recipe"
    ):
        read_runs([run_dir])


def test_a_shared_corpus_is_opened_once_and_a_missing_one_is_a_sentence(
    tiny_corpus: Path, corpus_copy: Path, tmp_path: Path
) -> None:
    folders = [make_run(tmp_path / name, tiny_corpus, None) for name in ("one", "two")]
    folders.append(make_run(tmp_path / "three", corpus_copy, None))
    (corpus_copy / "corpus.json").unlink()
    runs = read_runs(folders)
    corpora = open_corpora(runs)
    assert list(corpora.sources) == [str(tiny_corpus)]
    assert set(corpora.sources_of(runs[1])) == {"alpha", "beta", "gamma"}
    assert f"The corpus {corpus_copy} of three cannot be shown" in corpora.missing[str(corpus_copy)]
    assert not corpora.sources_of(runs[2])
