"""Scenarios of the disk cache. Each returns the results of its jobs, every job from step 0 on."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surgrec.storage import file_sha256
from tests.faults.proxy import since
from tests.faults.site import DEADLINE_S, Site
from tests.faults.store_play import SLOW_TRAINER, delayed
from tests.support.loading import Job, Loaded
from tests.support.needs import missing
from tests.support.small_disk import small_disk


def with_cache(site: Site, limit_bytes: int = 10**9) -> dict[str, Any]:
    """Return the options of a job that is still reading when something happens to its cache."""
    return SLOW_TRAINER | {"cache_dir": site.cache, "cache_gb": limit_bytes / 1e9}


def disk_full(site: Site) -> list[Loaded]:
    """Only half of the shards fit on the cache's disk, in spite of a higher limit."""
    with small_disk(site.cache, kilobytes=_corpus_bytes(site) // 2048):
        loaded = site.load(**with_cache(site))
        assert 0 < len(_cached(site)) < len(_shards(site))
    return [loaded]


def folder_that_cannot_be(site: Site) -> list[Loaded]:
    """The parent of the cache's folder is a file."""
    site.cache.write_bytes(b"")
    return [site.load(cache_dir=site.cache / "below")]


def limit_below_a_shard(site: Site) -> list[Loaded]:
    """No shard fits, so none is cached."""
    loaded = site.load(**with_cache(site, limit_bytes=1000))
    assert not _cached(site)
    return [loaded]


def harmed(harm: Callable[[Path], object]) -> Callable[[Site], list[Loaded]]:
    """Damage every file that enters the cache, while a run reads it."""

    def play(site: Site) -> list[Loaded]:
        job = site.start(**with_cache(site))
        job.until(lambda: len(_cached(site)) > 2)
        count = 0
        while job.process.is_alive():
            for path in _cached(site):
                try:
                    harm(path)
                except FileNotFoundError:  # dropped, because it was damaged before
                    continue
                count += 1
            time.sleep(0.05)
        assert count > 2
        return [job.finish(DEADLINE_S)]

    return play


def change_a_byte(path: Path) -> None:
    """Change a byte of every kilobyte, in the file that other processes have open."""
    with path.open("r+b") as file:
        for offset in range(0, path.stat().st_size, 1024):
            file.seek(offset)
            file.write(b"\xaa")


def cut(path: Path) -> None:
    os.truncate(path, 2000)


def wrong_from_the_start(site: Site) -> list[Loaded]:
    """The cache already has files with the right names and sizes, and wrong bytes."""
    site.cache.mkdir()
    for sha256, size in _shards(site).items():
        (site.cache / f"{sha256}.tar").write_bytes(bytes(size))
    return [site.load(**with_cache(site))]


def folder_removed(site: Site) -> list[Loaded]:
    """The cache's folder is removed during the run."""
    job = site.start(**with_cache(site))
    job.until(lambda: len(_cached(site)) > 2)
    # Rename it first, so that it disappears at once: the filler writes to it meanwhile.
    shutil.rmtree(site.cache.rename(site.folder / "removed"))
    return [job.finish(DEADLINE_S)]


def disk_fails(site: Site) -> list[Loaded]:
    """Files are damaged and cannot be removed, as on a failing disk that became read-only."""
    job = site.start(**with_cache(site))
    job.until(lambda: len(_cached(site)) > 2)
    for path in _cached(site):
        change_a_byte(path)
        chattr = subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True)
        if chattr.returncode and path.exists():  # else the job has removed it meanwhile
            job.kill()
            missing("only root may make a file that cannot be removed")
    loaded = job.finish(DEADLINE_S)
    for path in _cached(site):
        subprocess.run(["chattr", "-i", str(path)], check=True)
    return [loaded]


def filler_killed(site: Site) -> list[Loaded]:
    """The filler process is killed with SIGKILL."""
    site.proxy.do(since(1, delayed(0.02)))
    job = site.start(**with_cache(site))
    job.until(lambda: len(_cached(site)) > 0)
    (filler,) = _fillers(site, job)
    filler.kill()
    return [job.finish(DEADLINE_S)]


def two_jobs(site: Site) -> list[Loaded]:
    """Two jobs use one folder at the same time. Three fifths of the shards fit."""
    limit = _corpus_bytes(site) * 3 // 5
    jobs = [site.start(**with_cache(site, limit)) for _ in range(2)]
    _check_size(site, limit, jobs)
    return [job.finish(DEADLINE_S) for job in jobs]


def killed_while_it_fills(site: Site) -> list[Loaded]:
    """A whole job is killed with a shard half copied; the next job has a sound cache."""
    limit = _corpus_bytes(site) * 3 // 5
    site.proxy.do(since(1, delayed(0.1)))
    first = site.start(**with_cache(site, limit))
    first.until(lambda: any(site.cache.glob(".tmp-*.tar")))
    first.kill()
    assert any(site.cache.glob(".tmp-*.tar"))
    second = site.start(**with_cache(site, limit))
    _check_size(site, limit, [second])
    loaded = second.finish(DEADLINE_S)
    assert not any(site.cache.glob(".tmp-*.tar"))
    assert len(_cached(site)) > 1
    for path in _cached(site):
        assert file_sha256(path) == path.stem
    return [loaded]


def _check_size(site: Site, limit_bytes: int, jobs: list[Job]) -> None:
    """Check the folder's size until the jobs end."""
    largest = 0
    while any(job.process.is_alive() for job in jobs):
        sizes = []
        for entry in os.scandir(site.cache) if site.cache.exists() else ():
            try:
                sizes.append(entry.stat().st_size)
            except FileNotFoundError:
                continue
        largest = max(largest, sum(sizes))
        time.sleep(0.01)
    assert 0 < largest <= limit_bytes


def _cached(site: Site) -> list[Path]:
    """Return the complete cached shards."""
    return [path for path in site.cache.glob("*.tar") if not path.name.startswith(".")]


def _fillers(site: Site, job: Job) -> list[Any]:
    """Return the processes of a job that hold the cache's lock."""
    lock = str(site.cache / "lock")
    return [child for child in job.children() if lock in {file.path for file in child.open_files()}]


def _shards(site: Site) -> dict[str, int]:
    """Return the bytes of each shard of the corpus, by SHA-256."""
    return {file_sha256(path): path.stat().st_size for path in site.corpus.rglob("*.tar")}


def _corpus_bytes(site: Site) -> int:
    return sum(_shards(site).values())
