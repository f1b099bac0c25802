"""Throughput of the Ray engine beside the local engine, for the same videos on the same cores.

    .venv/bin/python benchmarks/engines.py --folder /tmp/surgrec-bench

Every round builds the videos with both engines, in another order each time. Ray is started on this
machine before the clock starts, but its processes load SurgRec while the clock runs.
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
from surgrec_shard.engines import EngineName, open_engine
from surgrec_shard.groups import PackSettings
from surgrec_shard.private import PrivateFolder

from surgrec.cli import parse
from surgrec.manifest import Video
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


def build(
    name: EngineName, videos: Sequence[Video], key: Path, cores: int
) -> tuple[float, set[str]]:
    """Build the videos. Return the seconds that it took, and the digests of the shards."""
    with tempfile.TemporaryDirectory(prefix="bench_") as scratch:
        folder = Path(scratch)
        (folder / "private").mkdir(mode=0o700)
        shutil.copy(key, folder / "private" / "key")
        private = PrivateFolder(folder / "private")
        encode = EncodeSettings()
        work = private.folder_in(folder / "work")
        with open_engine(name, "", workers=cores, work=work, encode=encode) as engine:
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
        return seconds, {file_sha256(path) for path in (folder / "corpus").rglob("*.tar")}


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
            assert built["ray"][1] == built["local"][1], "the engines made other shards"
            ratios.append(built["local"][0] / built["ray"][0])
            times = ", ".join(f"{name} {seconds:.1f} s" for name, (seconds, _) in built.items())
            print(f"  round {number}: {times}, ratio {ratios[-1]:.3f}", flush=True)
    median = statistics.median(ratios)
    print(
        f"ray / local, {config.cores} cores: {median:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main(parse(Engines))
