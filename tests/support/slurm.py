"""A real Slurm on this machine: its controller, one node, and munge, all of the test's user."""

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.needs import missing
from tests.support.processes import free_port

SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Folders of daemons. They are not in the PATH of every user."""
WAIT_S = 240
"""Longest time that a test waits for Slurm or a job."""
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=cred_expire=5,socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
"""A machine of two cores, without cgroups and accounting. The credentials of jobs expire after 5 s:
a job that is queued again starts once that time is over (by default two minutes)."""


class Slurm:
    """A running Slurm of one node.

    Args:
        folder: Its configuration, its state and its logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        }

    def run(self, *words: object, cwd: Path | None = None) -> str:
        """Run a command with this Slurm and this Python; return its output."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """Return the state of a job, such as `RUNNING`."""
        return self.field(job, "JobState")

    def field(self, job: str, name: str) -> str:
        """Return a field of `scontrol show job`."""
        found = re.search(rf"\b{name}=(\S*)", self.run("scontrol", "show", "job", job))
        assert found, f"job {job} has no {name}"
        return found.group(1)

    def until(self, condition: Callable[[], bool], *logs: Path) -> None:
        """Wait for a condition; if it does not come, fail with the logs of jobs and daemons."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "\n".join(
                f"{path}: {path.read_text()[-2000:]}"
                for path in (*logs, *self._folder.glob("*.log"))
                if path.exists()
            )
            time.sleep(0.1)


@contextmanager
def run_slurm() -> Iterator[Slurm]:
    """Yield a Slurm with one node of two cores; stop its jobs and daemons at the end."""
    daemons = {name: _find(name) for name in ("munged", "slurmctld", "slurmd")}
    host = socket.gethostname().partition(".")[0]

    # The path of a socket has at most 107 characters, and pytest's folders may be longer.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as running:
        folder = Path(name)
        (folder / "state").mkdir()
        (folder / "munge.key").touch(mode=0o600)
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        config = CONFIG.format(
            host=host,
            user=getpass.getuser(),
            folder=folder,
            controller_port=free_port(),
            node_port=free_port(),
        )
        (folder / "slurm.conf").write_text(config, encoding="utf-8")
        slurm = Slurm(folder)

        places = ("key-file", "socket", "pid-file", "log-file", "seed-file")
        files = [f"--{place}={folder}/munge.{place.removesuffix('-file')}" for place in places]
        _start([daemons["munged"], "--foreground", "--force", *files], slurm, running)
        slurm.until((folder / "munge.socket").exists)

        _start([daemons["slurmctld"], "-D"], slurm, running)
        _start([daemons["slurmd"], "-D", "-N", host], slurm, running)
        running.callback(_cancel_jobs, slurm)
        slurm.until(lambda: _answer(slurm, "sinfo", "-h", "-o", "%t") == "idle")
        yield slurm


def _find(name: str) -> str:
    """Return the path of a daemon."""
    path = os.pathsep.join((os.environ["PATH"], *SBIN))
    return shutil.which(name, path=path) or missing("needs Slurm: make ci-tools")


def _start(command: list[str], slurm: Slurm, running: ExitStack) -> None:
    """Start a daemon, which is stopped when `running` ends."""
    output = Path(slurm.environment["SLURM_CONF"]).with_name(f"{Path(command[0]).name}.log")
    log = running.enter_context(output.open("wb"))
    daemon = subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log)
    running.callback(daemon.wait, timeout=60)
    running.callback(daemon.terminate)


def _cancel_jobs(slurm: Slurm) -> None:
    """Cancel all jobs and wait for their end."""
    _answer(slurm, "scancel", "--full", "--user", getpass.getuser())
    slurm.until(lambda: not _answer(slurm, "squeue", "-h"))


def _answer(slurm: Slurm, *words: str) -> str:
    """Return what Slurm answers; empty while the controller starts."""
    done = subprocess.run(words, env=slurm.environment, capture_output=True, text=True, check=False)
    return done.stdout.strip()
