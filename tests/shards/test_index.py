import io
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from surgrec.errors import ShardError
from surgrec.parquet import read_parquet
from surgrec.shards import Dropped, Sample, VideoLabel
from surgrec.shards._index import (
    SourceIndex,
    rows_from_parquet,
    rows_to_parquet,
)
from surgrec.shards.layout import CLIP_FIELDS, LOCATION_FIELDS, OPTIONAL_FIELDS
from tests.support.samples import CLIP, make_clips, samples_to_parquet


def make_samples(count: int) -> list[Sample]:
    """Return samples of two shards in the order of the index."""
    return [
        Sample(
            key=f"alpha_{number:03d}",
            clip=replace(
                clip,
                split=("train", "train", "val", "test")[number % 4],
                duration_s=4.0 + number % 3,
            ),
            shard=f"alpha-train-0000000{number * 2 // count}.tar",
            offset=number * 4096,
            size=4096,
            mp4_offset=number * 4096 + 1536,
            mp4_size=1000 + number,
            sha256=f"{number:064x}",
            xxh3_64=2**64 - 1 - number,
            timescale=2**32 - 1 - number,
            frame_ticks=1001,
        )
        for number, clip in enumerate(make_clips(count))
    ]


def read_index(data: bytes) -> SourceIndex:
    return SourceIndex(read_parquet(data, "INDEX"), "INDEX")


def table_with(**columns: Any) -> pa.Table:
    """Return an index table with some columns replaced; None removes a column."""
    table = parquet.read_table(io.BytesIO(samples_to_parquet(make_samples(4))))
    for name, values in columns.items():
        table = table.drop_columns(name)
        if values is not None:
            table = table.append_column(name, values)
    return table


def test_an_index_reads_back_row_by_row_in_the_order_of_the_shards() -> None:
    samples = make_samples(20)
    index = read_index(samples_to_parquet(random.Random(0).sample(samples, 20)))
    assert index.num_rows == 20
    assert [index.sample(row) for row in range(20)] == samples
    assert [index.key(row) for row in range(20)] == [sample.key for sample in samples]


def test_the_columns_are_those_of_the_specification_in_its_order() -> None:
    schema = parquet.read_schema(io.BytesIO(samples_to_parquet(make_samples(2))))
    assert tuple(schema.names) == (*LOCATION_FIELDS, *CLIP_FIELDS, *OPTIONAL_FIELDS)
    assert LOCATION_FIELDS == ("key", "shard", "offset", "size", "mp4_offset", "mp4_size", "sha256")
    assert {
        name: str(schema.field(name).type)
        for name in ("key", "offset", "start_s", "num_frames", *OPTIONAL_FIELDS)
    } == {
        "key": "string",
        "offset": "int64",
        "start_s": "double",
        "num_frames": "int64",
        "xxh3_64": "uint64",
        "timescale": "int64",
        "frame_ticks": "int64",
    }


def test_clips_may_lack_the_fast_checksum_and_the_clock() -> None:
    samples = make_samples(4)
    lack = dict.fromkeys(OPTIONAL_FIELDS)
    none = [replace(sample, **lack) for sample in samples]  # type: ignore[arg-type]
    index = SourceIndex(table_with(**lack), "INDEX")
    assert [index.sample(row) for row in range(4)] == none

    # The others keep all 64 bits.
    some = [samples[0], none[1], samples[2], none[3]]
    index = read_index(samples_to_parquet(some))
    assert [index.sample(row) for row in range(4)] == some
    assert index.further_columns().column_names == ["key", "sha256"]


def test_an_index_with_further_columns_is_read_as_before() -> None:
    table = table_with().append_column("cluster", pa.array([3, 1, 2, 0]))
    index = SourceIndex(table.select(table.column_names[::-1]), "INDEX")
    assert [index.sample(row) for row in range(4)] == make_samples(4)


