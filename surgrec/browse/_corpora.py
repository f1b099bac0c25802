"""Corpora as pages show them: sizes, clips with their surroundings, dropped stretches."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from surgrec.browse._clip_table import ClipTable
from surgrec.browse._inside import check_inside
from surgrec.errors import ShardError
from surgrec.parquet import read_parquet
from surgrec.shards import CorpusFile, Sample, Source, open_corpus
from surgrec.shards.layout import (
    CORPUS_FILE,
    DROPPED_FILE,
    DUPLICATE_GROUP,
    INDEX_FILE,
    LABELS_FILE,
    table_name,
)
from surgrec.storage import RetryPolicy, Store, open_store

_POLICY = RetryPolicy(deadline_s=20.0)
"""Shorter than the default: a person waits for the page."""
_MOST_CLIPS, _MOST_LABELS, _MOST_COPIES = 5_000, 5_000, 50
"""Clips and labels of a video, and copies of a clip, that a page shows."""
_MOST_DROPPED = 200
"""Dropped segments of a page."""
_SEGMENT = pa.schema([("video", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())])
_COLUMNS = {
    LABELS_FILE: {*_SEGMENT, *pa.schema([("task", pa.string()), ("value", pa.string())])},
    DROPPED_FILE: {*_SEGMENT, pa.field("reason", pa.string())},
}
"""Columns of the tables that are read here."""


class BrowsedCorpus:
    """An opened corpus, and its tables as they are asked for.

    Args:
        address: A folder, or `s3://bucket/prefix`.

    Raises:
        ShardError: The address contains no corpus, or a damaged one.
        StorageError: The store does not answer.
        ConfigError: An index is a link that leads out of the corpus.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._store = open_store(address, policy=_POLICY)
        self._check_indexes()
        self.sources: dict[str, Source] = open_corpus(address, policy=_POLICY)
        self.clips = ClipTable(self.sources)
        self.columns = self.clips.columns()
        self._table = lru_cache(maxsize=64)(self._read_table)

    def overview(self) -> dict[str, Any]:
        """Return sizes, settings and history, for JSON."""
        self._check(CORPUS_FILE)
        content = CorpusFile.read(self._store) or CorpusFile()

        return {
            "address": self.address,
            "sources": [
                {
                    "source": name,
                    "domain": source.entry.domain,
                    "clips": source.entry.samples,
                    "videos": source.entry.videos,
                    "cases": source.entry.cases,
                    "hours": source.entry.hours,
                    "bytes": source.entry.bytes,
                    "shards": len(source.entry.shards),
                    "failed": source.entry.videos_failed,
                    "split_rule": source.entry.split_rule,
                }
                for name, source in self.sources.items()
            ],
            "settings": content.settings,
            "encoder": content.encoder,
            "history": content.history,
            "columns": self.columns,
            "left_out": self.clips.left_out,
        }

    def playable(self, number: int) -> tuple[Store, Sample]:
        """Return the store and the place of a clip's video.

        Raises:
            NotFoundError: There is no such clip.
            ConfigError: Its shard is a link that leads out of the corpus.
        """
        source, sample = self.clips.sample(number)
        self._check(f"{source.name}/{sample.shard}")
        return source.store, sample

    def clip(self, number: int) -> dict[str, Any]:
        """Return a clip with its surroundings in time: clips, labels and dropped segments.

        Raises:
            NotFoundError: There is no such clip.
            StorageError: The labels cannot be read.
        """
        source, sample = self.clips.sample(number)
        video = sample.clip.video
        values = dict(zip(self.clips.names, self.clips.cells([number])[0], strict=True))

        # The clips of the video, by time.
        rows = self.clips.rows_equal(source=source.name, video=video)
        starts = self.clips.column("start_s").take(pa.array(rows)).to_numpy()
        order = np.argsort(starts, kind="stable")
        rows, starts = rows[order], starts[order]
        place = int(np.flatnonzero(rows == number)[0])
        first = max(0, min(place - _MOST_CLIPS // 2, len(rows) - _MOST_CLIPS))
        shown = slice(first, first + _MOST_CLIPS)
        durations = self.clips.column("duration_s").take(pa.array(rows[shown])).to_numpy()

        labels = self._segments(source, LABELS_FILE, video)
        return {
            "number": number,
            "values": values,
            "clips": {
                "number": rows[shown].tolist(),
                "start_s": starts[shown].tolist(),
                "duration_s": durations.tolist(),
                "all": len(rows),
            },
            "labels": labels[:_MOST_LABELS],
            "labels_all": len(labels),
            "dropped": self._segments(source, DROPPED_FILE, video)[:_MOST_LABELS],
            "copies": self._copies(number, values),
        }

    def dropped(self, source: str, reason: str, offset: int) -> dict[str, Any]:
        """Return what curation dropped: sums by source and reason, and a page of segments.

        Args:
            source: Name of a source; empty: all.
            reason: A reason; empty: all.
            offset: First segment of the page.

        Raises:
            StorageError: A table cannot be read.
        """
        tables = [
            table.append_column("source", pa.array([name] * table.num_rows, pa.string()))
            for name, each in self.sources.items()
            if (table := self._table(name, DROPPED_FILE)).num_rows
        ]
        if not tables:
            return {"sums": [], "total": 0, "rows": [], "offset": 0, "page": _MOST_DROPPED}
        table = pa.concat_tables(tables)
        seconds = compute.subtract(table.column("end_s"), table.column("start_s"))
        table = table.append_column("seconds", seconds)
        sums = table.group_by(["source", "reason"]).aggregate(
            [("seconds", "sum"), ("seconds", "count")]
        )

        for column, value in (("source", source), ("reason", reason)):
            if value:
                table = table.filter(compute.equal(table.column(column), value))
        names = ["source", "video", "start_s", "end_s", "reason"]
        return {
            "sums": sums.sort_by([("seconds_sum", "descending")]).to_pylist(),
            "total": table.num_rows,
            "rows": table.select(names).slice(offset, _MOST_DROPPED).to_pylist(),
            "offset": offset,
            "page": _MOST_DROPPED,
        }

    def at(self, source: str, video: str, time_s: float) -> int | None:
        """Return the clip that shows a moment of a video; None: no clip does."""
        rows = self.clips.rows_equal(source=source, video=video)
        if not len(rows):
            return None
        starts, durations = (
            self.clips.column(name).take(pa.array(rows)).to_numpy()
            for name in ("start_s", "duration_s")
        )
        shows = (starts <= time_s + 1e-3) & (time_s <= starts + durations + 1e-3)
        return int(rows[np.argmax(shows)]) if shows.any() else None

    def _copies(self, number: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the other clips of the clip's duplicate group."""
        group = values.get(DUPLICATE_GROUP)
        if not isinstance(group, int) or not group:
            return []
        rows = self.clips.rows_equal(**{DUPLICATE_GROUP: group})
        rows = rows[rows != number][:_MOST_COPIES]
        return [
            {"number": row, "values": dict(zip(self.clips.names, cells, strict=True))}
            for row, cells in zip(rows.tolist(), self.clips.cells(rows), strict=True)
        ]

    def _segments(self, source: Source, table: str, video: str) -> list[dict[str, Any]]:
        rows = self._table(source.name, table)
        found = rows.filter(compute.equal(rows.column("video"), video))
        segments: list[dict[str, Any]] = found.sort_by("start_s").drop_columns("video").to_pylist()
        return segments

    def _check_indexes(self) -> None:
        self._check(CORPUS_FILE)
        content = CorpusFile.read(self._store) or CorpusFile()
        for name, entry in content.sources.items():
            self._check(f"{name}/{table_name(INDEX_FILE, entry.tables)}")

    def _check(self, name: str) -> None:
        """Refuse a file that lies outside a local corpus. An object store has no links."""
        if self._store.is_local:
            root = Path(self._store.address)
            check_inside(root, [root / name])

    def _read_table(self, source_name: str, table: str) -> pa.Table:
        """Return the columns of labels or dropped segments that are shown."""
        source = self.sources[source_name]
        name = f"{source.name}/{table_name(table, source.entry.tables)}"
        self._check(name)
        context = source.store.locate(name)
        found = read_parquet(source.store.read(name), context)
        wanted = pa.schema(sorted(_COLUMNS[table], key=lambda each: str(each.name)))
        missing = [each.name for each in wanted if each.name not in found.column_names]
        if missing:
            raise ShardError(
                f"{context} lacks the column {missing[0]}; copy the corpus or build it again"
            )
        return found.select(wanted.names).cast(wanted)
