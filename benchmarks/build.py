"""Throughput of `surgrec-shard build`, beside bare ffmpeg with the same filters and encoder.

    .venv/bin/python benchmarks/build.py --folder /tmp/surgrec-bench

Both work on the same files and cores, with a decoder and an encoder of one thread per worker. Each
core has one worker. Bare ffmpeg is one process per file, which decodes, filters and encodes.
Processor time tells the difference even if other programs use the machine.
"""

import os
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from corpus import Corpus, lengthened, prepare_originals
from surgrec_shard.encode import EncodeSettings, encoder_options

from surgrec.cli import parse
from surgrec.recordings import Recording, inspect, stored_size

FORMS = ("720p30", "1080p25")


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    rounds: int = 5
    """Rounds; each measures every contender once, in another order."""
    cores: int = 2
    """Cores of the larger measurement; 1: there is none."""
    videos: int = 4
    """Videos of each resolution, at most 4."""
    minutes: float = 0.5
    """Length of each video, which repeats an original of half a minute."""


class Cost(NamedTuple):
    """Time that a contender needed, seconds."""

    wall_s: float
    cpu_s: float


def build(
    videos: Sequence[Path], folder: Path, workers: int, switches: Sequence[str] = ()
) -> list[list[str]]:
    """Return the command that builds a corpus of the videos, with some switches of curation."""
    manifest = folder / "videos.csv"
    rows = [f"{path},bench,laparoscopy,{path.parent.name},train" for path in videos]
    manifest.write_text("\n".join(["path,source,domain,case,split", *rows]), encoding="utf-8")
    program = Path(sysconfig.get_path("scripts")) / "surgrec-shard"
    out = str(folder / "corpus")
    options = ["--manifest", str(manifest), "--out", out, "--workers", str(workers)]
    options += [word for name in switches for word in (f"--curate.{name}", "true")]
    return [[str(program), "build", *options]]


def bare(videos: Sequence[Path], folder: Path, workers: int) -> list[list[str]]:
    """Return one ffmpeg command per video, which writes the same clips."""
    return [_bare(video, folder, number) for number, video in enumerate(videos)]


def _bare(video: Path, folder: Path, number: int) -> list[str]:
    settings = EncodeSettings()
    with Recording(video) as recording:
        width, height = stored_size(inspect(recording), settings.short_side_px)

    scaled = f"scale={width}:{height}:flags=bicubic+accurate_rnd+bitexact"
    return [
        *("ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(video)),
        *("-map", "0:v:0", "-an", "-sn", "-dn", "-filter_threads", "1"),
        *("-vf", f"yadif=deint=interlaced,fps={settings.fps},{scaled},format=yuv420p,setsar=1"),
        *encoder_options(settings),
        *("-force_key_frames", f"expr:gte(t,n_forced*{settings.clip_s})"),
        *("-f", "segment", "-segment_time", str(settings.clip_s), "-reset_timestamps", "1"),
        *("-segment_format_options", "movflags=+faststart"),
        str(folder / f"{number}-%06d.mp4"),
    ]


CONTENDERS: Mapping[str, Callable[[Sequence[Path], Path, int], list[list[str]]]] = {
    "ffmpeg": bare,
    "build": build,
    "curated build": partial(build, switches=("black", "white", "constant", "frozen", "blurred")),
}


def measure(contender: str, videos: Sequence[Path], cores: Sequence[int]) -> Cost:
    """Run a contender with one worker per core."""
    with tempfile.TemporaryDirectory(prefix="bench_") as name:
        commands = CONTENDERS[contender](videos, Path(name), len(cores))
        began, cpu_s = time.perf_counter(), sum(os.times()[2:4])

        # Each process runs on the given cores only.
        pin = partial(os.sched_setaffinity, 0, cores)
        run = partial(
            subprocess.run,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pin,
        )

        with ThreadPoolExecutor(len(cores)) as pool:
            list(pool.map(run, commands))
        return Cost(time.perf_counter() - began, sum(os.times()[2:4]) - cpu_s)


def main(config: Throughput) -> None:
    """Measure and print."""
    corpus = Corpus(folder=config.folder)
    prepare_originals(corpus, FORMS, videos=config.videos)
    videos = [
        lengthened(corpus, path, config.minutes)
        for form in FORMS
        for path in sorted((corpus.originals / form).glob("*.mp4"))[: config.videos]
    ]
    seconds = sum(map(_duration_s, videos))
    available = sorted(os.sched_getaffinity(0))
    print(f"{len(videos)} videos of {' and '.join(FORMS)}, {seconds / 60:.1f} minutes")

    jobs = [(name, count) for count in sorted({1, config.cores}) for name in CONTENDERS]
    rows: list[dict[tuple[str, int], Cost]] = []
    for number in range(config.rounds):
        costs = {}
        for index in range(len(jobs)):
            name, count = jobs[(index + number) % len(jobs)]
            costs[name, count] = measure(name, videos, available[:count])
            print(f"  round {number}: {name}, {count} cores: {costs[name, count]}", flush=True)
        rows.append(costs)

    for name, count in jobs:
        wall_s = statistics.median(row[name, count].wall_s for row in rows)
        cpu_s = statistics.median(row[name, count].cpu_s for row in rows)
        rate = f"{seconds / wall_s:.1f} s of video per second"
        print(f"{name}, {count} cores: {rate}, {cpu_s / seconds * 1000:.0f} CPU ms per second")

    for name, count in jobs:
        if name == "ffmpeg":
            continue
        _print_ratio(
            f"{name} / ffmpeg, {count} cores",
            [row["ffmpeg", count].wall_s / row[name, count].wall_s for row in rows],
        )
        _print_ratio(
            f"the same in processor time, {count} cores",
            [row["ffmpeg", count].cpu_s / row[name, count].cpu_s for row in rows],
        )
    if config.cores == 1:
        return
    _print_ratio(
        "scaling of build / scaling of ffmpeg",
        [
            (row["build", 1].wall_s / row["build", config.cores].wall_s)
            / (row["ffmpeg", 1].wall_s / row["ffmpeg", config.cores].wall_s)
            for row in rows
        ],
    )


def _duration_s(video: Path) -> float:
    with Recording(video) as recording:
        return inspect(recording).duration_s


def _print_ratio(name: str, ratios: Sequence[float]) -> None:
    print(f"{name}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main(parse(Throughput))
