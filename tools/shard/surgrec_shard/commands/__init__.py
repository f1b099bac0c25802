"""The console script `surgrec-shard`: one file per command."""

import os
import sys

from surgrec.cli import Command, run
from surgrec.terminal import say

__all__ = ["main"]

_MOVED = ("mix", "order")
"""Commands that are now commands of `surgrec`."""

_DESCRIPTION = """
SurgRec: from surgical videos to shards for training.

The companion command `surgrec` reads and evaluates corpora.

Example:

    surgrec-shard plan --videos /recordings
    surgrec-shard build --manifest videos.csv --out /data/corpus
"""

_EXIT_STATUS = """
Exit status:

    0    done
    1    refused or failed, with one sentence on standard error; or problems found (verify,
         dedup)
    2    wrong command line
    3    done, but some videos were skipped; the output names them (build)
    130  interrupted; the same command continues
"""


COMMANDS = {
    "plan": Command(
        function="surgrec_shard.commands.plan:plan",
        summary="Show the time, bytes and requests that a build will take.",
    ),
    "build": Command(
        function="surgrec_shard.commands.build:build",
        summary="Build shards from videos.",
    ),
    "remove": Command(
        function="surgrec_shard.commands.remove:remove",
        summary="Remove a case, a patient, a video or a source, with every byte.",
        positional="corpus",
    ),
    "verify": Command(
        function="surgrec_shard.commands.verify:verify",
        summary="Read every shard once and check it against the index.",
        positional="corpus",
    ),
    "dedup": Command(
        function="surgrec_shard.commands.dedup:dedup",
        summary="Find near-duplicates in a corpus, or between two.",
        positional="corpus",
    ),
    "info": Command(
        function="surgrec_shard.commands.info:info",
        summary="Show videos, cases, hours, clips and size of each source.",
        positional="corpus",
        many=True,
    ),
    "export": Command(
        function="surgrec_shard.commands.export:export",
        summary="Write the files with which Energon or wids reads a corpus.",
        positional="corpus",
    ),
    "labels": Command(
        function="surgrec_shard.commands.labels:labels",
        summary="Show the labels that a mapping makes of annotation files.",
        positional="files",
        many=True,
    ),
    "check-source": Command(
        function="surgrec_shard.commands.check_source:check_source",
        summary="Compare a copy of a published data set with its preset, before a build.",
        positional="words",
        many=True,
    ),
    "provenance": Command(
        function="surgrec_shard.commands.provenance:provenance",
        summary="Show on one page where the videos of a corpus come from.",
        positional="corpus",
    ),
    "phantom": Command(
        function="surgrec_shard.commands.phantom:phantom",
        summary="Render procedural videos that resemble surgery, with labels.",
    ),
}


def main() -> None:
    """Run `surgrec-shard`."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in _MOVED:
        say(f"`surgrec-shard {command}` has moved to `surgrec {command}`; use the new name")
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "surgrec", *sys.argv[1:]])

    run("surgrec-shard", COMMANDS, description=_DESCRIPTION, epilog=_EXIT_STATUS)
