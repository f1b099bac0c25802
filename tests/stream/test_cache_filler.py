"""The cache filler beside a reading run: real processes, real shards of small synthetic clips."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from surgrec.shards import Sample, Source, open_corpus
from surgrec.storage import DiskCache
from surgrec.stream import Fetcher, FillerStatus, Mixture, Stream, run_cache_filler
from tests.support.samples import make_clips, make_mp4, write_corpus
from tests.support.small_disk import small_disk

RUN = 1000


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Source]:
    return open_corpus(
        [
            write_corpus(
                tmp_path / "corpus", {name: make_clips(12, name) for name in ("alpha", "beta")}
            )
        ]
    )


def shards(corpus: dict[str, Source]) -> dict[str, int]:
    return {
        shard.sha256: shard.bytes for source in corpus.values() for shard in source.entry.shards
    }


def run_filler(cache: DiskCache, corpus: dict[str, Source]) -> AbstractContextManager[FillerStatus]:
    """Run a filler for the first `RUN` positions."""
    stream = Stream(corpus, Mixture(block=16), seed=1)
    return run_cache_filler(cache, stream, start=0, positions=RUN, slots=(0, 8), global_batch=8)


def a_cache(tmp_path: Path, limit_bytes: int = 1_000_000) -> DiskCache:
    cache = DiskCache(tmp_path / "cache", limit_bytes)
    cache.prepare()
    return cache


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold within 30 s"
        time.sleep(0.02)


def test_a_cache_with_room_fills_with_every_shard_of_the_run(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    cache = a_cache(tmp_path)
    with run_filler(cache, corpus) as status:
        wait_for(lambda: status.counted()["filled"] == 6)
        assert status.counted() == {
            "filled": 6,
            "filled_bytes": sum(shards(corpus).values()),
            "evicted": 0,
            "fill_failures": 0,
        }
    assert cache.files() == shards(corpus)


def test_a_cache_never_grows_beyond_its_limit(corpus: dict[str, Source], tmp_path: Path) -> None:
    limit = int(sum(shards(corpus).values()) * 0.6)
    cache = a_cache(tmp_path, limit)
    sizes_over_time = []

    def used() -> int:
        sizes = []
        for path in cache.folder.iterdir():
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:
                continue
        sizes_over_time.append(sum(sizes))
        return sizes_over_time[-1]

    with run_filler(cache, corpus) as status:
        wait_for(lambda: used() > limit * 0.4)
        for position in range(0, RUN, 100):
            status.position.value = position
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                used()
    assert max(sizes_over_time) <= limit
    assert set(cache.files()) < set(shards(corpus))


def all_samples(corpus: dict[str, Source]) -> list[Sample]:
    return [
        source.index.sample(row)
        for source in corpus.values()
        for row in range(source.index.num_rows)
    ]


def test_cached_samples_are_read_from_the_disk_and_equal_the_store_s(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    cache = a_cache(tmp_path)
    with run_filler(cache, corpus) as status:
        wait_for(lambda: status.counted()["filled"] == 6)
    shutil.rmtree(tmp_path / "corpus")  # only the cache has the bytes now
    fetcher = Fetcher(corpus, 2, cache)
    assert fetcher.fetch(all_samples(corpus)) == [
        make_mp4(sample.clip) for sample in all_samples(corpus)
    ]
    stats = fetcher.take_read_stats()
    assert (stats.samples, stats.requests) == (24, 0)
    assert stats.cache_bytes >= sum(sample.mp4_size for sample in all_samples(corpus))
    assert fetcher.take_read_stats().samples == 0


@pytest.mark.parametrize("harm", ["changed", "short", "gone"])
def test_a_cached_shard_that_was_harmed_costs_a_request_and_no_sample(
    corpus: dict[str, Source], tmp_path: Path, harm: str
) -> None:
    cache = a_cache(tmp_path)
    with run_filler(cache, corpus) as status:
        wait_for(lambda: status.counted()["filled"] == 6)
    harmed = corpus["alpha"].entry.shards[0]
    path = cache.folder / f"{harmed.sha256}.tar"
    if harm == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    elif harm == "short":
        os.truncate(path, harmed.bytes // 8)
    else:
        path.unlink()
    fetcher = Fetcher(corpus, 1, cache)
    assert fetcher.fetch(all_samples(corpus)) == [
        make_mp4(sample.clip) for sample in all_samples(corpus)
    ]
    assert fetcher.take_read_stats().requests == 1
    assert harmed.sha256 not in cache.files()


def test_a_bad_sample_of_the_corpus_itself_stays_in_the_cache(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    entry = corpus["alpha"].entry.shards[0]
    path = Path(corpus["alpha"].store.address, "alpha", entry.name)
    sample = all_samples(corpus)[0]
    data = bytearray(path.read_bytes())
    data[sample.mp4_offset] ^= 1
    path.write_bytes(data)
    cache = a_cache(tmp_path)
    (cache.folder / f"{entry.sha256}.tar").write_bytes(data)
    fetcher = Fetcher(corpus, 1, cache)
    (error,) = fetcher.fetch([sample])
    assert "its bytes have the XXH3 checksum" in str(error)
    stats = fetcher.take_read_stats()
    assert (stats.cache_dropped, stats.read_again, stats.requests) == (0, 0, 2)


def test_a_second_job_reads_and_takes_over_when_the_first_ends(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    cache = a_cache(tmp_path)
    with run_filler(cache, corpus) as first:
        wait_for(lambda: first.counted()["filled"] == 6)
        with run_filler(cache, corpus) as second:
            time.sleep(0.3)
            cache.drop(next(iter(shards(corpus))))
            wait_for(lambda: first.counted()["filled"] == 7)
            assert second.counted()["filled"] == 0
    with run_filler(cache, corpus) as third:
        cache.drop(next(iter(shards(corpus))))
        wait_for(lambda: third.counted()["filled"] == 1)


def test_a_shard_that_cannot_be_read_is_counted_and_the_others_come(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    lost = corpus["beta"].entry.shards[1]
    Path(corpus["beta"].store.address, "beta", lost.name).unlink()
    cache = a_cache(tmp_path)
    with run_filler(cache, corpus) as status:
        wait_for(lambda: status.counted()["filled"] == 5 and status.counted()["fill_failures"] == 1)
    assert set(cache.files()) == set(shards(corpus)) - {lost.sha256}


def test_a_full_disk_ends_the_adding_and_nothing_else(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 64):
        cache = a_cache(disk)
        with run_filler(cache, corpus) as status:
            wait_for(lambda: status.counted()["fill_failures"] == 1)
            time.sleep(1.5)
            assert status.counted()["fill_failures"] == 1, (
                "the full disk must not be tried again and again"
            )
            fetcher = Fetcher(corpus, 2, cache)
            assert fetcher.fetch(all_samples(corpus)) == [
                make_mp4(sample.clip) for sample in all_samples(corpus)
            ]
        assert 0 < len(cache.files()) < 6


JOB = """
import sys, time
from pathlib import Path
from surgrec.shards import open_corpus
from surgrec.storage import DiskCache
from surgrec.stream import Mixture, Stream, run_cache_filler
cache = DiskCache(Path(sys.argv[2]), 1_000_000)
stream = Stream(open_corpus([sys.argv[1]]), Mixture(block=16), seed=1)
run = {"start": 0, "positions": 1000, "slots": (0, 8), "global_batch": 8}
with run_cache_filler(cache, stream, **run) as status:
    while status.counted()["filled"] < 6:
        time.sleep(0.01)
    print("filled", flush=True)
    time.sleep(600)
"""


def test_the_filler_ends_with_a_run_that_was_killed(
    corpus: dict[str, Source], tmp_path: Path
) -> None:
    cache = a_cache(tmp_path)
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, tmp_path / "corpus", cache.folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "filled\n"
    assert cache.try_hold() is None
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    wait_for(lambda: cache.try_hold() is not None)
