"""Seconds to our first batch, at the beginning and far into a run: equal, as the order is a function of the step."""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from corpus import prepare_corpus
from loader import LOADERS, OUR_THREADS, OURS, Benchmark
from rounds import interleaved

from surgrec.cli import parse


@dataclass(frozen=True, kw_only=True)
class Start:
    """Which starts are compared."""

    folder: Path
    """Of benchmarks/loader.py."""
    steps: list[int] = field(default_factory=lambda: [0, 10, 100_000])
    """Steps to start at."""
    rounds: int = 7
    """Every step once per round."""


def main(config: Start) -> None:
    """Measures and prints."""
    benchmark = Benchmark(folder=config.folder)
    prepare_corpus(benchmark.folder, clips=benchmark.clips)
    jobs = {
        f"{name}, step {step:,}": benchmark.job(LOADERS[name], resume_step=step, seconds=0.0)
        for name in (OURS, OUR_THREADS)
        for step in config.steps
    }
    found: dict[str, list[float]] = defaultdict(list)
    for row in interleaved(benchmark.setting(), "start", jobs, config.rounds):
        found[row["contender"]].append(row["first_batch_s"])
    for name, seconds in found.items():
        print(f"{name}: {statistics.median(seconds):.3f} s ({min(seconds):.3f}-{max(seconds):.3f})")


if __name__ == "__main__":
    main(parse(Start, prog="benchmarks/start.py"))
