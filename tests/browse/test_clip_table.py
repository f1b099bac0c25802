"""Queries over whole columns find the clips that a loop over all clips finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from surgrec.browse._answers import NotFoundError
from surgrec.browse._clip_table import ClipTable, Query
from surgrec.browse._corpora import BrowsedCorpus
from surgrec.browse._filters import Filter
from surgrec.errors import ConfigError
from surgrec.shards import open_corpus


def rows_of(table: ClipTable) -> list[dict[str, Any]]:
    cells = table.cells(range(table.num_rows))
    return [dict(zip(table.names, row, strict=True)) for row in cells]


def found(table: ClipTable, *filters: Filter, **fields: Any) -> list[int]:
    return table.find(Query(filters=filters, **fields)).rows.tolist()


@pytest.fixture(scope="module")
def table(tiny_corpus: Path) -> ClipTable:
    return ClipTable(open_corpus(tiny_corpus))


def test_the_numbers_of_clips_lead_to_their_samples(table: ClipTable) -> None:
    for number, row in enumerate(rows_of(table)):
        source, sample = table.sample(number)
        assert (source.name, sample.key, sample.mp4_offset) == (
            row["source"],
            row["key"],
            row["mp4_offset"],
        )
    for number in (-1, table.num_rows):
        with pytest.raises(NotFoundError, match="there is no clip"):
            table.sample(number)


@pytest.mark.parametrize(
    ("comparison", "column", "value", "holds"),
    [
        ("is", "domain", "cataract", lambda cell, value: cell == value),
        ("is not", "source", "alpha", lambda cell, value: cell != value),
        ("contains", "video", "A", lambda cell, value: value.lower() in cell),
        ("at least", "blur", 0.2, lambda cell, value: cell >= value),
        ("at most", "start_s", "8", lambda cell, value: cell <= float(value)),
        ("is", "duration_s", 2, lambda cell, value: cell == value),
    ],
)
def test_a_filter_keeps_the_rows_that_meet_it(
    table: ClipTable, comparison: Any, column: str, value: Any, holds: Any
) -> None:
    expected = [n for n, row in enumerate(rows_of(table)) if holds(row[column], value)]
    assert 0 < len(expected) < table.num_rows
    assert found(table, Filter(column=column, comparison=comparison, value=value)) == expected


def test_search_filters_order_and_sums_work_together(table: ClipTable) -> None:
    query = Query(
        search="ALPHA_",
        filters=(Filter(column="start_s", comparison="at least", value=4),),
        sort="blur",
        descending=True,
    )
    rows = rows_of(table)
    expected = [n for n, row in enumerate(rows) if row["source"] == "alpha" and row["start_s"] >= 4]
    expected.sort(key=lambda n: -rows[n]["blur"])
    result = table.find(query)
    assert result.rows.tolist() == expected
    assert (result.videos, result.cases) == (2, 2)
    assert result.hours == pytest.approx(sum(rows[n]["duration_s"] for n in expected) / 3600)

    page = table.page(query, offset=3)
    assert page["numbers"] == expected[3:]
    assert page["rows"][0] == list(rows[expected[3]].values())
    assert table.page(query, offset=99)["rows"] == []


def test_columns_of_one_source_are_empty_elsewhere_and_lists_are_left_out(
    corpus_copy: Path,
) -> None:
    for name, extra in (
        ("alpha", {"mark": pa.array([1] * 10), "seen": pa.array([[1]] * 10)}),
        ("beta", {"mark": pa.array([2.5] * 8), "note": pa.array(["<b>"] * 8)}),
    ):
        path = corpus_copy / name / "index.parquet"
        index = parquet.read_table(path)
        for column, values in extra.items():
            index = index.append_column(column, values)
        parquet.write_table(index, path)

    table = ClipTable(open_corpus(corpus_copy))
    assert table.left_out == ["seen"]
    columns = {column.name: column for column in table.columns()}
    assert (columns["mark"].least, columns["mark"].most, columns["mark"].empty) == (1, 2.5, 10)
    assert columns["note"].values == ["<b>"]
    assert found(table, Filter(column="note", comparison="is empty")) == [
        n for n, row in enumerate(rows_of(table)) if row["source"] != "beta"
    ]
    assert len(found(table, Filter(column="mark", comparison="at most", value=2))) == 10
    with pytest.raises(ConfigError, match="mark holds numbers"):
        found(table, Filter(column="mark", comparison="contains", value="1"))


def test_a_clip_comes_with_its_video_labels_and_copies(corpus_copy: Path) -> None:
    for name, size in (("alpha", 10), ("beta", 8), ("gamma", 10)):
        path = corpus_copy / name / "index.parquet"
        groups = np.zeros(size, dtype=np.int64)
        groups[[0, 3]] = 7 if name != "gamma" else 0
        index = parquet.read_table(path).append_column("duplicate_group", pa.array(groups))
        parquet.write_table(index, path)

    corpus = BrowsedCorpus(str(corpus_copy))
    clip = corpus.clip(3)
    clips = clip["clips"]
    assert clips["start_s"] == [0, 4, 8, 12, 16]
    assert 3 in clips["number"]
    assert {(each["task"], each["value"]) for each in clip["labels"]} == {
        ("phase", "access"),
        ("phase", "dissection"),
        ("tool", "grasper"),
    }
    assert [each["number"] for each in clip["copies"]] == [0, 10, 13]
    assert corpus.clip(1)["copies"] == []

    video = clip["values"]["video"]
    assert corpus.at("alpha", video, 13.0) == clips["number"][3]
    assert corpus.at("alpha", video, 99.0) is None
    assert corpus.at("alpha", "no video", 1.0) is None


def test_dropped_segments_are_summed_by_reason(corpus_copy: Path) -> None:
    rows = {"video": ["v", "v", "w"], "start_s": [0.0, 5.0, 0.0], "end_s": [2.0, 6.0, 4.0]}
    rows["reason"] = ["black", "black", "outside"]
    parquet.write_table(pa.table(rows), corpus_copy / "gamma" / "dropped.parquet")
    corpus = BrowsedCorpus(str(corpus_copy))
    everything = corpus.dropped("", "", 0)
    sums = {
        each["reason"]: (each["seconds_sum"], each["seconds_count"]) for each in everything["sums"]
    }
    assert sums == {"black": (3.0, 2), "outside": (4.0, 1)}
    assert corpus.dropped("gamma", "outside", 0)["total"] == 1
    assert corpus.dropped("alpha", "", 0)["total"] == 0
