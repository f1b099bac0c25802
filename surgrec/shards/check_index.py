"""The one validation of an opened index: a row that passes can be read, planned and decoded.

It is vectorized: ten million rows take seconds (`benchmarks/index.py`).
"""

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64, UInt8
from pyarrow import compute

from surgrec.errors import ShardError
from surgrec.manifest import CASE_BYTES, CONTROL_CHARACTERS, SPLITS
from surgrec.shards._corpus_file import SourceEntry
from surgrec.shards.layout import SCORE, is_shard_name

_MOST_BYTES = 1 << 50
_MOST_PIXELS = 1 << 16
_MOST_SECONDS = 1e7
_KEY_BYTES = 95
_KEY_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_VIDEO_BYTES = 12
_ROUNDING = 1e-3
"""Largest share of its frames by which a clip may differ from its duration and rate."""
_MOST_TICKS = (1 << 32) - 1
_PART_BYTES = 16 << 20
_HEX = b"0123456789abcdef"
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("size", 1, _MOST_BYTES),
    ("mp4_size", 1, _MOST_BYTES),
    ("num_frames", 1, 1 << 40),
    ("width", 1, _MOST_PIXELS),
    ("height", 1, _MOST_PIXELS),
    ("native_width", 1, _MOST_PIXELS),
    ("native_height", 1, _MOST_PIXELS),
    ("start_s", 0, _MOST_SECONDS),
    ("duration_s", 1e-6, _MOST_SECONDS),
    ("fps", 1e-6, 1e6),
    ("native_fps", 1e-6, 1e6),
    ("blur", 0, 1),
    ("brightness", 0, 1),
    ("motion", 0, 1),
)
"""Least and most of each number. No clip comes near the upper ones."""
_SCORE_BOUNDS = ((SCORE, -sys.float_info.max, sys.float_info.max),)

_TEXTS = (
    *("source", "domain", "procedure", "case", "video", "view"),
    *("split", "crop", "license", "config", "shard"),
)


def check_index(
    column: Callable[[str], Any],
    name: str,
    entry: SourceEntry,
    context: str,
    *,
    has_scores: bool = False,
    has_clocks: bool = False,
) -> None:
    """Check that the rows of an index describe samples of the listed shards.

    Byte ranges lie within their shard and do not overlap; numbers are finite and in their range;
    keys are valid and unique; the shards, their splits and their numbers of samples are those of
    `corpus.json`.

    Args:
        column: Returns a column of the format as one Arrow array without nulls.
        name: Name of the source.
        entry: Its entry in `corpus.json`.
        context: Address of the index, for messages.
        has_scores: The index has the column `model_score`.
        has_clocks: The index has the columns `timescale` and `frame_ticks`, which may have nulls.

    Raises:
        ShardError: A row breaks the format. The message names the first such row and its value.
    """
    problems = _problems(column, name, entry, has_scores)
    for problem in chain(problems, _clock_problems(column) if has_clocks else ()):
        raise ShardError(
            f"{context} {problem}; undo a renaming, copy the index and corpus.json again, or "
            "build the corpus again"
        )


def _problems(
    column: Callable[[str], Any], name: str, entry: SourceEntry, has_scores: bool
) -> Iterator[str]:
    yield from _text_problems(column, name)

    # NaN fails, as it is neither above nor below a number.
    for numeric, least, most in (*_BOUNDS, *(_SCORE_BOUNDS if has_scores else ())):
        values = column(numeric).to_numpy()
        is_wrong = ~((values >= least) & (values <= most))
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            yield f"has {numeric} {values[row]} in row {row}, not {least:g} to {most:g}"
            return

    # Writers round rates and durations.
    frames = column("num_frames").to_numpy()
    expected = column("duration_s").to_numpy() * column("fps").to_numpy()
    yield from _first(
        np.abs(frames - expected) > 1 + _ROUNDING * expected,
        lambda row: f"{frames[row]} frames, but its duration and rate give {expected[row]:.1f}",
    )
    yield from _range_problems(column, entry)