@pytest.mark.parametrize(
    "columns",
    [
        [],
        ["split"],
        ["few"],
        ["far"],
        ["truth"],
        ["real"],
        ["split", "few", "real"],
        ["key", "far"],
    ],
)
def test_a_partition_is_that_of_a_loop_over_rows(columns: list[str]) -> None:
    count, random = 40, np.random.default_rng(7)
    table = parquet.read_table(io.BytesIO(samples_to_parquet(make_samples(count))))
    further = {
        "few": random.integers(0, 3, count),
        "far": random.integers(0, 2, count) * (2**62) - 2**61,
        "truth": random.integers(0, 2, count) > 0,
        "real": random.integers(0, 3, count) / 4,
    }
    for name, values in further.items():
        table = table.append_column(name, pa.array(values))
    index = SourceIndex(table, "INDEX")
    rows = random.permutation(count)[:25].astype(np.int64)

    # The values of a column are numbered as they appear; combinations are sorted by these numbers.
    numbers: dict[str, dict[str, int]] = {name: {} for name in columns}
    expected: dict[tuple[int, ...], tuple[dict[str, str], list[int]]] = {}
    for row in rows.tolist():
        cells = {name: table.column(name)[row].cast(pa.string()).as_py() for name in columns}
        place = tuple(
            numbers[name].setdefault(cell, len(numbers[name])) for name, cell in cells.items()
        )
        expected.setdefault(place, (cells, []))[1].append(row)
    found = [(values, part.tolist()) for values, part in index.partition(rows, columns)]
    assert found == [expected[place] for place in sorted(expected)]


def test_an_index_written_by_another_tool_may_use_wider_types() -> None:
    wide = pa.array([sample.key for sample in make_samples(4)], type=pa.large_string())
    assert SourceIndex(table_with(key=wide), "INDEX").sample(2) == make_samples(4)[2]


def test_rows_are_chosen_by_split_and_duration() -> None:
    index = read_index(
        samples_to_parquet(make_samples(12))
    )  # train train val test ..., 4 5 6 4 5 6 ... seconds
    assert index.rows(splits=["train"]).tolist() == [0, 1, 4, 5, 8, 9]
    assert index.rows(splits=["val", "test"]).tolist() == [2, 3, 6, 7, 10, 11]
    assert index.rows(splits=["train"], min_duration_s=5.0).tolist() == [1, 4, 5, 8]
    assert index.rows(splits=["train"], min_duration_s=7.0).tolist() == []


def test_rows_are_limited_by_numeric_columns() -> None:
    table = table_with(blur=pa.array([0.1, 0.5, 0.9, 0.5], type=pa.float64()))
    table = table.append_column("cluster", pa.array([3, 1, 2, 0]))
    index = SourceIndex(table.append_column("bad", pa.array([1, None, 2, 3])), "INDEX")
    splits = ("train", "val", "test")
    assert index.rows(splits=splits, limits={"blur": (0.1, 0.5)}).tolist() == [0, 1, 3]
    both = {"blur": (0.4, 1.0), "cluster": (1.0, 2.0)}
    assert index.rows(splits=splits, limits=both).tolist() == [1, 2]
    for column, message in (
        ("cluser", "INDEX has no column 'cluser', which the mixture limits; use one of bad, blur"),
        ("bad", "INDEX has rows without bad, which the mixture limits"),
        ("case", "the column case of INDEX has no numbers"),
    ):
        with pytest.raises(ShardError, match=message):
            index.rows(splits=splits, limits={column: (0.0, 1.0)})


def test_the_digest_of_rows_changes_with_their_choice_and_their_order() -> None:
    index = read_index(samples_to_parquet(make_samples(12)))
    digests = {
        index.rows_digest(np.array(rows)) for rows in ([0, 1, 2], [2, 1, 0], [0, 1], [0, 1, 3])
    }
    assert len(digests) == 4
    assert index.rows_digest(np.array([], dtype=np.int64)) not in digests


def test_an_index_without_rows_can_be_read() -> None:
    index = read_index(samples_to_parquet([]))
    assert index.num_rows == 0
    assert index.rows(splits=["train"]).tolist() == []


