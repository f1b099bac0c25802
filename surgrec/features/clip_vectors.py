"""One vector per stored clip, from the features of a corpus: the mean of its windows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64, Int64
from pyarrow import compute

from surgrec.errors import CheckpointError, ConfigError
from surgrec.features._files import read_values
from surgrec.features._table import read_window_table
from surgrec.shards import Source
from surgrec.text import counted

Rows = Int64[np.ndarray, " n"]


def clip_vectors(
    folder: Path, sources: Mapping[str, Source], rows: Mapping[str, Rows]
) -> Iterator[Float32[np.ndarray, "n d"]]:
    """Yield the mean feature of the windows of each clip, each window at unit length, by source.

    A window belongs to the clip in which its middle lies.

    Args:
        folder: Features of the corpus, by `surgrec features`.
        sources: The sources of the corpus.
        rows: Rows of their indexes, at least one each: the clips. Decides the order of sources.

    Raises:
        MissingError: The folder has no finished features.
        ConfigError: A clip has no window.
        CheckpointError: A file of the folder is damaged.
    """
    table = read_window_table(folder)
    for name, own in rows.items():
        windows = table.filter(compute.equal(table.column("source"), name))
        yield _vectors_of_source(folder, windows, sources[name], own)


def _vectors_of_source(
    folder: Path, table: pa.Table, source: Source, rows: Rows
) -> Float32[np.ndarray, "n d"]:
    """Return the vectors of clips of one source, from the table of its windows."""
    columns = source.index.column
    videos = columns("video").take(pa.array(rows)).dictionary_encode()
    starts_s, durations_s = (columns(name).to_numpy()[rows] for name in ("start_s", "duration_s"))

    # The clips of each video, by time.
    by_time = np.lexsort((starts_s, np.asarray(videos.indices)))
    ends = np.cumsum(np.bincount(videos.indices, minlength=len(videos.dictionary)))
    clips_of = dict(zip(videos.dictionary.to_pylist(), np.split(by_time, ends[:-1]), strict=True))

    sums: Float32[np.ndarray, "n d"] | None = None
    counts = np.zeros(len(rows), dtype=np.int64)
    for windows in _windows_by_file(folder, table):
        clips = clips_of.get(windows.video)
        if clips is None:
            continue
        if sums is None:
            sums = np.zeros((len(rows), windows.features.shape[1]), dtype=np.float32)
        last = np.searchsorted(starts_s[clips], windows.middles_s, side="right") - 1
        clip = clips[last]
        ends_s = starts_s[clip] + durations_s[clip]
        is_inside = (last >= 0) & (windows.middles_s < ends_s)
        np.add.at(sums, clip[is_inside], windows.features[is_inside])
        np.add.at(counts, clip[is_inside], 1)

    if sums is None or not counts.all():
        raise ConfigError(
            f"{int((counts == 0).sum())} of {counted(len(rows), 'clip')} of {source.name} have no "
            f"window in {folder}; extract the features of the whole corpus, with a --stride_s of "
            "at most half of the shortest clip"
        )
    sums /= counts[:, None].astype(np.float32)
    return sums


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """The windows of one file, which are of one video."""

    video: str
    middles_s: Float64[np.ndarray, " w"]
    features: Float32[np.ndarray, "w d"]
    """At unit length."""


def _windows_by_file(folder: Path, table: pa.Table) -> Iterator[_Windows]:
    table = table.sort_by("file")
    files = table.column("file").combine_chunks().dictionary_encode()
    firsts = np.flatnonzero(np.diff(np.asarray(files.indices), prepend=-1)).tolist()

    # A file of features is read once, for all of its windows.
    for first, end in zip(firsts, [*firsts[1:], len(table)], strict=True):
        part = table.slice(first, end - first)
        path = folder / part.column("file")[0].as_py()
        values, taken = read_values(path).numpy(), part.column("row").to_numpy()
        if taken.min() < 0 or taken.max() >= len(values):
            raise CheckpointError(
                f"{path} has {counted(len(values), 'feature')}, but the table of windows asks for "
                f"row {taken.max()}; remove the folder and extract the features again"
            )

        features = values[taken]
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        yield _Windows(
            video=part.column("video")[0].as_py(),
            middles_s=(part.column("start_s").to_numpy() + part.column("end_s").to_numpy()) / 2,
            features=features / np.maximum(lengths, np.finfo(np.float32).tiny),
        )
