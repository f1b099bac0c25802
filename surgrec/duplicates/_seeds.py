"""Seeds: pairs of similar hashes among millions, found by sorting.

Hashes that differ in few bits often share the first bits of a word. Each table sorts all hashes by
another word or rotation, and compares a hash with its neighbors there. Time and memory are bounded,
however alike the pictures are; a pair is found with a probability that falls with its distance. A
copy has many seconds, and a few of its pairs suffice.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64, UInt64

from surgrec.duplicates._hash import Hashes, distances

TABLES = 16
"""Words and rotations that hashes are sorted by."""
_NEIGHBORS = 6
"""Hashes to each side that a hash is compared with."""
_WORD_BITS = 15
"""Most different bits of the sorted word; the others are read only then."""
_CHUNK = 1 << 17

Rows = Int64[np.ndarray, " _"]


def find_seeds(
    queries: Hashes,
    references: Hashes,
    table: int,
    *,
    most_bits: int,
    owners: tuple[Rows, Rows] | None = None,
) -> tuple[Rows, Rows]:
    """Return rows of queries and of references that form similar pairs in one table.

    Args:
        queries: Any number of hashes.
        references: The hashes to find them among.
        table: 0 to `TABLES` - 1.
        most_bits: Most bits in which a pair differs.
        owners: The videos of the queries and of the references; pairs of one video are left out.
    """
    if not len(queries) or not len(references):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    keys = _keys(references, table)
    order = np.argsort(keys)
    keys, sorted_references = keys[order], references[order]

    found = [
        (rows[is_similar], order[neighbors[is_similar]])
        for rows, neighbors in _neighbors(_keys(queries, table), keys)
        for is_similar in [
            (distances(queries[rows], sorted_references[neighbors]) <= most_bits)
            & (owners is None or owners[0][rows] != owners[1][order[neighbors]])
        ]
    ]
    query_rows, reference_rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return query_rows.astype(np.int64), reference_rows.astype(np.int64)


def _neighbors(
    query_keys: UInt64[np.ndarray, " q"], keys: UInt64[np.ndarray, " r"]
) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows of queries with the positions of near neighbors among sorted keys."""
    query_order = np.argsort(query_keys)
    sorted_queries = query_keys[query_order]
    for start in range(0, len(query_order), _CHUNK):
        rows = query_order[start : start + _CHUNK]
        wanted = sorted_queries[start : start + _CHUNK]
        place = np.searchsorted(keys, wanted)
        for step in range(-_NEIGHBORS, _NEIGHBORS + 1):
            position = np.clip(place + step, 0, len(keys) - 1)
            is_near = np.bitwise_count(keys[position] ^ wanted) <= _WORD_BITS
            yield rows[is_near], position[is_near]


def _keys(hashes: Hashes, table: int) -> UInt64[np.ndarray, " n"]:
    """Return one word of each hash, rotated."""
    word = np.ascontiguousarray(hashes[:, table % 4])
    turn = np.uint64(16 * (table // 4))
    return word if not turn else (word << turn) | (word >> (np.uint64(64) - turn))
