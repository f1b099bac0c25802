"""`surgrec-shard dedup`: stretches of video that show the same."""

import os
from pathlib import Path
from typing import Annotated

from rich.table import Table

from surgrec.duplicates import CopyRules
from surgrec.errors import ConfigError
from surgrec.ranges import Range
from surgrec.shards import open_corpus
from surgrec.storage import open_store
from surgrec.terminal import (
    escape,
    print_json,
    print_result,
    result_table,
    say,
    stage_progress,
    warn,
)
from surgrec.text import counted
from surgrec_shard.dedup import Duplicate, Duplicates, compare_sources, find_duplicates
from surgrec_shard.dedup_page import dedup_page
from surgrec_shard.disk import writing_to
from surgrec_shard.duplicate_groups import group_clips, groups_table
from surgrec_shard.further_columns import publish_further_columns
from surgrec_shard.stored_hashes import videos_of_sources

_SHOWN = 50


def dedup(
    corpus: str,
    *,
    against: str = "",
    rules: CopyRules = CopyRules(),
    out: Path | None = None,
    html: Path | None = None,
    write: bool = False,
    only_builder: bool = False,
    json: bool = False,
    workers: Annotated[int, Range(0, 1024)] = 0,
) -> int:
    """Find near-duplicates: stretches of video that show the same as others.

    It finds copies that are cut out, encoded again, scaled, framed, cropped by a tenth, mirrored,
    and played at half to double speed. Clips are hashed once; the hashes are kept in SURGREC_CACHE,
    so an interrupted search continues and the next one is fast.

    Exit status 0: no copies. Exit status 1: copies.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        against: Compare with the videos of this corpus. Default: compare the videos with each
            other.
        rules: When two stretches count as copies.
        out: Write the list to this parquet file. It has the names of the corpora, and no others.
        html: Write the list to this HTML page. It has the same names.
        write: Write the column `duplicate_group` into the index of the corpus. A mixture with
            `duplicates: one` draws the clips of one video of each group.
        only_builder: No other command writes to the corpus meanwhile; needed for --write in stores
            without conditional writes.
        json: Print JSON instead of a table.
        workers: Videos decoded at once; 0: one per core.

    Example:
        surgrec-shard dedup /data/corpus --against /data/evaluation --html copies.html
    """
    if write and against:
        raise ConfigError(
            "--write is about the copies within one corpus, and --against compares two; leave out "
            "one of them"
        )
    for path in (out, html):
        if path is not None and path.is_dir():
            raise ConfigError(f"{path} is a folder; give --out and --html the name of a file")
    workers = workers or len(os.sched_getaffinity(0))

    with stage_progress() as progress:
        if write:
            sources = open_corpus(corpus)
            duplicates = compare_sources(sources, rules=rules, workers=workers, progress=progress)
            groups = group_clips(videos_of_sources(sources), duplicates.found)
            changed = publish_further_columns(
                open_store(corpus), sources, groups_table(groups), is_alone=only_builder
            )
        else:
            duplicates = find_duplicates(
                corpus, against, rules=rules, workers=workers, progress=progress
            )

    if out is not None:
        with writing_to(out.parent, "choose another --out"):
            out.write_bytes(duplicates.table())
        say(escape(f"list: {out}"))
    if html is not None:
        with writing_to(html.parent, "choose another --html"):
            html.write_text(dedup_page(duplicates, corpus, against), encoding="utf-8")
        say(escape(f"page: {html}"))
    if write:
        clips, number = sum(group > 0 for group in groups.values()), len({*groups.values()} - {0})
        where = f"written into {', '.join(changed)}" if changed else "as before"
        say(
            escape(
                f"duplicate_group: {counted(clips, 'clip')} in {counted(number, 'group')}, {where}"
            )
        )

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
        warn(escape(overlap.sentence()), word="documented")

    say(duplicates.summary())


def _table(rows: list[Duplicate]) -> Table:
    table = result_table(
        "Near-duplicates",
        left=("stretch", "shows the same as"),
        right=("speed", "seconds", "similarity"),
        wrap=True,
    )

    for row in rows:
        table.add_row(
            escape(f"{row.source}/{row.video}\n{row.start_s:g}-{row.end_s:g} s, {row.split}"),
            escape(
                f"{row.other_source}/{row.other_video}\n"
                f"{row.other_start_s:g}-{row.other_end_s:g} s, {row.other_split}"
            ),
            f"{row.speed:.2f}",
            str(row.seconds),
            "\n".join([f"{row.similarity:.2f}", *row.notes()]),
        )

    return table