def _clock_problems(column: Callable[[str], Any]) -> Iterator[str]:
    """Check that the clocks of clips have the rate of their frames."""
    timescale, ticks = (column(each) for each in ("timescale", "frame_ticks"))
    is_known = timescale.is_valid().to_numpy(zero_copy_only=False)
    yield from _first(
        is_known != ticks.is_valid().to_numpy(zero_copy_only=False),
        lambda row: "only one of timescale and frame_ticks",
    )

    # Integers stay integers: Arrow makes floats of those with nulls.
    timescales, frame_ticks = (
        each.fill_null(1).to_numpy(zero_copy_only=False) for each in (timescale, ticks)
    )
    rates = column("fps").to_numpy()
    is_wrong = (timescales < 1) | (timescales > _MOST_TICKS)
    is_wrong |= (frame_ticks < 1) | (frame_ticks > _MOST_TICKS)
    is_wrong |= np.abs(timescales - rates * frame_ticks) > _ROUNDING * rates * frame_ticks
    yield from _first(
        is_wrong & is_known,
        lambda row: (
            f"the clock {timescales[row]} / {frame_ticks[row]}, but its rate is {rates[row]:g}"
        ),
    )


def _text_problems(column: Callable[[str], Any], name: str) -> Iterator[str]:
    """Check keys and digests by their letters, and all other texts for their encoding."""
    for text in _TEXTS:
        try:
            column(text).validate(full=True)
        except pa.ArrowInvalid:
            yield f"has a {text} that is not UTF-8"
            return

    others = set(column("source").unique().to_pylist()) - {name}
    if others:
        yield f"is the index of the source {others.pop()!r}, not of {name!r}"
        return

    keys = column("key")
    for what, array, letters, shortest, longest in (
        ("a sample key", keys, _KEY_LETTERS, 1, _KEY_BYTES),
        ("a SHA-256", column("sha256"), _HEX, 64, 64),
        ("a video", column("video"), _HEX, _VIDEO_BYTES, _VIDEO_BYTES),
    ):
        ends, data = text_buffers(array)
        lengths = np.diff(ends)
        is_wrong = (lengths < shortest) | (lengths > longest)
        if is_wrong.any() or _has_other(data[ends[0] : ends[-1]], letters):
            yield f"has {what} with letters or a length that none has"
            return

    yield from _case_problems(column("case"))
    if not compute.all(compute.starts_with(keys, f"{name}_")).as_py() and len(keys):
        row = compute.index(compute.starts_with(keys, f"{name}_"), False).as_py()
        yield f"has the sample key {keys[row].as_py()!r} in row {row}, not one of {name}"
    if compute.count_distinct(keys).as_py() != len(keys):
        counts = compute.value_counts(keys)
        twice = counts.filter(compute.greater(counts.field("counts"), 1))[0]["values"].as_py()
        yield f"has the sample key {twice!r} twice"


def _case_problems(cases: pa.StringArray) -> Iterator[str]:
    """Check that each case is one line of text: a public one has any letters."""
    ends, data = text_buffers(cases)
    lengths = np.diff(ends)
    is_wrong = (lengths < 1) | (lengths > CASE_BYTES)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        yield f"has a case of {lengths[row]} bytes in row {row}, not 1 to {CASE_BYTES}"
        return

    # Pseudonyms need no search: it is slow, and no letter of theirs is a control character.
    if not _has_other(data[ends[0] : ends[-1]], _HEX):
        return
    names = cases.unique()
    wrong = names.filter(compute.match_substring_regex(names, CONTROL_CHARACTERS))
    if len(wrong):
        yield f"has the case {wrong[0].as_py()!r:.80}, which has a control character"


def _has_other(data: UInt8[np.ndarray, " n"], letters: bytes) -> bool:
    parts = (data[start : start + _PART_BYTES] for start in range(0, len(data), _PART_BYTES))
    return any(part.tobytes().translate(None, letters) for part in parts)


