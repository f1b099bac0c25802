"""An index is checked once, when it is opened: each kind of wrong row is one sentence."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from surgrec.errors import ShardError
from surgrec.shards import CorpusFile, open_corpus
from surgrec.shards.frame_clock import FrameClock
from surgrec.shards.layout import INDEX_FILE
from surgrec.storage import open_store
from tests.support.samples import make_clips, write_corpus
from tests.support.tool import refusal, run_here


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", {"alpha": make_clips(8)})


def change(root: Path, name: str, new: Callable[[list[Any]], Any]) -> None:
    """Replace the values of one column of the index."""
    path = root / "alpha" / INDEX_FILE
    table = parquet.read_table(io.BytesIO(path.read_bytes()))
    place = table.column_names.index(name)
    values = new(table.column(name).to_pylist())
    if not isinstance(values, pa.Array):
        values = pa.array(values, table.schema.field(name).type)
    parquet.write_table(table.set_column(place, name, values), path)


def second(value: object) -> Callable[[list[Any]], list[Any]]:
    """Return a function that replaces the second value of a list."""
    return lambda values: [values[0], value, *values[2:]]


def not_utf8(values: list[Any]) -> pa.Array:
    data = [value.encode() for value in values[:-1]] + [b"\xff\xfe"]
    return pa.Array.from_buffers(pa.string(), len(data), pa.array(data, pa.binary()).buffers())


WRONG: list[tuple[str, Callable[[list[Any]], Any], str]] = [
    ("size", second(2**62), r"size 4611686018427387904 in row 1, not 1 to"),
    ("size", second(0), r"size 0 in row 1"),
    ("offset", second(-512), r"in row 1 bytes -512 to"),
    ("offset", second(2**62), r"in row 1 bytes 4611686018427387904 to 46116860184273\d+ of the sh"),
    (
        "offset",
        second(10**12),
        r"row 1 bytes 1000000000000 to .* of the shard alpha-train-00000000",
    ),
    ("offset", lambda values: [0] * len(values), r"two samples that overlap at byte 0|outside"),
    ("mp4_size", second(10**12), r"an mp4 of 1000000000000 bytes"),
    ("mp4_size", second(-1), r"mp4_size -1 in row 1"),
    ("mp4_offset", second(0), r"an mp4 of \d+ bytes at 0, outside of its sample"),
    ("mp4_offset", second(2**63 - 1), r"an mp4 of \d+ bytes at 9223372036854775807, outside"),
    ("width", second(-5), r"width -5 in row 1, not 1 to 65536"),
    ("height", second(0), r"height 0 in row 1"),
    ("native_width", second(2**40), r"native_width 1099511627776"),
    ("num_frames", second(0), r"num_frames 0"),
    ("fps", second(0.0), r"fps 0\.0 in row 1"),
    ("fps", second(float("nan")), r"fps nan in row 1"),
    ("native_fps", second(float("inf")), r"native_fps inf"),
    ("duration_s", second(float("nan")), r"duration_s nan"),
    ("duration_s", second(float("inf")), r"duration_s inf"),
    ("duration_s", second(-1.0), r"duration_s -1\.0"),
    ("duration_s", second(1e300), r"duration_s 1e\+300"),
    ("start_s", second(float("-inf")), r"start_s -inf"),
    ("key", second("alpha_clip_é"), r"has a sample key with letters or a length that none has"),
    ("key", second("alpha_../x"), r"has a sample key with letters"),
    ("key", second(""), r"has a sample key with letters"),
    ("key", second("alpha_" + "0" * 90), r"has a sample key with letters or a length"),
    ("key", second("beta_0123456789ab_000010000"), r"key 'beta_0123456789ab_0000.*' in row 1, not"),
    ("key", lambda values: [values[0], *values[:-1]], r"the sample key 'alpha_.*_000000000' twice"),
    ("sha256", second("A" * 64), r"has a SHA-256 with letters"),
    ("sha256", second("0" * 63), r"has a SHA-256 with letters or a length"),
    ("split", second("training"), r"names the split 'training', not one of train, val, test"),
    ("source", second("beta"), r"is the index of the source 'beta', not of 'alpha'"),
    ("shard", second("alpha-train-00000009.tar"), r"which corpus\.json does not list"),
    ("shard", second("alpha-train-00000001.tar"), r"has 3 rows of alpha-train-00000000\.tar, but"),
    ("video", second("../../../PWN"), r"has a video with letters or a length that none has"),
    ("video", second("0123456789a"), r"has a video with letters or a length"),
    ("video", second("0123456789a\0"), r"has a video with letters"),
    ("video", second("0123456789a\n"), r"has a video with letters"),
    ("video", second("0" * 10**7), r"has a video with letters or a length"),
    ("case", second(""), r"has a case of 0 bytes in row 1, not 1 to 1000"),
    ("case", second("x" * 10**7), r"has a case of 10000000 bytes in row 1"),
    ("case", second("a\0b"), r"has the case 'a\\x00b', which has a control character"),
    ("case", second("a\nb"), r"has the case 'a\\nb', which"),
    ("case", second("a\x9bb"), r"has the case 'a\\x9bb', which"),
    ("case", second("a\u2028b"), r"has the case 'a\\u2028b', which"),
    ("num_frames", second(2**39), r"in row 1 549755813888 frames, but .* rate give 80\.0"),
    ("num_frames", second(78), r"in row 1 78 frames, but its duration and rate give 80\.0"),
    ("duration_s", second(20.0), r"in row 1 80 frames, but its duration and rate give 160\.0"),
    ("case", not_utf8, r"has a case that is not UTF-8"),
    ("split", not_utf8, r"has a split that is not UTF-8"),
    ("key", not_utf8, r"has a sample key with letters"),
]


@pytest.mark.parametrize(("column", "new", "sentence"), WRONG, ids=[row[2] for row in WRONG])
def test_a_wrong_row_is_refused_with_its_value(
    root: Path, column: str, new: Callable[[list[Any]], Any], sentence: str
) -> None:
    change(root, column, new)
    with pytest.raises(ShardError, match=rf"^{root}/alpha/index\.parquet .*{sentence}"):
        open_corpus(root)


@pytest.mark.parametrize(
    ("timescale", "ticks", "sentence"),
    [
        (16_384, None, "in row 1 only one of timescale and frame_ticks"),
        (16_384, 1024, "in row 1 the clock 16384 / 1024, but its rate is 8"),
        (0, 0, "in row 1 the clock 0 / 0"),
        (-8, -1, "in row 1 the clock -8 / -1"),
        (1 << 33, 1 << 30, "in row 1 the clock 8589934592 / 1073741824"),
    ],
)
def test_a_clock_has_the_rate_of_its_clip(
    root: Path, timescale: int, ticks: int | None, sentence: str
) -> None:
    for column, value in (("timescale", 16_384), ("frame_ticks", 2048)):
        change(root, column, lambda values, value=value: [None, value, *values[2:]])
    clocks = [open_corpus(root)["alpha"].index.sample(row).clock for row in (0, 1)]
    assert clocks == [None, FrameClock(16_384, 2048)]

    change(root, "timescale", second(timescale))
    change(root, "frame_ticks", second(ticks))
    with pytest.raises(ShardError, match=sentence):
        open_corpus(root)


def test_scores_of_a_model_have_any_sign_but_are_numbers(tmp_path: Path) -> None:
    clips = [replace(clip, model_score=-3.5) for clip in make_clips(8)]
    root = write_corpus(tmp_path / "corpus", {"alpha": clips})
    assert open_corpus(root)["alpha"].index.sample(1).clip.model_score == -3.5
    for wrong, told in ((float("nan"), "model_score nan in row 1"), (None, "without model_score")):
        change(root, "model_score", second(wrong))
        with pytest.raises(ShardError, match=told):
            open_corpus(root)
    change(root, "model_score", lambda values: pa.array(["high"] * len(values)))
    with pytest.raises(ShardError, match="wrong type"):
        open_corpus(root)


@pytest.mark.parametrize("case", ["症例　1", "Müller/3", "a b", "x" * 1000, "👩‍⚕️", "../case"])
def test_a_case_may_have_any_letters(root: Path, case: str) -> None:
    change(root, "case", second(case))
    assert open_corpus(root)["alpha"].index.sample(1).clip.case == case


def test_rounded_durations_and_rates_agree_with_frames(root: Path) -> None:
    change(root, "fps", second(7.992))
    change(root, "num_frames", second(79))
    assert open_corpus(root)["alpha"].index.sample(1).clip.num_frames == 79


def test_verify_refuses_samples_that_overlap(root: Path) -> None:
    change(root, "offset", lambda values: [values[0], values[0], *values[2:]])
    change(root, "mp4_offset", lambda values: [values[0], values[0], *values[2:]])
    assert "two samples that overlap at byte 0 of" in refusal(run_here("verify", root))


def test_a_row_of_another_order_is_right(root: Path) -> None:
    path = root / "alpha" / INDEX_FILE
    table = parquet.read_table(io.BytesIO(path.read_bytes()))
    keys = table.column("key").to_pylist()
    parquet.write_table(table.take([5, 2, 7, 0, 1, 6, 3, 4]), path)
    index = open_corpus(root)["alpha"].index
    assert [index.key(row) for row in range(8)] == [keys[row] for row in (5, 2, 7, 0, 1, 6, 3, 4)]


def test_clips_may_be_withdrawn_from_an_index(root: Path) -> None:
    path = root / "alpha" / INDEX_FILE
    table = parquet.read_table(io.BytesIO(path.read_bytes()))
    parquet.write_table(table.take([0, 1, 3, 4, 5, 6, 7]), path)
    store = open_store(root)
    corpus = CorpusFile.read(store)
    assert corpus is not None
    entry = corpus.sources["alpha"]
    shards = [replace(entry.shards[0], samples=3), *entry.shards[1:]]
    entry = replace(entry, samples=7, shards=shards)
    replace(corpus, sources={"alpha": entry}).write(store)
    assert open_corpus(root)["alpha"].index.num_rows == 7


def test_a_small_file_with_many_rows_is_refused_before_they_are_decoded(root: Path) -> None:
    path = root / "alpha" / INDEX_FILE
    table = parquet.read_table(io.BytesIO(path.read_bytes())).slice(0, 1)
    many = pa.concat_tables([table] * 2000).combine_chunks()
    many = pa.concat_tables([many] * 100).combine_chunks()
    parquet.write_table(many, path, compression="zstd")
    with pytest.raises(ShardError, match=r"has 200000 rows in \d+ bytes, more than a true one"):
        open_corpus(root)
