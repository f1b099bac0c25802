"""A few ranks, of which one fails in each of several ways: `python rank_program.py FOLDER`.

Torch is imported once; then all ranks are forked, as `srun` starts them: nothing kills them.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from surgrec.errors import StorageError
from surgrec.training import _ranks
from surgrec.training._launch import run_recipe, start_accelerator
from surgrec.training._ranks import note_progress, on_main
from tests.support.processes import free_port


@dataclass(frozen=True)
class NoOptions:
    """No options."""


class StubbornError(Exception):
    """An error that no other process can rebuild."""

    def __init__(self, lock: object) -> None:
        super().__init__("it holds a lock")
        self.lock = lock


def fail(error: Exception) -> None:
    raise error


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


FAULTS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a key": lambda: {}["absent"],
    "memory": lambda: bytearray(1 << 62),
    "a lock": lambda: fail(StubbornError(threading.Lock())),
    "a sentence": lambda: fail(StorageError("the disk is full; make room")),
    "a file": lambda: open("/nowhere/file"),  # noqa: SIM115
    "Ctrl-C": interrupt,
    "a kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "a freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "a hang": lambda: time.sleep(3600),
    "a long save": lambda: None,
}
CASES = [
    "main: nothing",
    "main: a long save",
    *(f"main: {name}" for name in ("a key", "memory", "a lock", "a sentence", "a file", "Ctrl-C")),
    *(f"0: {name}" for name in ("a key", "a kill")),
    *(f"1: {name}" for name in ("a key", "a lock", "a sentence", "Ctrl-C", "a kill")),
    *("0: a freeze", "1: a freeze", "1: a hang"),
]
"""The place of the fault and the fault: on the main process while the others wait, or on a rank
outside a meeting."""


WORLD_SIZES = {"1: a kill": 3, "1: a freeze": 3}
"""Number of ranks in a case, unless it is 2."""


def recipe(case: str) -> Callable[[NoOptions], None]:
    """Return a recipe that meets once, and then fails."""
    place, fault = case.split(": ")

    def main(config: NoOptions) -> None:
        accelerator = start_accelerator("no", longest_batch_s=0)
        assert on_main(accelerator, lambda: 7) == 7
        if fault == "a long save":
            for _ in range(36 if dist.get_rank() == 0 else 0):
                time.sleep(1)
                note_progress()
            return
        if place == "main":
            on_main(accelerator, FAULTS[fault])
        elif dist.get_rank() == int(place):
            time.sleep(1)
            FAULTS[fault]()
        for _ in range(3000 if fault != "nothing" else 1):
            note_progress()
            dist.all_reduce(torch.zeros(1))
            time.sleep(0.1)
        accelerator.end_training()

    return main


def start(case: str, rank: int, port: int, output: Path) -> int:
    """Fork one rank; return its process."""
    process = os.fork()
    if process:
        return process
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(WORLD_SIZES.get(case, 2)),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
        OMP_NUM_THREADS="1",
    )
    os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY), sys.stderr.fileno())
    # Minutes and an hour of a user's run, as seconds.
    _ranks._SILENT_LOOKS, _ranks._LONGEST_WORK = 20, timedelta(seconds=30)
    status = 1
    try:
        run_recipe("recipe.py", NoOptions, recipe(case))
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # as the interpreter prints it
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Run all cases at once; write the time, and of each rank the status, output and process."""
    folder = Path(sys.argv.pop())
    # Jobs in the background of a shell ignore Ctrl-C, and their processes inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    ranks = {}
    for case in CASES:
        port = free_port()
        for rank in range(WORLD_SIZES.get(case, 2)):
            output = folder / f"{case}-{rank}"
            ranks[start(case, rank, port, output)] = (case, output)

    ends: dict[str, list[Any]] = {case: [] for case in CASES}
    for process, (case, output) in ranks.items():
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        ends[case].append([status, output.read_text(encoding="utf-8"), process])
    (folder / "ends.json").write_text(json.dumps([time.monotonic() - began, ends]))


if __name__ == "__main__":
    main()
