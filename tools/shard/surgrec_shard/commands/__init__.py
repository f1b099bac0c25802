"""The console script `surgrec-shard`: one file per command."""

import os
import sys

from surgrec.cli import Command, run
from surgrec.terminal import say
from surgrec_shard.commands.build import build
from surgrec_shard.commands.info import info
from surgrec_shard.commands.phantom import phantom
from surgrec_shard.commands.verify import verify

__all__ = ["main"]

_MOVED = ("mix", "order")
"""Commands that are now commands of `surgrec`."""

_DESCRIPTION = """
SurgRec: from surgical videos to shards for training.

The companion command `surgrec` reads and evaluates corpora.
"""

_EXIT_STATUS = """
Exit status:

    0    done
    1    refused or failed, with one sentence on standard error; or problems found (verify)
    2    wrong command line
    3    done, but some videos were skipped; the output names them (build)
    130  interrupted; the same command continues
"""


def main() -> None:
    """Run `surgrec-shard`."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in _MOVED:
        say(f"`surgrec-shard {command}` has moved to `surgrec {command}`; use the new name")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "surgrec", *sys.argv[1:]])

    commands = {
        "build": Command(function=build),
        "verify": Command(function=verify, positional="corpus"),
        "info": Command(function=info, positional="corpus", many=True),
        "phantom": Command(function=phantom),
    }
    run("surgrec-shard", commands, description=_DESCRIPTION, epilog=_EXIT_STATUS)
