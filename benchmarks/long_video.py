"""One long video: time of `surgrec-shard build` by workers, memory by length, and kills.

    .venv/bin/python benchmarks/long_video.py --folder /tmp/surgrec-bench

Each worker has a core of its own. The builds of one video must give the same shards.
"""

import hashlib
import math
import os
import signal
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from contenders.memory_use import tree_anonymous_mb
from corpus import ORIGINALS, Corpus, lengthened, prepare_originals

from surgrec.cli import parse


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
    form: str = "1080p25"
    """Resolution and rate: 1080p25, 720p30 or 480p25."""
    kills: int = 0
    """Kills of the build of the longer video, each `kill_s` after its start."""
    kill_s: float = 60.0
    """Seconds from a start to its kill."""


class Built(NamedTuple):
    """One build. Of a killed build, the time is that of all its starts."""

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
    assert config.form in ORIGINALS, f"--form is one of {', '.join(ORIGINALS)}"
    prepare_originals(corpus, [config.form], videos=1)
    original = min((corpus.originals / config.form).glob("*.mp4"))
    video = lengthened(corpus, original, config.minutes)
    print(f"{config.form}: {video.stat().st_size / 1e6:.0f} MB, {config.minutes:g} minutes")

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
        longer = lengthened(corpus, original, config.minutes * config.longer)
        long = build(longer, config.workers)
        print(f"  {config.longer} times as long, {config.workers} workers: {long}", flush=True)
        print(f"memory: {builds[config.workers][-1].memory_mb:.0f} and {long.memory_mb:.0f} MB")
        if config.kills:
            killed = build(longer, config.workers, [config.kill_s] * config.kills)
            print(f"  the same, killed {config.kills} times: {killed}")
            assert killed.shards == long.shards, "other shards"


def build(video: Path, workers: int, kills_s: Sequence[float] = ()) -> Built:
    """Build a corpus of a video, on a core per worker.

    Args:
        video: The video, alone in its folder.
        workers: Number of workers.
        kills_s: Seconds after which a start is killed; the next start continues.
    """
    program = str(Path(sysconfig.get_path("scripts")) / "surgrec-shard")
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        folder = Path(name)
        words = [program, "build", "--videos", str(video.parent), "--source", "long"]
        words += ["--domain", "laparoscopy", "--public", "true", "--workers", str(workers)]
        words += ["--out", str(folder / "corpus"), "--private", str(folder / "private")]

        began, memory_mb, text = time.perf_counter(), 0.0, ""
        for kill_s in [*kills_s, math.inf]:
            memory_mb = max(memory_mb, _start(words, workers, kill_s, folder / "said.txt"))
            text = (folder / "said.txt").read_text("utf-8")
        wall_s = time.perf_counter() - began

        shards = hashlib.sha256()
        for shard in sorted((folder / "corpus").rglob("*.tar")):
            shards.update(shard.read_bytes())
        said = next(line for line in text.splitlines() if " encoded" in line)
        return Built(wall_s, memory_mb, shards.hexdigest()[:12], said)


def _start(words: Sequence[str], workers: int, kill_s: float, said: Path) -> float:
    """Run a build, or kill it and its processes after a time. Return its memory, MB."""
    pin = partial(os.sched_setaffinity, 0, sorted(os.sched_getaffinity(0))[:workers])
    end, memory_mb = time.perf_counter() + kill_s, 0.0
    with said.open("wb") as file:
        process = subprocess.Popen(words, stderr=file, preexec_fn=pin, start_new_session=True)
        while process.poll() is None:
            memory_mb = max(memory_mb, tree_anonymous_mb())
            if time.perf_counter() > end:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.5)
    assert process.returncode == (0 if kill_s == math.inf else -signal.SIGKILL), said.read_text()
    return memory_mb


if __name__ == "__main__":
    main(parse(LongVideo))
