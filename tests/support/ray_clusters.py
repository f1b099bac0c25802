"""Ray clusters of several machines, which are processes of this one."""

import itertools
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from tests.support.tool import QUICK, build_folder, run_here

_LOGGING_FFMPEG = """#!/bin/sh
case "$*" in {when}) echo "$RAY_RAYLET_PID" "$PWD" "$@" >> {log}; sleep {pause_s};; esac
exec {ffmpeg} "$@"
"""


ENCODES = "*libx264*segment*"
DECODES = "*-c:v\\ rawvideo*"
"""Patterns of the shell for the arguments of an ffmpeg that encodes clips, or decodes a video."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Videos, and the corpus that a local build makes from them."""

    videos: Path
    corpus: Path
    private: Path


def build_locally(folder: Path, *, status: int = 0) -> Footage:
    """Build the corpus of `folder/videos` without a cluster.

    Args:
        folder: Folder of the videos and for the corpus.
        status: Exit status of the build: 3 if a video is bad.
    """
    videos, corpus = folder / "videos", folder / "corpus"
    built = run_here(*build_folder(videos), *QUICK, "--out", corpus)
    assert built.returncode == status, built.stderr
    return Footage(videos=videos, corpus=corpus, private=folder / "corpus.private")


class FfmpegLog:
    """An ffmpeg that writes down its starts for one purpose, and then waits a moment.

    Args:
        folder: Folder for the program and its log.
        pause_s: How long it waits, seconds: a test has the time to kill something meanwhile.
        when: `ENCODES`, `DECODES` or both, with `|` between them.
    """

    def __init__(self, folder: Path, pause_s: float, when: str) -> None:
        folder.mkdir()
        self._log, program = folder / "log", folder / "ffmpeg"
        self._log.touch()
        text = _LOGGING_FFMPEG.format(
            when=when, log=self._log, pause_s=pause_s, ffmpeg=shutil.which("ffmpeg")
        )
        program.write_text(text)
        program.chmod(0o755)
        self.env = {"PATH": f"{folder}:{os.environ['PATH']}"}

    def clear(self) -> None:
        """Forget all starts."""
        self._log.write_text("")

    def starts(self) -> int:
        """Return the number of starts."""
        return len(self._lines())

    def attempts(self) -> Counter[str]:
        """Return how often the encoding of each video was begun. Each has one uncut stretch."""
        folders = (Path(folder).name for _, folder, *_ in self._lines())
        return Counter(name.partition(".partial-")[0] for name in folders)

    def spans(self) -> list[tuple[str, str]]:
        """Return the machine and the place in the video of each decoder of a span."""
        return [
            (line[0], line[line.index("-ss") + 1] if "-ss" in line else "0")
            for line in self._lines()
            if "libx264" not in line
        ]

    def encoders(self) -> list[str]:
        """Return the machine of each encoder."""
        return [line[0] for line in self._lines() if "libx264" in line]

    def _lines(self) -> list[list[str]]:
        """Return the machine, the folder and the arguments of each start."""
        return [line.split(" ") for line in self._log.read_text().splitlines()]


@contextmanager
def ray_cluster(machines: int, env: dict[str, str], *, head_cores: int = 1) -> Iterator[Any]:
    """Yield a cluster of machines with one core each.

    Args:
        machines: Their number.
        env: Variables of their processes, beside those of the test.
        head_cores: Cores of the first one, which cannot be lost.
    """
    from ray.cluster_utils import Cluster

    with mock.patch.dict(os.environ, {**env, "RAY_USAGE_STATS_ENABLED": "0"}):
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": head_cores, "include_dashboard": False},
        )
        try:
            for _ in range(machines - 1):
                cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()


def start(arguments: Sequence[str], log: FfmpegLog) -> "subprocess.Popen[str]":
    """Start a command whose ffmpeg is that of the log."""
    env = {**os.environ, **log.env}
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=env)


def wait_until(is_so: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for a moment of a running command, at most 200 s."""
    deadline = time.monotonic() + 200
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_machine(node: Any) -> None:
    """Kill the processes of a machine and its workers with SIGKILL, as a power failure would."""
    for started in itertools.chain(*node.all_processes.values()):
        own = psutil.Process(started.process.pid)
        for process in (*own.children(recursive=True), own):
            with suppress(psutil.NoSuchProcess):
                process.kill()
