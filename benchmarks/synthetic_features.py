"""Features of a made-up corpus, in the format of `surgrec features`: one window per clip."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from benchmarks.clusters import made_vectors
from surgrec.features import WindowRow
from surgrec.parquet import parquet_bytes, row_schema
from surgrec.shards import Source, open_corpus

_HEADER = {"settings": {}, "digest": "", "made_by": {}, "failed": []}


def write_features(root: Path, folder: Path, width: int) -> None:
    """Write features of all clips of a corpus, around directions that are used unequally.

    Args:
        root: The corpus.
        folder: Folder of the features.
        width: Dimensions.
    """
    tables = []
    for number, source in enumerate(open_corpus(root).values()):
        vectors = made_vectors(len(source.index.column("key")), width, number)
        tables.append(_write_source(source, vectors, folder))
    (folder / "windows.parquet").write_bytes(parquet_bytes(pa.concat_tables(tables)))
    (folder / "features.json").write_text(json.dumps({"format": 1, "failed": []}))


def _write_source(source: Source, vectors: np.ndarray, folder: Path) -> pa.Table:
    """Write a file for each video of a source, and return the rows of its windows."""
    (folder / source.name).mkdir(parents=True)
    column = source.index.column
    starts_s = column("start_s").to_numpy()
    videos = column("video").dictionary_encode()
    codes = np.asarray(videos.indices)
    order = np.lexsort((starts_s, codes))
    files, firsts = np.unique(codes[order], return_index=True)
    names = videos.dictionary.take(pa.array(files)).to_pylist()
    header = json.dumps({"format": "surgrec-features-1", **_HEADER})
    for name, rows in zip(names, np.split(order, firsts[1:]), strict=True):
        tensors = {"features": vectors[rows], "start_s": starts_s[rows]}
        save_file(
            tensors, folder / source.name / f"{name}.safetensors", metadata={"surgrec": header}
        )

    clips = {
        name: column(name).take(pa.array(order)) for name in ("source", "domain", "case", "split")
    }
    places = np.arange(len(order)) - np.repeat(firsts, np.diff([*firsts, len(order)]))
    files_of_rows = [f"{source.name}/{names[code]}.safetensors" for code in codes[order]]
    return (
        pa.table(
            {
                **clips,
                "video": column("video").take(pa.array(order)),
                "start_s": starts_s[order],
                "end_s": starts_s[order] + column("duration_s").to_numpy()[order],
                "file": files_of_rows,
                "row": places,
            }
        )
        .select(row_schema(WindowRow).names)
        .cast(row_schema(WindowRow))
    )
