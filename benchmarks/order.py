"""Planning time per sample: the order, the rows behind it, and the offsets of their bytes."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from synthetic_index import write_synthetic

from surgrec.cli import parse
from surgrec.shards import open_corpus
from surgrec.stream import Level, Mixture, Stream, rank_positions

AT_ONCE, WORKERS = 33, 8
"""Batches that `ClipDataset` plans in one call, and workers that take turns."""
LEVELS = [
    Level(by="domain", alpha=0.0),
    Level(by="procedure", alpha=0.25),
    Level(by="source", alpha=0.5),
]


@dataclass(frozen=True, kw_only=True)
class Planning:
    """Amount of work."""

    batches: list[int] = field(default_factory=lambda: [24, 3072])
    """Samples per rank and step."""
    world_size: int = 8
    """Ranks that share a step."""
    sources: int = 12
    """Number of sources, each with three procedures, in four domains."""
    rows: int = 30_000
    """Clips per source."""
    samples: int = 30_000
    """Samples planned per repetition."""
    repeats: int = 7
    """Repetitions; the median is reported."""


def main(config: Planning) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(Path(folder), [config.rows] * config.sources)
        stream = Stream(open_corpus(folder), Mixture(levels=LEVELS), seed=0)
        plans: dict[str, Callable[[np.ndarray], object]] = {
            "order alone": stream.order,
            "and rows (Stream.draws)": stream.draws,
            "and index entries (Stream.sample)": lambda positions: list(
                map(stream.sample, stream.draws(positions))
            ),
        }

        for batch in config.batches:
            strata = len(stream.order.strata)
            print(f"rank batch {batch}, {strata} strata, microseconds per sample:")
            for at_once in (1, AT_ONCE):
                as_worker = ", as a worker of the loader plans" if at_once > 1 else ""
                print(f" {at_once} of them at once{as_worker}:")
                calls = _calls(config, batch, at_once)
                for name, plan in plans.items():
                    print(f"  {name}: {_microseconds(plan, calls, config.repeats):.1f}")


def _calls(config: Planning, batch: int, at_once: int) -> list[np.ndarray]:
    """Return the positions of successive calls, each of several batches of one worker."""
    calls = max(1, config.samples // batch // at_once)
    firsts = range(5000, 5000 + calls * at_once * WORKERS, at_once * WORKERS)

    def positions(step: int) -> np.ndarray:
        global_batch = batch * config.world_size
        return rank_positions(step, global_batch=global_batch, rank=1, world_size=config.world_size)

    return [
        np.concatenate([positions(first + number * WORKERS) for number in range(at_once)])
        for first in firsts
    ]


def _microseconds(
    plan: Callable[[np.ndarray], object], steps: list[np.ndarray], repeats: int
) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for positions in steps:
            plan(positions)
        times.append((time.perf_counter() - start) / sum(map(len, steps)))
    return 1e6 * statistics.median(times)


if __name__ == "__main__":
    main(parse(Planning, prog="benchmarks/order.py"))
