"""A long video is decoded on several machines, and its clips are those of one machine."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_clusters import (
    DECODES,
    ENCODES,
    FfmpegLog,
    Footage,
    build_locally,
    kill_machine,
    ray_cluster,
    start,
    wait_until,
)
from tests.support.tool import QUICK, build_folder, command, digests, same_key
from tests.support.videos import make_video

pytestmark = pytest.mark.slow

X264 = ("-c:v", "libx264", "-bf", "2", "-g", "20")
MINUTES = 6
"""Spans are a little longer than a minute."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("footage")
    make_video(folder / "videos" / "v.mp4", seconds=60 * MINUTES, rate=10, arguments=X264)
    return build_locally(folder)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> FfmpegLog:
    return FfmpegLog(
        tmp_path_factory.mktemp("programs") / "bin", pause_s=3.0, when=f"{ENCODES}|{DECODES}"
    )


@pytest.fixture(scope="module")
def cluster(log: FfmpegLog) -> Iterator[Any]:
    with ray_cluster(2, log.env) as cluster:
        yield cluster


def words(footage: Footage, out: Path, address: str) -> list[str]:
    if not out.with_suffix(".private").exists():
        same_key(footage.private, out.with_suffix(".private"))
    engine = ("--engine", "ray", "--address", address)
    return command(*build_folder(footage.videos), *QUICK, *engine, "--out", out)


def machines_of(log: FfmpegLog) -> set[str]:
    return {machine for machine, _ in log.spans()}


def spans_of(log: FfmpegLog) -> Counter[str]:
    """Return how often the decoding of each span was begun."""
    return Counter(place for _, place in log.spans())


def assert_as_local(footage: Footage, out: Path) -> None:
    assert digests(out) == digests(footage.corpus)
    work = out.with_suffix(".private") / "work"
    assert not [path for path in work.rglob("*") if path.is_dir() and ".spans" in path.name]


def test_two_machines_decode_spans_of_one_video(
    footage: Footage, cluster: Any, log: FfmpegLog, tmp_path: Path
) -> None:
    log.clear()
    build = start(words(footage, tmp_path / "corpus", cluster.address), log)
    _, errors = build.communicate(timeout=200)
    assert build.returncode == 0, errors
    assert "1 video encoded (1 by several decoders)" in " ".join(errors.split())
    assert_as_local(footage, tmp_path / "corpus")
    assert len(machines_of(log)) == 2
    assert set(spans_of(log).values()) == {1}


def test_a_killed_driver_decodes_no_stored_span_again(
    footage: Footage, cluster: Any, log: FfmpegLog, tmp_path: Path
) -> None:
    log.clear()
    again = words(footage, tmp_path / "corpus", cluster.address)
    killed = start(again, log)
    wait_until(lambda: len(list(tmp_path.rglob("*.spans/0*/events.npz"))) >= 2, killed)
    killed.kill()
    killed.communicate()

    build = start(again, log)
    _, errors = build.communicate(timeout=200)
    assert build.returncode == 0, errors
    assert_as_local(footage, tmp_path / "corpus")
    # Only what two cores had in flight was begun twice.
    assert spans_of(log).total() <= len(spans_of(log)) + 2


@pytest.mark.parametrize("loses", ["encoder", "helper"])
def test_a_lost_machine_changes_no_byte(
    loses: str, footage: Footage, log: FfmpegLog, tmp_path: Path
) -> None:
    log.clear()
    with ray_cluster(4, log.env, head_cores=0) as cluster:
        build = start(words(footage, tmp_path / "corpus", cluster.address), log)
        wait_until(lambda: len(log.spans()) >= 4 and bool(log.encoders()), build)
        machines = {
            str(node.all_processes["raylet"][0].process.pid): node
            for node in cluster.list_all_nodes()
        }
        (encoder,) = log.encoders()
        lost = encoder if loses == "encoder" else (machines_of(log) - {encoder}).pop()
        kill_machine(machines[lost])

        _, errors = build.communicate(timeout=200)
    assert build.returncode == 0, errors
    assert_as_local(footage, tmp_path / "corpus")
    assert len(log.encoders()) == 1 + (loses == "encoder")
    # Only what the lost machine had in flight was begun twice: a helper has one span at a time.
    begun_there = {place for machine, place in log.spans() if machine == lost}
    twice = {place for place, count in spans_of(log).items() if count > 1}
    assert twice <= begun_there
    assert len(twice) <= 1 or loses == "encoder"
    assert max(spans_of(log).values()) <= 2
