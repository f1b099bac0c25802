"""One long 1080p video: time of `surgrec-shard build` by workers, and memory by length.

    .venv/bin/python benchmarks/long_video.py --folder /tmp/surgrec-bench

Each worker has a core of its own. The builds of one video must give the same shards.
"""

import hashlib
import os
import statistics
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from contenders.memory_use import tree_anonymous_mb
from corpus import Corpus, lengthened, prepare_originals

from surgrec.cli import parse

FORM = "1080p25"


@dataclass(frozen=True, kw_only=True)
class LongVideo:
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    minutes: float = 6.0
    """Length of the video."""
    rounds: int = 3
    """Builds with each number of workers, in alternation."""
    longer: int = 10
    """How many times longer the video of the last build is; 0: no such build."""
    workers: int = 2
    """Workers beside one."""


class Built(NamedTuple):
    """One build."""

    wall_s: float
    memory_mb: float
    """Largest anonymous memory of all its processes."""
    shards: str
    """Digest of all shards."""
    said: str
    """What it said about the encoded videos."""


def main(config: LongVideo) -> None:
    """Measure and print."""
    corpus = Corpus(folder=config.folder)
    prepare_originals(corpus, [FORM], videos=1)
    original = min((corpus.originals / FORM).glob("*.mp4"))
    video = lengthened(corpus, original, config.minutes)
    print(f"{FORM}: {video.stat().st_size / 1e6:.0f} MB, {config.minutes:g} minutes")

    counts = (1, config.workers)
    builds: dict[int, list[Built]] = {count: [] for count in counts}
    for number in range(config.rounds):
        for count in counts if number % 2 else reversed(counts):
            built = build(video, count)
            builds[count].append(built)
            print(f"  round {number}, {count} workers: {built}", flush=True)
    assert len({built.shards for each in builds.values() for built in each}) == 1, "other shards"

    ratios = [one.wall_s / more.wall_s for one, more in zip(*builds.values(), strict=True)]
    middle, lowest, highest = statistics.median(ratios), min(ratios), max(ratios)
    print(
        f"{config.workers} workers are {middle:.2f} ({lowest:.2f} to {highest:.2f}) times as fast"
    )
    if config.longer:
        long = build(lengthened(corpus, original, config.minutes * config.longer), config.workers)
        print(f"  {config.longer} times as long, {config.workers} workers: {long}")
        print(f"memory: {builds[config.workers][-1].memory_mb:.0f} and {long.memory_mb:.0f} MB")


def build(video: Path, workers: int) -> Built:
    """Build a corpus of a video, on a core per worker."""
    program = str(Path(sysconfig.get_path("scripts")) / "surgrec-shard")
    cores = sorted(os.sched_getaffinity(0))[:workers]
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        folder = Path(name)
        words = [program, "build", "--videos", str(video.parent), "--source", "long"]
        words += ["--domain", "laparoscopy", "--public", "true", "--workers", str(workers)]
        words += ["--out", str(folder / "corpus"), "--private", str(folder / "private")]

        pin = partial(os.sched_setaffinity, 0, cores)
        began, memory_mb = time.perf_counter(), 0.0
        with subprocess.Popen(words, stderr=subprocess.PIPE, preexec_fn=pin) as process:
            while process.poll() is None:
                memory_mb = max(memory_mb, tree_anonymous_mb())
                time.sleep(0.5)
            assert process.stderr is not None
            text = process.stderr.read().decode()
        assert process.returncode == 0, text

        wall_s = time.perf_counter() - began
        shards = hashlib.sha256()
        for shard in sorted((folder / "corpus").rglob("*.tar")):
            shards.update(shard.read_bytes())
        said = next(line for line in text.splitlines() if " encoded" in line)
        return Built(wall_s, memory_mb, shards.hexdigest()[:12], said)


if __name__ == "__main__":
    main(parse(LongVideo))
