"""`surgrec-shard verify`: every byte of a corpus against its digests and its index."""

from surgrec.terminal import escape, say, stage_progress
from surgrec.text import counted
from surgrec_shard import verify as verification


def verify(corpus: str, decode: bool = False) -> int:
    """Read every shard once and check it against the index.

    Exit status 0: no problem. Exit status 1: problems, one per line.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        decode: Decode every clip. By default, decode one clip of each shard.
    """
    with stage_progress() as progress:
        findings = verification.verify(corpus, decode_all=decode, progress=progress)
    for problem in findings.problems:
        say(f"[red]problem[/red] {escape(problem)}")

    number = len(findings.problems)
    verdict = counted(number, "problem") if number else "no problems"
    say(
        f"{counted(findings.shards, 'shard')} and {counted(findings.samples, 'sample')} read, "
        f"{counted(findings.decoded, 'clip')} decoded: {verdict}"
    )
    if number:
        say("copy the named files again, or remove them and run the same build again")
    return 1 if number else 0