def test_missing_columns_are_named() -> None:
    with pytest.raises(ShardError, match=r"INDEX has no column sha256, fps"):
        SourceIndex(table_with(fps=None, sha256=None), "INDEX")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("duration_s", pa.array(["long", "short", "10", "4"])),
        ("mp4_offset", pa.array([0.5, 1.0, 2.0, 3.0])),
        ("key", pa.array([[1], [2], [3], [4]])),
        ("xxh3_64", pa.array([1, 2, -3, 4])),
        ("xxh3_64", pa.array(["1", "2", "f", "4"])),
    ],
)
def test_a_column_of_another_type_is_refused(column: str, values: pa.Array) -> None:
    with pytest.raises(ShardError, match="INDEX has a column of a wrong type"):
        SourceIndex(table_with(**{column: values}), "INDEX")


def test_a_row_without_a_value_is_refused() -> None:
    with pytest.raises(ShardError, match="INDEX has rows without sha256"):
        SourceIndex(table_with(sha256=pa.array(["0" * 64, None, "1" * 64, "2" * 64])), "INDEX")


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PK\x03\x04 a workbook", samples_to_parquet(make_samples(3))[:-100]]
)
def test_bytes_that_are_not_a_parquet_file_are_refused(data: bytes) -> None:
    with pytest.raises(ShardError, match="INDEX is not a valid parquet file"):
        read_parquet(data, "INDEX")


def test_a_flipped_bit_is_refused_or_harmless() -> None:
    samples = make_samples(30)
    data = samples_to_parquet(samples)
    chance, refused = random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(data)
        damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            index = read_index(bytes(damaged))
        except ShardError:
            refused += 1
            continue
        # A wrong number of rows is what `open_corpus` refuses. A changed name is that of a further
        # column: clips are then checked and decoded as without the column.
        lost = dict.fromkeys({*OPTIONAL_FIELDS} - {*index.table().column_names})
        harmless = [replace(sample, **lost) for sample in samples]
        assert index.num_rows != 30 or [index.sample(row) for row in range(30)] == harmless
    assert refused > 100


def test_labels_and_dropped_segments_read_back_sorted() -> None:
    labels = [
        VideoLabel(
            video=video,
            case="c",
            split="train",
            task="phase",
            start_s=start_s,
            end_s=9.0,
            value="x",
        )
        for video, start_s in (("b", 0.0), ("a", 5.0), ("a", 1.0))
    ]
    table = read_parquet(rows_to_parquet(VideoLabel, labels), "INDEX")
    assert [(row["video"], row["start_s"]) for row in table.to_pylist()] == [
        ("a", 1.0),
        ("a", 5.0),
        ("b", 0.0),
    ]
    dropped = [Dropped(video=CLIP.video, start_s=0.0, end_s=0.0, reason="truncated")]
    assert read_parquet(rows_to_parquet(Dropped, dropped), "INDEX").to_pylist() == [
        vars(dropped[0])
    ]
    assert sorted(
        rows_from_parquet(VideoLabel, rows_to_parquet(VideoLabel, labels), "INDEX"), key=repr
    ) == sorted(labels, key=repr)
    empty = read_parquet(rows_to_parquet(Dropped, []), "INDEX")
    assert (empty.num_rows, empty.column_names) == (0, ["video", "start_s", "end_s", "reason"])


def test_labels_without_a_column_or_a_value_are_refused() -> None:
    with pytest.raises(ShardError, match="INDEX has no column case, split, task, value; "):
        rows_from_parquet(VideoLabel, rows_to_parquet(Dropped, []), "INDEX")
    label = VideoLabel(
        video="v", case="c", split="train", task="phase", start_s=0.0, end_s=1.0, value="x"
    )
    table = read_parquet(rows_to_parquet(VideoLabel, [label]), "INDEX").drop_columns("value")
    buffer = io.BytesIO()
    parquet.write_table(table.append_column("value", pa.array([None], pa.string())), buffer)
    with pytest.raises(ShardError, match="INDEX has rows without value"):
        rows_from_parquet(VideoLabel, buffer.getvalue(), "INDEX")
