"""Loaders in separate processes, one after the other, round after round."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from environments import python_with

CONTENDERS = Path(__file__).parent / "contenders"
LIMIT_S = 300


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A loader to measure."""

    script: str
    packages: list[str] = field(default_factory=list)
    """Packages to install; empty: this Python has them."""
    environment: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    form: str = "stored"
    """Folder of the benchmark with the clips in the loader's format."""
    threads: str = ""
    """Name of its option for threads, if it uses threads instead of worker processes."""
    resume_share: float = 1.0
    """Share of the way to the step that is measured, if a resume repeats all the work."""
    no_s3: str = ""
    """Reason for leaving it out on S3."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Common settings of all loaders."""

    folder: Path
    batch: int
    seconds: float
    clips: int

    def job(self, contender: Contender, cores: Sequence[int]) -> dict[str, Any]:
        """Return the job of a loader: one worker, or thread, per core."""
        threads = {contender.threads: len(cores)} if contender.threads else {}
        return {
            "corpus": str(self.folder),
            "cores": list(cores),
            "workers": len(cores),
            "batch": self.batch,
            "seconds": self.seconds,
            "clips": self.clips,
            "options": contender.options | threads,
        }

    def convert(self, contender: Contender, cores: Sequence[int]) -> None:
        """Convert the clips to the loader's format, once."""
        done = self.folder / f"{contender.environment}.converted"
        if contender.environment and not done.exists():
            job = self.job(contender, cores) | {"scratch": str(self.folder)}
            subprocess.run(
                [*_command(self, contender, job), "convert"], check=True, stdin=subprocess.DEVNULL
            )
            done.touch()


Jobs = Mapping[str, tuple[Contender, dict[str, Any]]]


def interleaved(
    setting: Setting, part: str, jobs: Jobs, rounds: int, variables: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the figures of every loader once per round; the order rotates."""
    names = list(jobs)
    for number in range(rounds):
        for index in range(len(names)):
            name = names[(index + number) % len(names)]
            contender, job = jobs[name]
            row = {"part": part, "round": number, "contender": name, "cores": len(job["cores"])}
            row |= run(setting, contender, job, variables or {})
            print(json.dumps(row), flush=True)
            yield row


def run(
    setting: Setting, contender: Contender, job: dict[str, Any], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Run one loader in a separate process; return its figures, or why it has none."""
    scratch = tempfile.mkdtemp(prefix="bench_")
    command = _command(setting, contender, job | {"scratch": scratch})
    environment = (
        os.environ
        | variables
        | {"TMPDIR": scratch, "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    )

    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, cwd=scratch
        )
    except subprocess.TimeoutExpired:
        return {"note": f"no result after {LIMIT_S} s"}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        messages = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(messages) if "Error" in line),
            messages[-1] if messages else "no message",
        )
        return {"note": f"failed with {done.returncode}: {reason[:200]}"}
    return dict(json.loads(results[0].removeprefix("RESULT ")))


def _command(setting: Setting, contender: Contender, job: dict[str, Any]) -> list[str]:
    python = python_with(contender.packages, setting.folder / "envs" / contender.environment)
    return [python, str(CONTENDERS / f"{contender.script}.py"), json.dumps(job)]
