"""Throughput of the Ray engine beside the local engine, for the same videos on the same cores.

    .venv/bin/python benchmarks/engines.py --folder /tmp/surgrec-bench

Every round builds the videos with both engines, in another order each time. The clock starts when
Ray runs on this machine and its processes, one per core, have loaded SurgRec. How long that takes
is told, too: it is paid once per build.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from corpus import Corpus, lengthened, prepare_originals
from surgrec_shard.build import Build, BuildConfig
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.engines import Engine, EngineName, open_engine
from surgrec_shard.groups import PackSettings
from surgrec_shard.private import PrivateFolder

from surgrec.cli import parse
from surgrec.manifest import Video
from surgrec.recordings.decoders import Decoders
from surgrec.storage import file_sha256, open_store

FORMS = ("720p30", "1080p25")


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    rounds: int = 3
    """Rounds; each builds with both engines."""
    cores: int = 2
    """Threads of the local engine, and cores of Ray."""
    videos: int = 4
    """Videos of each resolution, at most 4."""
    minutes: float = 1.0
    """Length of each video, which repeats an original of half a minute."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build."""

    start_s: float
    """Time until the engine ran on all cores."""
    seconds: float
    """Time of the build."""
    digests: set[str]
    """Digests of the shards."""


def build(name: EngineName, videos: Sequence[Video], key: Path, cores: int) -> Built:
    """Build the videos with an engine."""
    with tempfile.TemporaryDirectory(prefix="bench_") as scratch:
        folder = Path(scratch)
        (folder / "private").mkdir(mode=0o700)
        shutil.copy(key, folder / "private" / "key")
        private = PrivateFolder(folder / "private")
        encode = EncodeSettings()

        work = private.folder_in(folder / "work")
        started = time.perf_counter()
        with open_engine(name, "", workers=cores, work=work, encode=encode) as engine:
            # The start of the engine is a figure of its own, so the build is timed from here on.
            _use_all_cores(engine, cores)
            config = BuildConfig(
                videos=videos,
                store=open_store(folder / "corpus"),
                private=private,
                work=folder / "work",
                encode=encode,
                pack=PackSettings(group_videos=4),
                public=False,
                workers=cores,
                engine=engine,
            )
            began = time.perf_counter()
            result = Build(config, lambda stage, done, total: None).run()
            seconds = time.perf_counter() - began

        assert not result.failures
        digests = {file_sha256(path) for path in (folder / "corpus").rglob("*.tar")}
        return Built(start_s=began - started, seconds=seconds, digests=digests)


def _use_all_cores(engine: Engine, cores: int) -> None:
    """Run a task on each core at once, so that every process of the engine has loaded SurgRec."""
    for running in [engine.submit(_wait) for _ in range(cores)]:
        running.result()


def _wait(decoders: Decoders) -> None:
    """Keep a core long enough that no other process of it takes a second task."""
    time.sleep(1)


def main(config: Engines) -> None:
    """Measure and print."""
    corpus = Corpus(folder=config.folder)
    prepare_originals(corpus, FORMS, videos=config.videos)
    videos = [
        Video(
            path=lengthened(corpus, path, config.minutes),
            source="bench",
            domain="laparoscopy",
            case=f"{form}-{path.stem}",
            split="train",
        )
        for form in FORMS
        for path in sorted((corpus.originals / form).glob("*.mp4"))[: config.videos]
    ]
    print(f"{len(videos)} videos of {' and '.join(FORMS)}, {config.minutes:g} minutes each")

    names: tuple[EngineName, ...] = get_args(EngineName)
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "private" / "key"
        PrivateFolder(key.parent)
        ratios = []
        for number in range(config.rounds):
            order = names if number % 2 else names[::-1]
            built = {name: build(name, videos, key, config.cores) for name in order}
            local, ray = built["local"], built["ray"]
            assert ray.digests == local.digests, "the engines made other shards"
            ratios.append(local.seconds / ray.seconds)
            print(
                f"  round {number}: local {local.seconds:.1f} s, ray {ray.seconds:.1f} s after "
                f"{ray.start_s:.1f} s to start, ratio {ratios[-1]:.3f}",
                flush=True,
            )
    median = statistics.median(ratios)
    print(
        f"ray / local, {config.cores} cores: {median:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main(parse(Engines))
