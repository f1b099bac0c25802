"""Near-duplicates in a corpus, or between two corpora."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from surgrec.duplicates import Copy, CopyRules, KnownOverlap, find_copies, known_overlaps
from surgrec.errors import ConfigError
from surgrec.parquet import parquet_bytes, row_schema
from surgrec.shards import Source, open_corpus
from surgrec.storage import open_store
from surgrec.text import counted
from surgrec_shard.engines import LocalEngine
from surgrec_shard.stored_hashes import StoredVideo, hash_videos, videos_of_sources

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the number of finished items, and the number of all items."""


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Two stretches of video that show the same. The names are those of the corpora."""

    source: str
    video: str
    case: str
    split: str
    start_s: float
    end_s: float
    other_source: str
    other_video: str
    other_case: str
    other_split: str
    other_start_s: float
    other_end_s: float
    speed: float
    """Seconds of the other video per second of this one."""
    same_case: int
    """1 if both are known to show one case or one patient, else 0."""
    mirrored: int
    """1 if left and right are exchanged, else 0."""
    seconds: int
    """Matching seconds, without those that show no change."""
    similarity: float
    """1 if all bits of all matching seconds are equal, 0 for unrelated pictures."""

    def notes(self) -> list[str]:
        """Return what else a reader of a list should know, in words."""
        return ["same case"] * self.same_case + ["mirrored"] * self.mirrored


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """The result of a search."""

    videos: int
    """Searched videos."""
    seconds: int
    """Their seconds that show something."""
    other_videos: int
    """Videos of the other corpus; 0 if there is none."""
    found: list[Duplicate]
    known: list[KnownOverlap]
    """Documented overlaps of published sets whose names the sources have."""

    def summary(self) -> str:
        """Return the counts as a line."""
        cases = {
            frozenset(((row.source, row.case), (row.other_source, row.other_case)))
            for row in self.found
            if not row.same_case
        }
        copies = counted(len(self.found), "copy", "copies") if self.found else "no copies"
        against = f" and {self.other_videos} others" if self.other_videos else ""
        return (
            f"{self.videos} videos{against} compared, {self.seconds} seconds of video: "
            f"{copies}, in {counted(len(cases), 'pair')} of different cases"
        )

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return asdict(self)

    def table(self) -> bytes:
        """Return the found pairs as a parquet file."""
        schema = row_schema(Duplicate)
        return parquet_bytes(pa.Table.from_pylist([asdict(row) for row in self.found], schema))


def find_duplicates(
    corpus: str, against: str = "", *, rules: CopyRules, workers: int, progress: Progress
) -> Duplicates:
    """Return the near-duplicates among the videos of a corpus, or between two corpora.

    Args:
        corpus: Root of the corpus.
        against: Root of another corpus; empty: the videos are compared with each other.
        rules: When two stretches count as copies.
        workers: Videos decoded at once.
        progress: Called after each step.

    Raises:
        ConfigError: Both corpora are the same.
        ShardError: An address has no corpus, or a clip is damaged.
        StorageError: A store cannot be read, or the cache cannot be written.
    """
    if against and open_store(corpus) == open_store(against):
        raise ConfigError(f"--against names the same corpus, {corpus}; leave it out")
    sources = open_corpus(corpus)
    others = open_corpus(against) if against else None
    return compare_sources(sources, others, rules=rules, workers=workers, progress=progress)


def compare_sources(
    sources: Mapping[str, Source],
    others: Mapping[str, Source] | None = None,
    *,
    rules: CopyRules,
    workers: int,
    progress: Progress,
) -> Duplicates:
    """Return the near-duplicates among the videos of opened sources, or between two corpora.

    Args:
        sources: All sources of a corpus.
        others: All sources of another corpus; None: the videos are compared with each other.
        rules: When two stretches count as copies.
        workers: Videos decoded at once.
        progress: Called after each step.

    Raises:
        ShardError: A clip is damaged.
        StorageError: A store cannot be read, or the cache cannot be written.
    """
    videos, other_videos = videos_of_sources(sources), videos_of_sources(others or {})

    every = [*videos, *other_videos]
    with LocalEngine(workers) as engine:
        hashes = hash_videos(every, engine, lambda done, total: progress("hashing", done, total))
    copies = find_copies(
        hashes[: len(videos)],
        None if others is None else hashes[len(videos) :],
        rules=rules,
        workers=workers,
        progress=lambda done, total: progress("searching", done, total),
    )
    return Duplicates(
        videos=len(videos),
        seconds=sum(len(each.seconds) for each in hashes[: len(videos)]),
        other_videos=len(other_videos),
        found=[
            _row(
                copy,
                videos,
                videos if others is None else other_videos,
                keyed=(_keyed(sources), _keyed(sources if others is None else others)),
            )
            for copy in copies
        ],
        known=known_overlaps(sources, others),
    )


def _keyed(sources: Mapping[str, Source]) -> set[str]:
    """Return the sources whose cases are all pseudonyms, which are never equal by chance."""
    return {name for name, source in sources.items() if not source.entry.videos_public}


def _row(
    copy: Copy,
    videos: Sequence[StoredVideo],
    others: Sequence[StoredVideo],
    *,
    keyed: tuple[set[str], set[str]],
) -> Duplicate:
    video, other = videos[copy.video], others[copy.other]
    # A patient has one pseudonym in all sources; public names count within their source only.
    is_pseudonym = video.source in keyed[0] and other.source in keyed[1]
    is_same_case = video.case == other.case and (video.source == other.source or is_pseudonym)

    return Duplicate(
        source=video.source,
        video=video.name,
        case=video.case,
        split=video.split,
        start_s=copy.start_s,
        end_s=copy.end_s,
        other_source=other.source,
        other_video=other.name,
        other_case=other.case,
        other_split=other.split,
        other_start_s=copy.other_start_s,
        other_end_s=copy.other_end_s,
        speed=round(copy.speed, 3),
        same_case=int(is_same_case),
        mirrored=int(copy.is_mirrored),
        seconds=copy.seconds,
        similarity=round(copy.similarity, 4),
    )
