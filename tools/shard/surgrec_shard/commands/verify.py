"""`surgrec-shard verify`: every byte of a corpus against its digests and its index."""

import os
from dataclasses import asdict
from typing import Annotated

from surgrec.ranges import Range
from surgrec.terminal import escape, print_json, say, stage_progress, warn
from surgrec.text import counted
from surgrec_shard import verify as verification


def verify(
    corpus: str,
    decode: bool = False,
    workers: Annotated[int, Range(0, 1024)] = 0,
    json: bool = False,
) -> int:
    """Read every shard once and check it against the index.

    Exit status 0: no problem. Exit status 1: problems, one per line.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        decode: Decode every clip. By default, decode one clip of each shard.
        workers: Shards read at once, each of which needs room in TMPDIR; 0: one per core.
        json: Print counts and problems as JSON.

    Example:
        surgrec-shard verify s3://hospital/corpus --workers 4
    """
    with stage_progress() as progress:
        findings = verification.verify(
            corpus,
            decode_all=decode,
            workers=workers or len(os.sched_getaffinity(0)),
            progress=progress,
        )
    number = len(findings.problems)
    if json:
        print_json(asdict(findings))
        return 1 if number else 0

    for problem in findings.problems:
        warn(escape(problem), word="problem", color="red")
    verdict = counted(number, "problem") if number else "no problems"
    say(
        f"{counted(findings.shards, 'shard')} and {counted(findings.samples, 'sample')} read, "
        f"{counted(findings.decoded, 'clip')} decoded: {verdict}"
    )
    if number:
        say("copy the named files again, or remove them and run the same build again")
    return 1 if number else 0
