"""The report shows what was logged, and is one file that asks nothing of the network."""

import re
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation.contact_sheet import spread_samples
from surgrec.evaluation.report import realised_shares, write_report
from surgrec.shards.corpus import open_corpus
from surgrec.stream.mixture import Mixture
from surgrec.stream.stream import Stream
from surgrec.training.plan import write_plan
from surgrec.training.rows import append_rows


@pytest.fixture
def logged_run(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A run folder with thirty steps in its log, resumed at step 20, whose realised mix is not the planned one."""
    run_dir = tmp_path / "my run"
    run_dir.mkdir()
    stream = Stream(open_corpus([tiny_corpus]), Mixture(), 0)
    write_plan(run_dir, [str(tiny_corpus)], stream.plan(240))
    (run_dir / "config.yaml").write_text("seed: 239\n", encoding="utf-8")
    append_rows(run_dir / "starts.jsonl", [{"step": 0, "processes": 2}, {"step": 20, "processes": 1}])
    row = {"loss": 0.5, "loss_by_source": {"alpha": 0.5}, "consumed": {"alpha": 6, "gamma": 2}, "quarantined": {}}
    row |= {"data_wait_s": 0.02, "step_s": 0.2, "clips_per_s": 40.0, "target_std": 0.9, "rankme": 12.0}
    append_rows(run_dir / "metrics.jsonl", [row | {"step": step} for step in range(30)])
    return run_dir


def test_the_page_holds_pictures_charts_and_numbers_and_loads_nothing(logged_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep/report.html"
    write_report(logged_run, out)
    page = out.read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 3, "a contact sheet per source"
    assert page.count("<svg") == 7
    assert "75.00%" in page, "the realised share of alpha, as it was consumed"
    assert "resumed, 1 proc." in page
    assert "10.0% of the time was spent waiting for data" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page
    assert "<script" not in page


def test_realised_shares_count_what_was_consumed() -> None:
    rows = [{"consumed": {"a": 3, "b": 1}}, {"consumed": {"a": 1, "c": 3}}]
    assert realised_shares(rows) == {"a": 0.5, "b": 0.125, "c": 0.375}


def test_a_contact_sheet_shows_as_many_videos_as_there_are(tiny_corpus: Path) -> None:
    source = open_corpus([tiny_corpus])["alpha"]
    chosen = spread_samples(source, 4)
    assert len({sample.clip.video for sample in chosen}) == 2
    assert chosen == spread_samples(source, 4)
    assert len(spread_samples(source, 1000)) == source.entry.samples


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no run"):
        write_report(tmp_path, tmp_path / "report.html")
