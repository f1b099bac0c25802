"""Seconds to SurgRec's first batch, early and late in a run.

They are equal, as the order is a function of the step.
"""

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
    """Starts to compare."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    steps: list[int] = field(default_factory=lambda: [0, 10, 100_000])
    """Steps to start at."""
    rounds: int = 7
    """Rounds; each measures every step once."""


def main(config: Start) -> None:
    """Measure and print."""
    benchmark = Benchmark(folder=config.folder)
    prepare_corpus(benchmark.folder, clips=benchmark.clips)
    jobs = {
        f"{name}, step {step:,}": benchmark.job(LOADERS[name], resume_step=step, seconds=0.0)
        for name in (OURS, OUR_THREADS)
        for step in config.steps
    }

    first_batch_s: dict[str, list[float]] = defaultdict(list)
    for row in interleaved(benchmark.setting(), "start", jobs, config.rounds):
        first_batch_s[row["contender"]].append(row["first_batch_s"])
    for name, seconds in first_batch_s.items():
        print(f"{name}: {statistics.median(seconds):.3f} s ({min(seconds):.3f}-{max(seconds):.3f})")


if __name__ == "__main__":
    main(parse(Start, prog="benchmarks/start.py"))
