"""`surgrec-shard dedup`: stretches of video that show the same."""

import os
from pathlib import Path
from typing import Annotated

from rich.table import Table

from surgrec.duplicates import CopyRules
from surgrec.ranges import Range
from surgrec.terminal import escape, print_json, print_result, result_table, say, stage_progress
from surgrec.text import counted
from surgrec_shard.dedup import Duplicate, Duplicates, find_duplicates
from surgrec_shard.disk import writing_to

_SHOWN = 50


def dedup(
    corpus: str,
    *,
    against: str = "",
    rules: CopyRules = CopyRules(),
    out: Path | None = None,
    json: bool = False,
    workers: Annotated[int, Range(0, 1024)] = 0,
) -> int:
    """Find near-duplicates: stretches of video that show the same as others.

    Found are copies that are cut out, encoded again, scaled, framed, cropped by a tenth, mirrored,
    and played at half to double speed. Clips are hashed once; the hashes are kept in SURGREC_CACHE,
    so an interrupted search continues and the next one is fast.

    Exit status 0: none. Exit status 1: some.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        against: Compare with the videos of this corpus. Default: compare the videos with each
            other.
        rules: When two stretches count as copies.
        out: Write the list to this parquet file. It has the names of the corpora, and no others.
        json: Print JSON instead of a table.
        workers: Videos decoded at once; 0: one per core.
    """
    with stage_progress() as progress:
        duplicates = find_duplicates(
            corpus,
            against,
            rules=rules,
            workers=workers or len(os.sched_getaffinity(0)),
            progress=progress,
        )

    if out is not None:
        with writing_to(out.parent, "choose another --out"):
            out.write_bytes(duplicates.table())
        say(escape(f"list: {out}"))

    if json:
        print_json(duplicates.as_json())
    else:
        _print(duplicates)

    return 1 if duplicates.found else 0


def _print(duplicates: Duplicates) -> None:
    found = duplicates.found
    if found:
        print_result(_table(found[:_SHOWN]))
    if len(found) > _SHOWN:
        say(f"{len(found) - _SHOWN} more; --out FILE or --json has all")
    for overlap in duplicates.known:
        say(f"[yellow]documented[/yellow] {escape(overlap.sentence())}")

    cases = {
        frozenset(((row.source, row.case), (row.other_source, row.other_case))) for row in found
    }
    different = sum(len(pair) == 2 for pair in cases)
    copies = counted(len(found), "copy", "copies") if found else "no copies"
    against = f" and {duplicates.other_videos} others" if duplicates.other_videos else ""
    say(
        f"{duplicates.videos} videos{against} compared, {duplicates.seconds} seconds of video: "
        f"{copies}, in {counted(different, 'pair')} of different cases"
    )


def _table(rows: list[Duplicate]) -> Table:
    table = result_table(
        "Near-duplicates",
        left=("video", "time", "shows the same as", "time", "note"),
        right=("speed", "seconds", "similarity"),
    )

    for row in rows:
        is_same_case = (row.source, row.case) == (row.other_source, row.other_case)
        notes = ["same case"] * is_same_case + ["mirrored"] * row.mirrored
        table.add_row(
            escape(f"{row.source}/{row.video} ({row.split})"),
            f"{row.start_s:g}-{row.end_s:g} s",
            escape(f"{row.other_source}/{row.other_video} ({row.other_split})"),
            f"{row.other_start_s:g}-{row.other_end_s:g} s",
            ", ".join(notes),
            f"{row.speed:.2f}",
            str(row.seconds),
            f"{row.similarity:.2f}",
        )

    return table
