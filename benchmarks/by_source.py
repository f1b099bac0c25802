"""Divide results of `surgrec evaluate` by the source of their test windows.

    .venv/bin/python -m benchmarks.by_source RESULT OUT

OUT/SOURCE has the predictions of one source. `surgrec compare` computes its numbers from
predictions, so it then compares encoders within a source. The probes learned from all sources.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from pyarrow import parquet

from surgrec.errors import ConfigError
from surgrec.json_files import read_json


def main(result: Path, out: Path) -> None:
    """Write one result folder per source."""
    path = result / "evaluation.json"
    found = read_json(path, dict[str, Any], error=ConfigError, remedy="evaluate again")
    predictions = parquet.read_table(result / "predictions.parquet")
    for source in pc.unique(predictions["source"]).to_pylist():
        folder = out / source
        folder.mkdir(parents=True, exist_ok=True)
        rows = predictions.filter(pc.equal(predictions["source"], source))
        parquet.write_table(rows, folder / "predictions.parquet")
        # Without the groups of all cases, each case is a unit.
        kept = {name: value for name, value in found.items() if name != "units"}
        part = kept | {"split": found["split"] | {"name": source}}
        (folder / "evaluation.json").write_text(json.dumps(part), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
