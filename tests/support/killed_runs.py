"""A run of two ranks that faults disturb at random moments, and that each start continues."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from surgrec.runs import RunFiles, read_rows
from tests.support.processes import recipe, start, until

TORCHRUN = [sys.executable, "-m", "surgrec.training.torchrun", "--nproc_per_node", "2"]
_DEADLINE_S = 120
"""Longest time from a fault to the end of all processes, on a busy machine."""
_FROZEN_S = 300
"""Time after which a rank without a sign of life counts as ended."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a start that a fault disturbed."""

    fault: str
    step: int
    """Steps in the log before the fault."""
    saved: int
    """Step of the newest checkpoint after the end."""
    status: int
    """Status of the launcher."""
    seconds: float
    """Time from the fault to the end of all processes."""
    sentence: str
    """The message of a rank; empty if there is none."""
    problem: str
    """What is wrong with the end; empty if nothing is."""


class DisturbedRun:
    """A run of two ranks of the tiny JEPA.

    Args:
        corpus: Its corpus.
        run_dir: Its folder.
        steps: Steps of the whole run.
        seed: Seed of the random moments.
    """

    def __init__(self, corpus: Path, run_dir: Path, *, steps: int, seed: int = 0) -> None:
        options = ["--steps", steps, "--save_every", 4, "--log.every", 2, "--global_batch", 4]
        words = recipe("jepa", 1, corpus, run_dir, *options, "--log.samples", "true")
        self.files = RunFiles(run_dir)
        self.command = [*TORCHRUN, *words[1:], "--resume", "true"]
        self.chance = random.Random(seed)

    def finish(self) -> None:
        """Continue the run to its last step."""
        process = start(self.command)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors

    def result(self) -> tuple[list[tuple[object, ...]], bytes]:
        """Return step, place, key and loss of every sample, and the bytes of the encoder."""
        names = ("step", "slot", "key", "loss")
        rows = [tuple(row[name] for name in names) for row in read_rows(self.files.samples)]
        return rows, (self.files.run_dir / "encoder.safetensors").read_bytes()

    def disturb(self, fault: str, at_step: int) -> Ending:
        """Continue the run until its log has `at_step` steps, and disturb it a moment later."""
        # A killed start may have left rows behind its checkpoint, until the next one drops them.
        starts = self._starts()
        process = start(self.command)
        if fault == "kill in the start":
            time.sleep(self.chance.uniform(0, 10))
        else:
            until(process, lambda: self._starts() > starts and self._done() >= at_step)
            time.sleep(self.chance.uniform(0, 0.5))
        if fault.endswith("in a save"):
            self._wait_for_save(process)
        launcher = psutil.Process(process.pid)
        family = [*launcher.children(recursive=True), launcher]
        step, began = self._done(), time.monotonic()
        FAULTS[fault](process, self.chance)

        deadline = _DEADLINE_S + (_FROZEN_S if "freeze" in fault else 0)
        _, errors = process.communicate(timeout=deadline)
        _, alive = psutil.wait_procs(family, timeout=deadline)
        return Ending(
            fault=fault,
            step=step,
            saved=max(self.files.checkpoint_steps(), default=0),
            status=process.returncode,
            seconds=time.monotonic() - began,
            sentence=next((line for line in errors.splitlines() if line.startswith(_HEADS)), ""),
            problem=_problem(fault, process.returncode, errors, alive),
        )

    def _starts(self) -> int:
        return len(read_rows(self.files.starts))

    def _done(self) -> int:
        return len(read_rows(self.files.metrics))

    def _wait_for_save(self, process: subprocess.Popen[str]) -> None:
        """Wait until the files of a checkpoint are being written."""
        while not any(self.files.checkpoints.glob(".step-*.partial")):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.001)


def _ranks(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def _kill_all(process: subprocess.Popen[str], chance: random.Random) -> None:
    launcher = psutil.Process(process.pid)
    for running in [launcher, *launcher.children(recursive=True)]:
        running.kill()


def _signal_rank(number: signal.Signals) -> Callable[..., None]:
    def send(process: subprocess.Popen[str], chance: random.Random) -> None:
        chance.choice(_ranks(process)).send_signal(number)

    return send


def _signal_launcher(number: signal.Signals) -> Callable[..., None]:
    return lambda process, chance: process.send_signal(number)


def _kill_worker(process: subprocess.Popen[str], chance: random.Random) -> None:
    """Kill a loader worker, which is the only child of its rank."""
    (worker,) = chance.choice(_ranks(process)).children()
    worker.kill()


FAULTS: dict[str, Callable[[subprocess.Popen[str], random.Random], None]] = {
    "kill of all processes": _kill_all,
    "kill in the start": _kill_all,
    "kill in a save": _kill_all,
    "kill of one rank": _signal_rank(signal.SIGKILL),
    "kill of one rank in a save": _signal_rank(signal.SIGKILL),
    "kill of a loader worker": _kill_worker,
    "kill of the launcher": _signal_launcher(signal.SIGKILL),
    "SIGTERM to the launcher": _signal_launcher(signal.SIGTERM),
    "SIGTERM to one rank": _signal_rank(signal.SIGTERM),
    "freeze of one rank": _signal_rank(signal.SIGSTOP),
}
_HEADS = ("jepa: error: ", "stopped as requested")
_EXPECTED: dict[str, tuple[int, list[str]]] = {
    "kill of all processes": (-9, []),
    "kill in the start": (-9, []),
    "kill in a save": (-9, []),
    "kill of one rank": (1, ["ended without a message"]),
    "kill of one rank in a save": (1, ["ended without a message"]),
    "kill of a loader worker": (1, ["error: rank", "error: the loader stopped (DataLoader worker"]),
    "kill of the launcher": (-9, ["stopped as requested"]),
    "SIGTERM to the launcher": (143, ["stopped as requested"]),
    "SIGTERM to one rank": (0, ["stopped as requested"]),
    "freeze of one rank": (1, ["gave no sign of life for 5 minutes"]),
}
"""Status of the launcher after each fault, and a part of each sentence of the ranks, sorted."""


def _problem(fault: str, status: int, errors: str, alive: list[psutil.Process]) -> str:
    """Return what is wrong with an end, or an empty string."""
    expected, parts = _EXPECTED[fault]
    sentences = sorted(line for line in errors.splitlines() if line.startswith(_HEADS))
    if alive:
        return f"{len(alive)} processes go on"
    if "Traceback" in errors:
        return f"a traceback: {errors[-500:]}"
    if status != expected:
        return f"status {status}: {errors[-500:]}"
    if len(sentences) != len(parts) or any(
        part not in sentence for part, sentence in zip(parts, sentences, strict=True)
    ):
        return f"{len(sentences)} sentences: {sentences}"
    return ""
