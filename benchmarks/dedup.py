"""Near-duplicates: recall on planted copies, false alarms on different cases, ten million hashes.

    .venv/bin/python -m benchmarks.dedup --folder DIR
    .venv/bin/python -m benchmarks.dedup --folder DIR --part hashes
    .venv/bin/python -m benchmarks.dedup --folder DIR --part search

`cases` renders procedural cases of four domains, plants copies of parts of them, builds a corpus of
each with `surgrec-shard build`, and runs the search on both. `hashes` runs the same search on the
same files with hashes of pdqhash and of imagehash. `search` looks for planted stretches among
random hashes.
"""

import itertools
import json
import os
import random
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from surgrec_shard.build import Build, BuildConfig
from surgrec_shard.dedup import Duplicates, find_duplicates
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings
from surgrec_shard.phantom.domains import DOMAINS
from surgrec_shard.private import PrivateFolder

from benchmarks.contenders.memory_use import peak_bytes
from benchmarks.environments import python_with
from surgrec.cli import parse
from surgrec.duplicates import CopyRules, VideoHashes, find_copies
from surgrec.manifest import Video
from surgrec.storage import open_store
from tests.support.phantom_cases import copy_video, render_case

CHANGES = {
    "encoded again": "null",
    "half size": "scale=iw/2:-2",
    "cropped by a tenth": "crop=iw*0.9:ih*0.9",
    "cropped at the left": "crop=iw*0.9:ih:iw*0.1:0",
    "framed": "pad=iw:ih*1.3:0:(oh-ih)/2",
    "1.25 times as fast": "setpts=PTS/1.25",
    "1.5 times as fast": "setpts=PTS/1.5",
    "twice as fast": "setpts=PTS/2",
    "at 0.7 of the speed": "setpts=PTS/0.7",
    "brighter, less contrast": "eq=gamma=1.4:contrast=0.8",
    "mirrored": "hflip",
    "squeezed": "scale=iw:ih*0.75,setsar=1",
    "slightly squeezed": "scale=iw:ih*0.9,setsar=1",
    "cropped, faster, smaller": "crop=iw*0.92:ih*0.92,setpts=PTS/1.2,scale=iw*0.6:-2",
}
"""Filters of ffmpeg. Every copy is also cut out at a random time and encoded again."""
SPEEDS = {
    "1.25 times as fast": 1.25,
    "1.5 times as fast": 1.5,
    "twice as fast": 2.0,
    "at 0.7 of the speed": 0.7,
    "cropped, faster, smaller": 1.2,
}
"""Speeds of the changes that are not 1."""


