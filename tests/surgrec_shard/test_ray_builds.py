"""A build on a Ray cluster gives the bytes of a local one, whatever happens to its machines."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ray_clusters import (
    ENCODES,
    FfmpegLog,
    Footage,
    build_locally,
    kill_machine,
    ray_cluster,
    start,
    wait_until,
)
from tests.support.tool import (
    QUICK,
    build_folder,
    command,
    digests,
    read_report,
    run_tool,
    same_key,
)
from tests.support.videos import make_video

pytestmark = pytest.mark.slow

_VIDEOS = 12


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    folder = tmp_path_factory.mktemp("footage")
    for number in range(_VIDEOS):
        path = folder / "videos" / f"{number:02d}.mp4"
        make_video(path, seconds=2 + number % 3, arguments=("-vf", f"hue=h={25 * number}"))
    (folder / "videos" / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    return build_locally(folder, status=3)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> FfmpegLog:
    return FfmpegLog(tmp_path_factory.mktemp("programs") / "bin", pause_s=0.5, when=ENCODES)


@pytest.fixture(scope="module")
def cluster(log: FfmpegLog) -> Iterator[Any]:
    with ray_cluster(3, log.env) as cluster:
        yield cluster


def words(footage: Footage, out: Path, address: str) -> list[str]:
    same_key(footage.private, out.with_suffix(".private"))
    return again(footage, out, address)


def again(footage: Footage, out: Path, address: str) -> list[str]:
    engine = ("--engine", "ray", "--address", address)
    return command(*build_folder(footage.videos), *QUICK, *engine, "--out", out)


def assert_as_local(footage: Footage, out: Path) -> None:
    assert digests(out) == digests(footage.corpus)
    ours, local = read_report(out.with_suffix(".private")), read_report(footage.private)
    assert ours == local
    assert not list((out.with_suffix(".private") / "work").rglob("*.mp4"))


def test_a_lost_machine_and_a_new_one_change_no_byte(
    footage: Footage, cluster: Any, log: FfmpegLog, tmp_path: Path
) -> None:
    log.clear()
    lost = cluster.add_node(num_cpus=1)
    build = start(words(footage, tmp_path / "corpus", cluster.address), log)
    wait_until(lambda: log.attempts().total() >= 5, build)
    kill_machine(lost)
    cluster.add_node(num_cpus=1)

    _, errors = build.communicate(timeout=100)
    assert build.returncode == 3, errors
    assert "Ray: machines 4, cores 4" in errors
    assert_as_local(footage, tmp_path / "corpus")
    # Only what the lost core had in flight was begun twice.
    attempts = log.attempts()
    assert len(attempts) == _VIDEOS
    assert attempts.total() <= _VIDEOS + 1


def test_a_killed_driver_goes_on_where_it_was(
    footage: Footage, cluster: Any, log: FfmpegLog, tmp_path: Path
) -> None:
    log.clear()
    out = tmp_path / "corpus"
    killed = start(words(footage, out, cluster.address), log)
    wait_until(lambda: log.attempts().total() >= 6, killed)
    killed.kill()
    killed.communicate()

    build = start(again(footage, out, cluster.address), log)
    _, errors = build.communicate(timeout=100)
    assert build.returncode == 3, errors
    assert_as_local(footage, out)
    attempts = log.attempts()
    assert len(attempts) == _VIDEOS
    assert attempts.total() <= _VIDEOS + 4  # what the cores had in flight


def test_machines_of_ray_start_build_the_same_bytes(footage: Footage, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Without the token, nobody can use the cluster.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = {**os.environ, **token, "RAY_USAGE_STATS_ENABLED": "0"}
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
    own = ["--node-ip-address", "127.0.0.1", "--include-dashboard", "false"]
    machines = [
        subprocess.Popen(
            [*ray, *options], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for options in (
            ["--head", "--port", str(port), *own],
            ["--address", f"127.0.0.1:{port}", "--node-ip-address", "127.0.0.1"],
        )
    ]
    try:
        build = words(footage, tmp_path / "corpus", f"127.0.0.1:{port}")
        deadline = time.monotonic() + 50
        done = run_tool(*build[1:], env=token)
        while "does not answer" in done.stderr and time.monotonic() < deadline:
            done = run_tool(*build[1:], env=token)
        assert done.returncode == 3, done.stderr
        assert_as_local(footage, tmp_path / "corpus")
    finally:
        for machine in machines:
            machine.send_signal(signal.SIGTERM)
        for machine in machines:
            machine.wait(timeout=30)
