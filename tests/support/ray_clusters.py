"""Ray clusters of several machines, which are processes of this one."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

_LOGGING_FFMPEG = """#!/bin/sh
case "$*" in {when}) echo "$PWD" >> {log}; sleep {pause_s};; esac
exec {ffmpeg} "$@"
"""


ENCODES = "*libx264*segment*"
DECODES = "*-c:v\\ rawvideo*"
"""Patterns of the shell for the arguments of an ffmpeg that encodes clips, or decodes a video."""


class FfmpegLog:
    """An ffmpeg that writes down its starts for one purpose, and then waits a moment.

    Args:
        folder: Folder for the program and its log.
        pause_s: How long it waits, seconds: a test has the time to kill something meanwhile.
        when: `ENCODES` or `DECODES`.
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
        return len(self._log.read_text().splitlines())

    def attempts(self) -> Counter[str]:
        """Return how often the encoding of each video was begun. Each has one uncut stretch."""
        folders = (Path(line).name for line in self._log.read_text().splitlines())
        return Counter(name.partition(".partial-")[0] for name in folders)


@contextmanager
def ray_cluster(machines: int, env: dict[str, str]) -> Iterator[Any]:
    """Yield a cluster of machines with one core each.

    Args:
        machines: Their number.
        env: Variables of their processes, beside those of the test.
    """
    from ray.cluster_utils import Cluster

    with mock.patch.dict(os.environ, {**env, "RAY_USAGE_STATS_ENABLED": "0"}):
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        try:
            for _ in range(machines - 1):
                cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()


def kill_machine(node: Any) -> None:
    """Kill the processes of a machine with SIGKILL, as a power failure would."""
    for processes in list(node.all_processes.values()):
        for each in processes:
            os.kill(each.process.pid, signal.SIGKILL)