@dataclass(frozen=True, kw_only=True)
class DedupConfig:
    """Settings of the measurement."""

    folder: Path
    part: Literal["cases", "hashes", "search"] = "cases"
    cases: int = 24
    """Cases of each domain."""
    seconds: float = 30.0
    copies: int = 17
    """Copies for each change."""
    copied_s: float = 16.0
    """Length of the copied part."""
    hashes: int = 10_000_000
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A copy of a part of a case."""

    change: str
    case: str
    start_s: float


def main() -> None:
    config = parse(DedupConfig)
    # Files of another plan in the same folder would give wrong figures.
    plan = f"{config.seed}-{config.cases}-{config.seconds:g}-{config.copies}-{config.copied_s:g}"
    config = replace(config, folder=config.folder / plan)
    parts = {"cases": measure_cases, "hashes": compare_hashes, "search": measure_search}
    parts[config.part](config)


def measure_cases(config: DedupConfig) -> None:
    cases = _render(config)
    planted = _plant(config, cases)
    corpus = _build(config, "cases", [(path, stem) for stem, path in cases.items()])
    copies = _build(config, "copies", [(path, path.stem) for path in planted])

    begin = time.monotonic()
    among = _search(corpus)
    seconds = time.monotonic() - begin
    print(f"{len(cases)} cases, {among.seconds} s of video, hashed and searched in {seconds:.0f} s")
    _print_false_alarms(cases, {frozenset((row.case, row.other_case)) for row in among.found})

    found = _search(copies, corpus)
    rows: dict[str, list[_Found]] = {path.stem: [] for path in planted}
    for row in found.found:
        rows[row.case].append(
            _Found(
                row.other_case,
                row.other_start_s,
                row.other_end_s,
                row.start_s,
                row.end_s,
                row.speed,
            )
        )
    _print_recall(config, planted, rows, others=len(cases) - 1)


def compare_hashes(config: DedupConfig) -> None:
    """Search with other hashes, in the same files. Mirrored pictures have hashes of their own."""
    cases = _render(config)
    planted = _plant(config, cases)
    python = python_with(
        ["pdqhash==0.2.8", "imagehash==4.3.2"], config.folder / "environment", same=("numpy",)
    )
    folder = config.folder / "picture-hashes"
    folder.mkdir(exist_ok=True)
    script = Path(__file__).parent / "contenders" / "picture_hashes.py"
    files = "\n".join(str(path) for path in [*cases.values(), *planted])
    subprocess.run([python, str(script), str(folder)], input=files, text=True, check=True)

    for name in ("pdqhash", "imagehash"):
        originals = [_read_hashes(folder / f"{case}.npz", name) for case in cases]
        copies = [
            _read_hashes(folder / f"{path.stem}.npz", f"{name}{suffix}")
            for suffix in ("", "-mirrored")
            for path in planted
        ]
        stems = list(cases)
        print(f"\n{name}")
        among = find_copies(originals)
        _print_false_alarms(
            cases, {frozenset((stems[copy.video], stems[copy.other])) for copy in among}
        )
        rows: dict[str, list[_Found]] = {path.stem: [] for path in planted}
        for copy in find_copies(copies, originals):
            stem = list(rows)[copy.video % len(rows)]
            rows[stem].append(
                _Found(
                    stems[copy.other],
                    copy.other_start_s,
                    copy.other_end_s,
                    copy.start_s,
                    copy.end_s,
                    copy.speed,
                )
            )
        _print_recall(config, planted, rows, others=len(cases) - 1)


def _read_hashes(path: Path, name: str) -> VideoHashes:
    with np.load(path) as file:
        hashes = file[name].view(np.uint64)
    return VideoHashes(seconds=np.arange(len(hashes)), hashes=hashes[:, None])


class _Found(NamedTuple):
    """A stretch of a case that a search names."""

    case: str
    start_s: float
    end_s: float
    copy_start_s: float
    copy_end_s: float
    speed: float

    def has_times(self, plant: Planted) -> bool:
        """Return whether both ends are those of the planted copy, to half a second."""
        speed = SPEEDS.get(plant.change, 1.0)
        return (
            abs(self.start_s - plant.start_s - speed * self.copy_start_s) <= 0.5
            and abs(self.end_s - plant.start_s - speed * self.copy_end_s) <= 0.5
        )

    def has_speed(self, plant: Planted) -> bool:
        """Return whether the speed is that of the planted copy, to 5 %."""
        return abs(self.speed / SPEEDS.get(plant.change, 1.0) - 1) <= 0.05


def _print_false_alarms(cases: Iterable[str], taken: Collection[frozenset[str]]) -> None:
    """Print how many pairs of different cases were taken for copies."""
    pairs = [frozenset(pair) for pair in itertools.combinations(sorted(cases), 2)]
    same_domain = {pair for pair in pairs if len({name.rsplit("-", 1)[0] for name in pair}) == 1}
    print(
        f"different cases taken for copies: {len(same_domain & set(taken))} of {len(same_domain)} "
        f"pairs of one domain, {len(taken)} of {len(pairs)} pairs of all"
    )


def _print_recall(
    config: DedupConfig,
    planted: Mapping[Path, Planted],
    found: Mapping[str, Sequence[_Found]],
    *,
    others: int,
) -> None:
    """Print how many copies were found: a stretch of their case is named at the right time.

    Of the found ones, print how many have the planted times and speed.
    """
    hits: dict[str, list[bool]] = {}
    exact: dict[str, list[tuple[bool, bool]]] = {}
    wrong = 0

    # A copy is found if a row names its case and overlaps its time, within a second.
    for path, plant in planted.items():
        rows = found[path.stem]
        wrong += len({row.case for row in rows} - {plant.case})
        right = [
            row
            for row in rows
            if row.case == plant.case
            and row.end_s > plant.start_s - 1
            and row.start_s < plant.start_s + config.copied_s + 1
        ]
        hits.setdefault(plant.change, []).append(bool(right))
        exact.setdefault(plant.change, [])
        if right:
            longest = max(right, key=lambda row: row.end_s - row.start_s)
            exact[plant.change].append((longest.has_times(plant), longest.has_speed(plant)))
        else:
            print("missed", plant)

    for change, results in hits.items():
        times, speeds = (sum(each[part] for each in exact[change]) for part in (0, 1))
        print(
            f"{change:28} {sum(results)} of {len(results)}, "
            f"{times} with the right times, {speeds} with the right speed"
        )

    total = sum(len(results) for results in hits.values())
    print(f"recall: {sum(map(sum, hits.values()))} of {total} copies")
    print(f"copies taken for parts of another case: {wrong} of {len(planted) * others} pairs")


def measure_search(config: DedupConfig) -> None:
    """Search planted stretches of 20 s among random hashes, in videos of 1,000 s."""
    generator = np.random.default_rng(config.seed)
    count = config.hashes // 1000
    hashes = generator.integers(0, 2**64, (count, 1000, 1, 4), dtype=np.uint64)
    numbers = generator.permutation(count)[:200].reshape(100, 2)
    for first, second in numbers.tolist():
        masks = generator.integers(0, 2**64, (4, 20, 1, 4), dtype=np.uint64)
        noise = masks[0] & masks[1] & masks[2] & (masks[3] | np.roll(masks[3], 1))  # 0.09
        hashes[second, 500:520] = hashes[first, 300:320] ^ noise
    seconds = np.arange(1000)
    videos = [VideoHashes(seconds=seconds, hashes=each) for each in hashes]
    before = peak_bytes() / 1e9

    begin, begin_cpu = time.monotonic(), time.process_time()
    copies = find_copies(videos, workers=len(os.sched_getaffinity(0)))
    took, cpu = time.monotonic() - begin, time.process_time() - begin_cpu
    expected = {frozenset(pair) for pair in numbers.tolist()}
    found = {frozenset((copy.video, copy.other)) for copy in copies}
    peak = peak_bytes() / 1e9
    print(f"{count * 1000:,} hashes, also mirrored: {took:.0f} s with {os.cpu_count()} cores,")
    print(f"{cpu:.0f} s of processor time,")
    print(f"{peak:.1f} GB of memory, of which {before:.1f} GB before the search")
    print(f"{len(found & expected)} of {len(expected)} stretches, {len(found - expected)} others")


def _render(config: DedupConfig) -> dict[str, Path]:
    folder = config.folder / "rendered"
    jobs = [(domain, number) for domain in DOMAINS for number in range(1, config.cases + 1)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        paths = pool.map(partial(_render_one, config, folder), jobs)
        return {path.stem: path for path in paths}


def _render_one(config: DedupConfig, folder: Path, job: tuple[str, int]) -> Path:
    domain, number = job
    done = sorted(folder.glob(f"*/phantom-{domain}-case{number:02d}.mp4"))
    return (
        done[0]
        if done
        else render_case(folder, number, domain=domain, seconds=config.seconds, seed=config.seed)
    )


def _plant(config: DedupConfig, cases: dict[str, Path]) -> dict[Path, Planted]:
    draw = random.Random(config.seed)
    planted = {}
    for change, number in itertools.product(CHANGES, range(config.copies)):
        case = draw.choice(sorted(cases))
        start_s = round(draw.uniform(0, config.seconds - config.copied_s), 2)
        path = config.folder / "planted" / f"{change.replace(' ', '-')}-{number:02d}.mp4"
        planted[path] = Planted(change=change, case=case, start_s=start_s)
    crfs = [draw.choice((23, 28, 33)) for _ in planted]

    def make(path: Path, plant: Planted, crf: int) -> None:
        if not path.exists():
            copy_video(
                cases[plant.case],
                path,
                start_s=plant.start_s,
                length_s=config.copied_s,
                filters=CHANGES[plant.change],
                crf=crf,
            )

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(make, planted, planted.values(), crfs))
    return planted


def _build(config: DedupConfig, name: str, videos: list[tuple[Path, str]]) -> Path:
    corpus, private = config.folder / name, PrivateFolder(config.folder / f"{name}.private")
    listed = [
        Video(path=path, source=name, domain="laparoscopy", case=case, split="train")
        for path, case in videos
    ]

    settings = BuildConfig(
        videos=listed,
        store=open_store(corpus),
        private=private,
        work=private.path / "work",
        encode=EncodeSettings(),
        pack=PackSettings(),
        public=True,
        workers=len(os.sched_getaffinity(0)),
    )

    Build(settings, lambda stage, done, total: None).run()
    return corpus


def _search(corpus: Path, against: Path | None = None) -> Duplicates:
    found = find_duplicates(
        str(corpus),
        str(against or ""),
        rules=CopyRules(),
        workers=len(os.sched_getaffinity(0)),
        progress=lambda stage, done, total: None,
    )
    (corpus.parent / f"{corpus.name}.json").write_text(json.dumps(found.as_json(), indent=1))
    return found


if __name__ == "__main__":
    main()
