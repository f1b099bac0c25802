"""Features from a Ray cluster are the bytes of a local extraction, whatever its machines do."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from surgrec.features import EncoderChoice, extract
from tests.features.conftest import CONFIG, content
from tests.support.ray_clusters import (
    DECODES,
    FfmpegLog,
    kill_machine,
    ray_cluster,
    start,
    wait_until,
)
from tests.support.tool import run_surgrec
from tests.support.videos import make_video

pytestmark = pytest.mark.slow

_VIDEOS = 8


@dataclass(frozen=True, kw_only=True)
class Local:
    """Videos, and the folder that a local extraction makes from them."""

    videos: Path
    out: Path


@pytest.fixture(scope="module")
def local(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Local:
    folder = tmp_path_factory.mktemp("local")
    for number in range(_VIDEOS):
        path = folder / "videos" / f"{number:02d}.mp4"
        make_video(path, seconds=2 + number % 3, arguments=("-vf", f"hue=h={25 * number}"))
    (folder / "videos" / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    out = folder / "out"
    list(extract([str(folder / "videos")], EncoderChoice(path=run_dir), CONFIG, out))
    return Local(videos=folder / "videos", out=out)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> FfmpegLog:
    return FfmpegLog(tmp_path_factory.mktemp("programs") / "bin", pause_s=0.7, when=DECODES)


@pytest.fixture(scope="module")
def cluster(log: FfmpegLog) -> Iterator[Any]:
    with ray_cluster(2, log.env) as cluster:
        yield cluster


def words(local: Local, run_dir: Path, out: Path, address: str) -> list[str]:
    """Return an extraction by relative paths, which machines have to understand."""
    places = [os.path.relpath(path) for path in (local.videos, run_dir, out)]
    encoder = ["--encoder", places[1], "--out", places[2]]
    settings = ["--stride_s", str(CONFIG.stride_s), "--batch", str(CONFIG.batch)]
    return ["features", places[0], *encoder, *settings, "--engine", "ray", "--address", address]


def test_a_killed_command_and_a_lost_machine_change_no_byte(
    local: Local, run_dir: Path, cluster: Any, log: FfmpegLog, tmp_path: Path
) -> None:
    extraction = words(local, run_dir, tmp_path / "out", cluster.address)
    again = [sys.executable, "-m", "surgrec", *extraction]
    killed = start(again, log)
    wait_until(lambda: len(list((tmp_path / "out").rglob("*.safetensors"))) >= 2, killed)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "out" / "features.json").exists()

    lost = cluster.add_node(num_cpus=1)
    before = log.starts()
    command = start(again, log)
    wait_until(lambda: log.starts() >= before + 3, command)
    kill_machine(lost)

    _, errors = command.communicate(timeout=200)
    assert command.returncode == 3, errors
    assert "Ray: machines 3, cores 3, GPUs 0" in errors
    assert "1 left out" in errors
    assert content(tmp_path / "out") == content(local.out)
    # Only what two cores, and then the lost one, had in flight was begun twice.
    assert _VIDEOS <= log.starts() <= _VIDEOS + 3


def test_a_corpus_on_a_cluster_started_by_the_command(
    tiny_corpus: Path, run_dir: Path, undisturbed: Path, tmp_path: Path
) -> None:
    settings = ("--stride_s", CONFIG.stride_s, "--batch", CONFIG.batch, "--device", "cpu")
    out = tmp_path / "out"
    words = ("features", tiny_corpus, "--encoder", run_dir, "--out", out, *settings)
    done = run_surgrec(*words, "--engine", "ray")
    assert done.returncode == 0, done.stderr
    assert "Ray: machines 1, cores" in done.stderr
    assert content(out) == content(undisturbed)


def test_a_machine_whose_gpu_torch_does_not_find_is_named(
    local: Local, run_dir: Path, cluster: Any, tmp_path: Path
) -> None:
    arguments = words(local, run_dir, tmp_path / "out", cluster.address)
    gpus = cluster.add_node(num_cpus=1, num_gpus=1)
    try:
        refused = run_surgrec(*arguments)
    finally:
        cluster.remove_node(gpus)
    assert refused.returncode == 1
    assert "offers a GPU, and torch finds none there; check its driver" in refused.stderr

    refused = run_surgrec(*arguments, "--device", "cuda")
    assert refused.returncode == 1
    assert "no machine of the Ray cluster offers a GPU; start its machines" in refused.stderr
