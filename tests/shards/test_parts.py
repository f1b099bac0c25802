"""A source is published part by part: the bytes are those of the whole, and few parts are alive."""

import io
import math
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from surgrec.errors import ShardError
from surgrec.parquet import parquet_of_groups, read_parquet, row_groups
from surgrec.shards import Clip, Sample, Shard, source_digest, write_source
from surgrec.shards._index import index_tables, with_further_columns
from surgrec.shards.layout import (
    CLIP_FIELDS,
    INDEX_FILE,
    LOCATION_FIELDS,
    OPTIONAL_FIELDS,
    table_name,
)
from surgrec.shards.totals import IndexCount
from surgrec.storage import open_store
from tests.support.samples import make_clips, samples_to_parquet


def make_part(number: int, *, clips: int = 4, score: float | None = None) -> list[Sample]:
    """Return the samples of a group with two shards, not in their order."""
    samples = [
        Sample(
            key=f"alpha_{number:03d}_{index:03d}",
            clip=replace(
                clip, video=f"{number:012x}", case=f"case-{number % 2}", model_score=score
            ),
            shard=f"alpha-train-{number:05d}{index % 2:03d}.tar",
            offset=index // 2 * 4096,
            size=4096,
            mp4_offset=index // 2 * 4096 + 1536,
            mp4_size=1000 + index,
            sha256=f"{number * 100 + index:064x}",
            xxh3_64=number * 100 + index,
            timescale=16_384,
            frame_ticks=2048,
        )
        for index, clip in enumerate(make_clips(clips))
    ]
    return samples[::-1]


def written_by_pyarrow(samples: list[Sample], rows: int) -> bytes:
    """Return the index as pyarrow alone writes it, in one call."""
    ordered = sorted(samples, key=lambda sample: (sample.shard, sample.offset))
    columns = {name: [getattr(sample, name) for sample in ordered] for name in LOCATION_FIELDS}
    columns |= {name: [getattr(sample.clip, name) for sample in ordered] for name in CLIP_FIELDS}
    columns |= {name: [getattr(sample, name) for sample in ordered] for name in OPTIONAL_FIELDS}
    columns["xxh3_64"] = pa.array(columns["xxh3_64"], pa.uint64())
    buffer = io.BytesIO()
    parquet.write_table(
        pa.table(columns), buffer, row_group_size=rows, compression="zstd", write_page_checksum=True
    )
    return buffer.getvalue()


@pytest.mark.parametrize("rows", [1, 7, 20, 1 << 20])
def test_an_index_in_parts_has_the_bytes_of_the_whole(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.parquet.GROUP_ROWS", rows)
    parts = [make_part(number, clips=1 + number % 5) for number in range(9)]
    expected = written_by_pyarrow([sample for part in parts for sample in part], rows)
    assert parquet_of_groups(index_tables([[], *parts, []])) == expected


@pytest.mark.parametrize("sizes", [[], [0], [3], [4], [5], [2, 2, 9, 0, 1], [4, 4]])
def test_row_groups_are_full_but_for_the_last_one(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.parquet.GROUP_ROWS", 4)
    values = iter(range(100))
    parts = [pa.table({"n": pa.array([next(values) for _ in range(size)])}) for size in sizes]
    groups = list(row_groups(part.cast(pa.schema([("n", pa.int64())])) for part in parts))
    assert [row for group in groups for row in group.column("n").to_pylist()] == list(
        range(sum(sizes))
    )
    assert [group.num_rows for group in groups[:-1]] == [4] * max(0, len(groups) - 1)
    assert all(group.column("n").num_chunks <= 1 for group in groups)


def test_few_samples_are_in_memory_while_a_source_is_written(tmp_path: Path) -> None:
    alive: list[weakref.ref[Clip]] = []
    most = 0

    def parts() -> Iterator[list[Sample]]:
        nonlocal most
        for number in range(30):
            part = make_part(number)
            alive.extend(weakref.ref(sample.clip) for sample in part)
            yield part
            del part
            most = max(most, sum(each() is not None for each in alive))

    entry = write_source(
        open_store(tmp_path),
        "alpha",
        samples=parts(),
        shards=[],
        labels=[],
        dropped=[],
        videos_failed=0,
        plan="",
    )
    assert entry.samples == 30 * 4
    assert most <= 2 * 4


def test_the_totals_of_parts_are_those_of_their_samples() -> None:
    samples = [sample for number in range(9) for sample in make_part(number, clips=1 + number)]
    count = IndexCount()
    for table in index_tables(make_part(number, clips=1 + number) for number in range(9)):
        count.add(table)
    shard = Shard(name="alpha-train-00000000.tar", samples=1, bytes=512, sha256="")
    assert count.totals([shard, shard]) == {
        "domain": samples[0].clip.domain,
        "samples": 45,
        "videos": 9,
        "cases": 2,
        "hours": round(math.fsum(sample.clip.duration_s for sample in samples) / 3600, 6),
        "bytes": 1024,
        "digest": source_digest((sample.key, sample.sha256) for sample in samples),
    }


def test_further_columns_go_to_the_clips_with_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.parquet.GROUP_ROWS", 3)
    parts = [make_part(0), make_part(1)]
    first, second, third, *_ = parts[0]
    further = pa.table(
        {
            "key": [third.key, "alpha_of_no_clip", first.key, second.key],
            "sha256": [third.sha256, "0" * 64, first.sha256, "f" * 64],
            "cluster_1": pa.array([3, 9, 1, 2], pa.int64()),
        }
    )
    entry = write_source(
        open_store(tmp_path),
        "alpha",
        samples=parts,
        shards=[],
        labels=[],
        dropped=[],
        videos_failed=0,
        plan="",
        further=further,
    )
    path = tmp_path / "alpha" / table_name(INDEX_FILE, entry.tables)
    table = read_parquet(path.read_bytes(), "INDEX")
    values = dict(
        zip(*(table.column(name).to_pylist() for name in ("key", "cluster_1")), strict=True)
    )
    # The second clip has other bytes now, and the others are new.
    assert values == {
        sample.key: {first.key: 1, third.key: 3}.get(sample.key)
        for part in parts
        for sample in part
    }

    # The same columns for the whole index change nothing, and new values replace the old ones.
    assert with_further_columns(table, further).equals(table)
    later = further.set_column(2, "cluster_1", pa.array([30, 9, 10, 2], pa.int64()))
    replaced = with_further_columns(table, later)
    assert replaced.column_names == table.column_names
    assert sorted(replaced.column("cluster_1").drop_null().to_pylist()) == [10, 30]


def test_parts_out_of_order_are_refused() -> None:
    with pytest.raises(ShardError, match=r"alpha-train-00001000.tar come after .*00002001.tar"):
        list(index_tables([make_part(2), make_part(1)]))


def test_scores_of_some_clips_only_are_refused() -> None:
    with pytest.raises(ShardError, match="only some clips of alpha have a model_score"):
        list(index_tables([make_part(0, score=0.5), make_part(1)]))
    (table,) = index_tables([make_part(0, score=0.5), make_part(1, score=0.25)])
    assert table.column("model_score").to_pylist() == [0.5] * 4 + [0.25] * 4


def test_an_index_without_samples_has_its_columns() -> None:
    table = read_parquet(samples_to_parquet([]), "INDEX")
    assert (table.num_rows, tuple(table.column_names)) == (
        0,
        (*LOCATION_FIELDS, *CLIP_FIELDS, *OPTIONAL_FIELDS),
    )
