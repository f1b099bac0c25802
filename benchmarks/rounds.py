"""Contenders in processes of their own, one after the other, round after round."""

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
    """Somebody who loads clips."""

    script: str
    packages: list[str] = field(default_factory=list)
    """None: this Python has them."""
    environment: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    form: str = "stored"
    """Of the clips that it reads: a folder of the benchmark's."""
    threads: str = ""
    """Its option for the number of threads, where it works with these instead of worker processes."""
    resume_share: float = 1.0
    """Part of the way to the step that is really gone, where a resume does all the work again."""
    no_s3: str = ""
    """Why it is not measured on S3."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is the same for every contender."""

    folder: Path
    batch: int
    seconds: float
    clips: int

    def job(self, contender: Contender, cores: Sequence[int]) -> dict[str, Any]:
        """What a contender is told: one worker, or thread, per core."""
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
        """The clips in a contender's own format, once."""
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
    """Every contender once per round, each round begun by another one."""
    names = list(jobs)
    for number in range(rounds):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            contender, job = jobs[name]
            row = {"part": part, "round": number, "contender": name, "cores": len(job["cores"])}
            row |= run(setting, contender, job, variables or {})
            print(json.dumps(row), flush=True)
            yield row


def run(
    setting: Setting, contender: Contender, job: dict[str, Any], variables: Mapping[str, str]
) -> dict[str, Any]:
    """The figures of one contender in a process of its own, or why there are none."""
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
        return {"note": f"nothing after {LIMIT_S} s"}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(said) if "Error" in line),
            said[-1] if said else "it said nothing",
        )
        return {"note": f"failed with {done.returncode}: {reason[:200]}"}
    return dict(json.loads(found[0].removeprefix("RESULT ")))


def _command(setting: Setting, contender: Contender, job: dict[str, Any]) -> list[str]:
    python = python_with(contender.packages, setting.folder / "envs" / contender.environment)
    return [python, str(CONTENDERS / f"{contender.script}.py"), json.dumps(job)]
