"""Select the videos of a corpus that meet rules."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import pyarrow as pa

from surgrec.errors import ConfigError
from surgrec.shards import Source
from surgrec.splits._patterns import matching_names, names_in_ranges, some_of
from surgrec.splits._rules import CaseVideo, Parts, Rule, Split


def corpus_videos(sources: Mapping[str, Source]) -> list[CaseVideo]:
    """Return the videos of opened corpora that have a stored clip, sorted.

    The patient is the cell of a further column `patient` of the index. Without one, the case name
    of a private source is: a patient has one pseudonym in all sources.

    Raises:
        ConfigError: A video has several patients in its index.
    """
    found: list[CaseVideo] = []
    for source in sources.values():
        names = ("case", "video", "split")
        columns = pa.table({name: source.index.column(name) for name in names})
        rows = columns.group_by(list(names)).aggregate([]).to_pylist()
        patients = values_in_index(source, "patient", "video")
        groups = source.index.groups_by_video()
        is_private = not source.entry.videos_public
        found += (
            CaseVideo(
                source=source.name,
                case=row["case"],
                video=row["video"],
                stored=row["split"],
                # A case without a name has that of its video.
                patient=patients.get(
                    row["video"], row["case"] if is_private and row["case"] != row["video"] else ""
                ),
                duplicate_groups=_unique_names(source, groups.get(row["video"])),
            )
            for row in rows
        )
    return sorted(found)


def _unique_names(source: Source, groups: Sequence[int] | None) -> tuple[str, ...] | None:
    """Return names of duplicate groups: those of two corpora have nothing to do with each other."""
    return None if groups is None else tuple(f"{source.store.address} {each}" for each in groups)


def divide(split: Split, videos: Sequence[CaseVideo]) -> Parts:
    """Return the videos of all parts of a split.

    Raises:
        ConfigError: A pattern or a rule matches nothing.
    """
    chosen = {
        part: choose(rule, videos, f"split {split.name}, {part}")
        for part, rule in split.parts.items()
    }

    # Names that ranges spell out may be missing in the corpus: count them.
    names = names_in_ranges([each for rule in split.parts.values() for each in rule.cases])
    cases = {video.case for videos in chosen.values() for video in videos}
    return Parts(**chosen, absent=sorted(names - cases), named=len(names))


def choose(rule: Rule, videos: Sequence[CaseVideo], context: str) -> list[CaseVideo]:
    """Return the videos that meet a rule.

    Args:
        rule: The rule.
        videos: All videos of the corpora.
        context: Name of the split and its part, for errors.

    Raises:
        ConfigError: A pattern matches no source or case, or no video meets all conditions.
    """
    sources = matching_names(rule.sources, {video.source for video in videos}, "source", context)
    candidates = [video for video in videos if video.source in sources]
    cases = matching_names(rule.cases, {video.case for video in candidates}, "case", context)

    chosen = [
        video
        for video in candidates
        if video.case in cases and (not rule.stored or video.stored in rule.stored)
    ]
    if not chosen:
        raise ConfigError(f"{context}: no case of the corpus meets all its conditions; loosen one")
    return chosen


def values_in_index(
    source: Source,
    column: str,
    by: Literal["case", "video"],
    among: Collection[str] | None = None,
) -> dict[str, str]:
    """Return the value of a further column of an index for each case or video that has one.

    Args:
        source: An opened source.
        column: Name of the column, such as `patient`; an index may lack it.
        by: Whose values they are.
        among: Names of these cases or videos. Default: all.

    Raises:
        ConfigError: A case or a video has several values.
    """
    if column not in source.index.table().column_names:
        return {}
    values: dict[str, str] = {}
    columns = (source.index.column(name).to_pylist() for name in (by, column))
    for name, cell in zip(*columns, strict=True):
        value = "" if cell is None else str(cell)
        if not value or (among is not None and name not in among):
            continue
        if values.setdefault(name, value) != value:
            raise ConfigError(
                f"the {by} {source.name}/{name} has several values of {column} "
                f"({some_of({value, values[name]})}) in the index; give each {by} one"
            )
    return values
