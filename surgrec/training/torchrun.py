"""Run torchrun, and end in one sentence where torchrun ends with a traceback.

    python -m surgrec.training.torchrun --nproc_per_node 8 recipes/jepa.py ...

It takes the options of torchrun. On SIGTERM, torchrun passes the signal on to the ranks, which save
a checkpoint and leave. It kills them after 30 seconds, and ends with a traceback and status 1, as
after a failure. This program gives them ten minutes, and ends with status 143 (128 + the number of
the signal).
"""

import os
import signal
import sys
from typing import NoReturn

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


def main() -> None:
    """Run torchrun with the options of this process.

    Exit status: 0 after the last step or a stop by a file RUN/STOP; 1 after an error, which the
    ranks have printed; 128 and the number of a signal that ended the job, so 143 after SIGTERM.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")  # --shutdown-timeout wins
    try:
        run.main()
    except SignalException as stopped:
        name = signal.Signals(stopped.sigval).name
        _end(f"stopped by {name}, after all ranks had ended", 128 + stopped.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        _end(f"rank {rank} ended with status {failure.exitcode}; its message is above", 1)


def _end(message: str, status: int) -> NoReturn:
    print(f"torchrun: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


if __name__ == "__main__":
    main()
