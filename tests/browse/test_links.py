"""A link that leads out of what was named is refused; the named folder itself may be a link."""

import shutil
from pathlib import Path

import pytest

from surgrec.browse._run_logs import BrowsedRun
from surgrec.browse._run_report import report_answer
from surgrec.browse._subjects import open_subjects
from surgrec.errors import ConfigError
from surgrec.shards.layout import INDEX_FILE, LABELS_FILE
from tests.support.logged_runs import make_run
from tests.support.results import write_result

LEADS_OUT = "leads out of .*; put a copy in the place of the link"


def move_out(path: Path, folder: Path) -> None:
    """Move a file into a folder, and leave a link to it."""
    folder.mkdir(exist_ok=True)
    path.symlink_to(shutil.move(path, folder / path.name))


def first_source(corpus: Path) -> Path:
    return sorted(path for path in corpus.iterdir() if path.is_dir())[0]


def test_a_linked_shard_or_table_of_a_corpus_is_refused(corpus_copy: Path, tmp_path: Path) -> None:
    (corpus,) = open_subjects([str(corpus_copy)]).corpora
    shard = corpus_copy / corpus.playable(0)[1].clip.source / corpus.playable(0)[1].shard
    move_out(shard, tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"{shard.name} is a link.*{LEADS_OUT}"):
        corpus.playable(0)

    (labels,) = first_source(corpus_copy).glob(f"{Path(LABELS_FILE).stem}*.parquet")
    move_out(labels, tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=LEADS_OUT):
        corpus.clip(0)


@pytest.mark.parametrize("part", ["corpus.json", "index", "source"])
def test_a_corpus_with_a_linked_part_is_not_opened(
    part: str, corpus_copy: Path, tmp_path: Path
) -> None:
    source = first_source(corpus_copy)
    (index,) = source.glob(f"{Path(INDEX_FILE).stem}*.parquet")
    path = {"corpus.json": corpus_copy / "corpus.json", "index": index, "source": source}[part]
    move_out(path, tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=LEADS_OUT):
        open_subjects([str(corpus_copy)])


def test_links_inside_a_corpus_and_a_named_link_are_followed(
    corpus_copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "named").symlink_to(corpus_copy)
    (corpus,) = open_subjects([str(tmp_path / "named")]).corpora
    move_out(corpus_copy / corpus.sources["alpha"].name, corpus_copy / "moved")
    assert corpus.playable(0)[1].mp4_size > 0


def test_a_linked_file_of_a_run_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    run = BrowsedRun(str(make_run(tmp_path / "run", tiny_corpus, None)))
    move_out(run.folder / "metrics.jsonl", tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=LEADS_OUT):
        run.state()
    with pytest.raises(ConfigError, match=LEADS_OUT):
        run.curves(["loss"])
    with pytest.raises(ConfigError, match=LEADS_OUT):
        report_answer(run, {str(tiny_corpus)})


def test_a_report_reads_no_corpus_with_links_out_of_it(corpus_copy: Path, tmp_path: Path) -> None:
    run = BrowsedRun(str(make_run(tmp_path / "run", corpus_copy, None)))
    move_out(first_source(corpus_copy), tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=LEADS_OUT):
        report_answer(run, {str(corpus_copy)})


@pytest.mark.parametrize("name", ["evaluation.json", "predictions.parquet"])
def test_a_linked_file_of_an_evaluation_is_refused(name: str, tmp_path: Path) -> None:
    write_result(tmp_path / "named/result")
    move_out(tmp_path / "named/result" / name, tmp_path / "elsewhere")
    (evaluation,) = open_subjects([str(tmp_path / "named")]).evaluations
    with pytest.raises(ConfigError, match=LEADS_OUT):
        evaluation.overview()
