"""A corpus, a run and an evaluation whose names would do harm as HTML, addresses or paths."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from surgrec.runs import append_rows
from surgrec.shards import open_corpus
from tests.support.browse import write_playable_result
from tests.support.logged_runs import ROW, make_run

HOSTILE = "<script>hostile=1</script><img src=x onerror=hostile=1>\"'`${7*7}%2f..%22#?&=+\u202e"
"""Markup, quotes, escapes of addresses, and a mark that turns the text behind it."""
SHOWN = HOSTILE.replace("\u202e", "\\u202e")
"""The name as a page shows it."""
FOLDER = HOSTILE.replace("/", "") + "\n"
"""A name of a folder, with a line break."""
NO_UTF8 = os.fsdecode(b"\xff")
"""A byte in the name of a folder that is no text."""
LONG = HOSTILE + "w" * 600
COLUMN = f"{HOSTILE}column"


def write_hostile_subjects(folder: Path, corpus: Path) -> list[Path]:
    """Write the three into a folder, the corpus as a copy of another one. Return their paths."""
    copy = Path(shutil.copytree(corpus, folder / f"{FOLDER}corpus"))
    _rename_in_corpus(copy)
    values = {"loss_by_source": {HOSTILE: 0.5}, COLUMN: 1.5, "consumed": ROW["consumed"]}
    run = make_run(folder / f"{FOLDER}{NO_UTF8}run", copy, None, values=values)
    append_rows(run / "alarms.jsonl", [{"step": 3, "kind": HOSTILE, "text": HOSTILE}])
    result = write_playable_result(folder / f"{FOLDER}result", copy)
    _rename_in_result(result)
    return [copy, run, result]


def _rename_in_corpus(corpus: Path) -> None:
    path = corpus / "corpus.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for name, entry in content["sources"].items():
        entry["domain"] = entry["split_rule"] = HOSTILE
        tables = {kind: next((corpus / name).glob(f"{kind}*.parquet")) for kind in _TABLES}
        videos = sorted(set(parquet.read_table(tables["index"])["video"].to_pylist()))
        for kind, change in _TABLES.items():
            table = change(parquet.read_table(tables[kind]), videos)
            parquet.write_table(table, tables[kind])
    content["settings"][HOSTILE] = HOSTILE
    content["history"] = [_CHANGE]
    path.write_text(json.dumps(content), encoding="utf-8")


_CHANGE = {
    **{name: HOSTILE for name in ("at", "command", "source", "digest_before", "digest_after")},
    "videos_added": 1,
    "videos_removed": 0,
}


def _index(table: pa.Table, videos: list[str]) -> pa.Table:
    """Rename what the format allows, add a column, and make the first two clips copies."""
    rows = table.num_rows
    for name in ("domain", "procedure", "view", "license"):
        table = _replaced(table, name, [f"{HOSTILE}{name}"] * rows)
    table = _replaced(table, "case", [f"{LONG}{case}" for case in table["case"].to_pylist()])
    copies = [int(row < 2) for row in range(rows)]
    return table.append_column(COLUMN, pa.array([HOSTILE] * rows)).append_column(
        "duplicate_group", pa.array(copies, pa.int64())
    )


def _labels(table: pa.Table, videos: list[str]) -> pa.Table:
    return pa.table(
        {
            "video": videos,
            "task": [HOSTILE] * len(videos),
            "start_s": [0.0] * len(videos),
            "end_s": [3.0] * len(videos),
            "value": [LONG] * len(videos),
        }
    )


def _dropped(table: pa.Table, videos: list[str]) -> pa.Table:
    return pa.table(
        {
            "video": videos,
            "start_s": [3.0] * len(videos),
            "end_s": [4.0] * len(videos),
            "reason": [HOSTILE] * len(videos),
        }
    )


_TABLES: Mapping[str, Callable[[pa.Table, list[str]], pa.Table]] = {
    "index": _index,
    "labels": _labels,
    "dropped": _dropped,
}


def _rename_in_result(folder: Path) -> None:
    path = folder / "evaluation.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content |= {"task": HOSTILE, "protocol": HOSTILE, "overrides": [HOSTILE]}
    content["split"]["name"] = content["encoder"]["name"] = HOSTILE
    content["corpus"]["addresses"] = [HOSTILE]
    content["classifiers"] = {
        name: f"{HOSTILE}{text}" for name, text in content["classifiers"].items()
    }
    for each in content["classes"]:
        each["value"] = f"{LONG}{each['value']}"
    path.write_text(json.dumps(content), encoding="utf-8")

    predictions = folder / "predictions.parquet"
    table = parquet.read_table(predictions)
    for name, prefix in (("label", LONG), ("prediction", LONG), ("case", HOSTILE)):
        texts = [None if text is None else f"{prefix}{text}" for text in table[name].to_pylist()]
        table = _replaced(table, name, texts)
    parquet.write_table(table, predictions)


def _replaced(table: pa.Table, name: str, values: list[str | None]) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.array(values, table.schema.field(name).type))


def clips_with(corpus: Path, **values: str) -> int:
    """Return how many clips of a corpus have these values."""
    rows = [
        row
        for source in open_corpus(corpus).values()
        for row in source.index.table().select(list(values)).to_pylist()
    ]
    return sum(row == values for row in rows)