def _range_problems(column: Callable[[str], Any], entry: SourceEntry) -> Iterator[str]:
    """Check shards, splits and byte ranges."""
    shards, splits = (column(each).dictionary_encode() for each in ("shard", "split"))
    shard_names = shards.dictionary.to_pylist()
    listed = {shard.name: shard for shard in entry.shards}

    invalid = [each for each in shard_names if not is_shard_name(each)]
    if invalid:
        yield f"names the shard {invalid[0]!r}, an invalid name"
        return
    unlisted = sorted(set(shard_names) - set(listed))
    if unlisted:
        yield f"names the shard {unlisted[0]!r}, which corpus.json does not list"
        return
    unknown = sorted(set(splits.dictionary.to_pylist()) - set(SPLITS))
    if unknown:
        yield f"names the split {unknown[0]!r}, not one of {', '.join(SPLITS)}"
        return

    shard_of_row = shards.indices.to_numpy()
    rows_by_shard = np.bincount(shard_of_row, minlength=len(shard_names)).tolist()
    counts = dict(zip(shard_names, rows_by_shard, strict=True))
    for shard in entry.shards:
        if counts.get(shard.name, 0) != shard.samples:
            yield (
                f"has {counts.get(shard.name, 0)} rows of {shard.name}, but corpus.json lists "
                f"{shard.samples} samples in it"
            )
            return

    # Byte ranges: the mp4 within its sample, the sample within its shard, the samples apart.
    offset, size, mp4_offset, mp4_size = (
        column(each).to_numpy() for each in ("offset", "size", "mp4_offset", "mp4_size")
    )
    end_of_shard = np.array([min(listed[each].bytes, _MOST_BYTES) for each in shard_names] or [0])
    limit = end_of_shard[shard_of_row] if len(offset) else offset
    yield from _first(
        (offset < 0) | (offset > limit - size),
        lambda row: (
            f"bytes {offset[row]} to {int(offset[row]) + int(size[row])} of the shard "
            f"{shard_names[shard_of_row[row]]}, which has {limit[row]} bytes"
        ),
    )
    yield from _first(
        (mp4_offset < offset) | (mp4_offset > offset + size - mp4_size),
        lambda row: (
            f"an mp4 of {mp4_size[row]} bytes at {mp4_offset[row]}, outside of its sample of "
            f"{size[row]} bytes at {offset[row]}"
        ),
    )
    yield from _overlaps(shard_of_row.astype(np.int64), offset, size, shard_names)


def _overlaps(
    shard: Int64[np.ndarray, " n"],
    offset: Int64[np.ndarray, " n"],
    size: Int64[np.ndarray, " n"],
    shard_names: list[str],
) -> Iterator[str]:
    # Rows are sorted by shard and offset, unless another tool has sorted them again.
    same = shard[1:] == shard[:-1]
    is_sorted = (shard[1:] >= shard[:-1]).all() and (~same | (offset[1:] >= offset[:-1])).all()
    order = slice(None) if is_sorted else np.lexsort((offset, shard))
    shard, offset, size = shard[order], offset[order], size[order]

    is_overlap = (shard[1:] == shard[:-1]) & (offset[1:] < offset[:-1] + size[:-1])
    if is_overlap.any():
        place = int(np.argmax(is_overlap))
        name = shard_names[shard[place]]
        yield f"has two samples that overlap at byte {offset[place + 1]} of {name}"


def _first(is_wrong: Bool[np.ndarray, " n"], describe: Callable[[int], str]) -> Iterator[str]:
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        yield f"has in row {row} {describe(row)}"


def text_buffers(
    array: pa.StringArray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the texts of an Arrow array, and their bytes, without a copy.

    Text `i` is the bytes `[ends[i], ends[i + 1])`.
    """
    offsets, characters = array.buffers()[1:]
    if not len(array):
        return np.zeros(1, dtype=np.int32), np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return ends, np.frombuffer(characters or b"", dtype=np.uint8)
