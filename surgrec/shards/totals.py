"""The totals of a source in `corpus.json`, which its index and its shards decide."""

import hashlib
import math
from collections.abc import Sequence
from typing import TypedDict

import pyarrow as pa

from surgrec.shards._write import Shard

_KEPT = ("key", "sha256", "duration_s")
_DIGESTED_ROWS = 1 << 17


class SourceTotals(TypedDict):
    """The part of `SourceEntry` that the index and the shards decide."""

    domain: str
    samples: int
    videos: int
    cases: int
    hours: float
    bytes: int
    digest: str


class IndexCount:
    """Counts the rows of an index, table by table. It keeps about 120 bytes of each row."""

    def __init__(self) -> None:
        self._domain = ""
        self._videos: set[str] = set()
        self._cases: set[str] = set()
        self._rows: list[pa.Table] = []

    def add(self, table: pa.Table) -> pa.Table:
        """Count the rows of a table of the index, which may be empty. Return the table."""
        if table.num_rows:
            self._domain = self._domain or table.column("domain")[0].as_py()
        self._videos.update(table.column("video").unique().to_pylist())
        self._cases.update(table.column("case").unique().to_pylist())
        self._rows.append(table.select(_KEPT))
        return table

    def totals(self, shards: Sequence[Shard]) -> SourceTotals:
        """Return what `corpus.json` lists of the counted rows and of the shards of their source."""
        rows = pa.concat_tables(self._rows)
        seconds = math.fsum(rows.column("duration_s").to_numpy())
        return SourceTotals(
            domain=self._domain,
            samples=rows.num_rows,
            videos=len(self._videos),
            cases=len(self._cases),
            hours=round(seconds / 3600, 6),
            bytes=sum(shard.bytes for shard in shards),
            digest=_digest(rows),
        )


def _digest(rows: pa.Table) -> str:
    """Return the `source_digest` of the rows of a table."""
    ordered = rows.select(["key", "sha256"]).sort_by([("key", "ascending")])
    digest = hashlib.sha256()
    for part in ordered.to_batches(max_chunksize=_DIGESTED_ROWS):
        lines = zip(*(column.to_pylist() for column in part.columns), strict=True)
        digest.update("".join(f"{key} {sha256}\n" for key, sha256 in lines).encode("ascii"))
    return digest.hexdigest()
