"""How launchers end: in one sentence, where torchrun and accelerate end with a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import psutil
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

from surgrec.errors import reason

_LONGEST_SAVE_S = 600


def run_launcher(name: str, main: Callable[[], object]) -> NoReturn:
    """Run the main function of a launcher, and exit when all ranks have ended.

    Exit status: 0 after the last step or a stop by a file RUN/STOP; 1 after an error, which the
    ranks have printed; 128 and the number of a signal that ended the job, so 143 after SIGTERM.

    Args:
        name: Name of the launcher in messages.
        main: Its main function.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_LONGEST_SAVE_S))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise)  # until the agent of several ranks has its own handler
    try:
        main()
    except SignalException as stopped:
        _end_ranks()
        text = f"stopped by {signal.Signals(stopped.sigval).name}, after all ranks had ended"
        _end(name, text, 128 + stopped.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        where = "its message" if failure.exitcode > 0 else "the message of another rank"
        text = f"rank {rank} ended with status {failure.exitcode}; {where} is above"
        _end(name, text, 1)
    except (RendezvousError, dist.DistError) as failed:
        _end_ranks()
        text = (
            f"this machine does not reach the others of the run ({reason(failed)}); start one "
            "launcher per machine with the same address, and go on with --resume true"
        )
        _end(name, text, 1)
    except subprocess.CalledProcessError as failed:
        _end(name, f"the process ended with status {failed.returncode}; its message is above", 1)
    sys.exit(0)


def _raise(number: int, frame: object) -> NoReturn:
    raise SignalException(f"got the signal {number}", sigval=signal.Signals(number))


def _end_ranks() -> None:
    """Tell processes that still run to save, and wait for them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ranks = psutil.Process().children()
    for rank in ranks:
        with suppress(psutil.Error):
            rank.terminate()
    _, alive = psutil.wait_procs(ranks, timeout=_LONGEST_SAVE_S)
    for rank in alive:
        with suppress(psutil.Error):
            rank.kill()


def _end(name: str, message: str, status: int) -> NoReturn:
    print(f"{name}: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)
