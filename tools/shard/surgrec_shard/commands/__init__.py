"""The console script `surgrec-shard`: one file per verb."""

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
"""Verbs that are now verbs of `surgrec`."""


def main() -> None:
    """Run `surgrec-shard`."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in _MOVED:
        say(f"`surgrec-shard {verb}` has moved to `surgrec {verb}`; use the new name")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "surgrec", *sys.argv[1:]])

    commands = {
        "build": Command(function=build),
        "verify": Command(function=verify, positional="corpus"),
        "info": Command(function=info, positional="corpus", many=True),
        "phantom": Command(function=phantom),
    }
    run("surgrec-shard", commands)
