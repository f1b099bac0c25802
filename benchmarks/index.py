"""Ten million clips: time and memory to open their index and plan batches, also in workers."""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contenders.memory_use import tree_anonymous_mb, tree_pss_mb
from synthetic_index import write_synthetic

from surgrec.cli import parse
from surgrec.shards import open_corpus
from surgrec.shards.check_index import check_index
from surgrec.shards.layout import CLIP_FIELDS, LOCATION_FIELDS, Clip, Sample
from surgrec.stream import Draw, Level, Mixture, Stream

PARTS = (0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.007, 0.003)
"""Shares of the rows, by source."""
BATCH = 3072


@dataclass(frozen=True, kw_only=True)
class Index:
    """Amount of work."""

    folder: Path
    """Folder of the index and its cache: 7 GB for ten million rows, made once."""
    rows: int = 10_000_000
    """Clips in all sources together."""
    rounds: int = 5
    """Times that the index is opened."""
    workers: int = 4
    """Forked processes that also plan."""
    clusters: bool = False
    """The index has three columns of clusters, and the coarsest one is a level of the mixture."""


def main(config: Index) -> None:
    """Measure and print."""
    kind = "clusters" if config.clusters else "index"
    corpus = config.folder / f"{kind}-{config.rows}"
    os.environ["SURGREC_CACHE"] = str(config.folder / "index-cache")
    if not (corpus / "corpus.json").exists():
        sizes = [round(config.rows * part) for part in PARTS]
        write_synthetic(corpus, sizes, clusters=(5000, 500, 50) if config.clusters else ())
    first = _in_a_process(corpus, config.workers)
    print(f"the first time, which may have made the cache: {first['open_s']:.2f} s")

    rounds = [_in_a_process(corpus, config.workers) for _ in range(config.rounds)]
    for figure in rounds[0]:
        values = [figures[figure] for figures in rounds]
        print(f"{figure}: {statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})")


def _in_a_process(corpus: Path, workers: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__)), "--measure", str(corpus), str(workers)]
    return dict(
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    )


def measure(corpus: Path, workers: int) -> dict[str, float]:
    """Open the index, plan a batch, and let forked workers plan others.

    Touched pages of the mapped index count in the proportional set size, but belong to the page
    cache: one copy for all processes of the machine, dropped under memory pressure. Anonymous
    memory is really used.
    """
    start, start_cpu = time.perf_counter(), time.process_time()
    sources = open_corpus([corpus])
    figures = {
        "open_s": time.perf_counter() - start,
        "open_processor_s": time.process_time() - start_cpu,
        "anonymous_mb": tree_anonymous_mb(),
    }

    start = time.perf_counter()
    is_clustered = "cluster_3" in next(iter(sources.values())).index.table().column_names
    levels = [*Mixture().levels, *([Level(by="cluster_3", alpha=0.0)] if is_clustered else [])]
    stream = Stream(sources, Mixture(levels=levels), seed=0)
    figures |= {
        "stream_s": time.perf_counter() - start,
        "pss_mb": tree_pss_mb(),
        "anonymous_with_stream_mb": tree_anonymous_mb(),
    }

    start = time.perf_counter()
    for source in stream.sources.values():
        check_index(source.index.column, source.name, source.entry, "the index")
    figures |= {"check_s": time.perf_counter() - start}

    start = time.perf_counter()
    _plan(stream, 0)
    figures |= {"plan_s": time.perf_counter() - start, "pss_after_planning_mb": tree_pss_mb()}
    figures |= {"as_py_us": _row_us(stream, _by_as_py), "row_us": _row_us(stream, Stream.sample)}

    # Workers plan ten batches each and wait while memory is measured.
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(workers + 1)
    for number in range(workers):
        context.Process(target=_work, args=(stream, number, ready)).start()
    ready.wait()
    figures |= {
        "pss_with_workers_mb": tree_pss_mb(),
        "anonymous_with_workers_mb": tree_anonymous_mb(),
    }
    ready.wait()
    return figures


def _work(stream: Stream, number: int, ready: Any) -> None:
    for step in range(10):
        _plan(stream, 1 + number + 10 * step)
    ready.wait()
    ready.wait()


def _row_us(stream: Stream, read: Callable[[Stream, Draw], object]) -> float:
    """Return the processor time of the index entry of a draw, microseconds."""
    seconds = []
    for step in range(500, 505):
        draws = stream.draws(np.arange(step * BATCH, (step + 1) * BATCH))
        start = time.process_time()
        for draw in draws:
            read(stream, draw)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds) / BATCH * 1e6


def _by_as_py(stream: Stream, draw: Draw) -> Sample:
    """Return the index entry of a draw through Arrow's scalars, as before 2026-11-28."""
    column, row = stream.sources[draw.source].index.column, draw.row
    clip = Clip(**{name: column(name)[row].as_py() for name in CLIP_FIELDS})
    return Sample(clip=clip, **{name: column(name)[row].as_py() for name in LOCATION_FIELDS})


def _plan(stream: Stream, step: int) -> None:
    for draw in stream.draws(np.arange(step * BATCH, (step + 1) * BATCH)):
        stream.sample(draw)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(parse(Index, prog="benchmarks/index.py"))
