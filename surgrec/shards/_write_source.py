"""Publishing a source: its tables, its entry in `corpus.json`, and its unlisted shards."""

from collections.abc import Iterator, Mapping, Sequence

from surgrec.shards._corpus_file import SourceEntry
from surgrec.shards._index import Dropped, VideoLabel, rows_to_parquet, samples_to_parquet
from surgrec.shards._write import Shard
from surgrec.shards.layout import (
    DROPPED_FILE,
    INDEX_FILE,
    LABELS_FILE,
    Sample,
    is_shard_name,
    source_digest,
)
from surgrec.storage import Store


def write_source(
    store: Store,
    name: str,
    *,
    samples: Sequence[Sample],
    shards: Sequence[Shard],
    labels: Sequence[VideoLabel],
    dropped: Sequence[Dropped],
    videos_failed: int,
    plan: str,
) -> SourceEntry:
    """Write the tables of a source and return its entry for `corpus.json`.

    Call it when all shards of the source are in the store.

    Args:
        store: The corpus root.
        name: Name of the source.
        samples: All samples, at least one, in any order.
        shards: All shards.
        labels: Labels by the time of their videos.
        dropped: Segments of video that no shard contains.
        videos_failed: Number of videos that could not be used.
        plan: Digest of the request that the source was built from.
    """
    store.write(f"{name}/{LABELS_FILE}", rows_to_parquet(VideoLabel, labels))
    store.write(f"{name}/{DROPPED_FILE}", rows_to_parquet(Dropped, dropped))
    store.write(f"{name}/{INDEX_FILE}", samples_to_parquet(samples))

    return SourceEntry(
        domain=samples[0].clip.domain,
        shards=sorted(shards, key=lambda shard: shard.name),
        samples=len(samples),
        videos=len({sample.clip.video for sample in samples}),
        videos_failed=videos_failed,
        cases=len({sample.clip.case for sample in samples}),
        hours=round(sum(sample.clip.duration_s for sample in samples) / 3600, 6),
        bytes=sum(shard.bytes for shard in shards),
        digest=source_digest((sample.key, sample.sha256) for sample in samples),
        plan=plan,
    )


def unlisted_shards(
    store: Store, sources: Mapping[str, SourceEntry], prefix: str = ""
) -> Iterator[str]:
    """Yield the names of shards, and of their offset files, that no entry lists.

    They contain clips, but belong to no source: an interrupted or earlier build left them.

    Args:
        store: The corpus root.
        sources: Entries by source.
        prefix: Only names that begin with it.
    """
    listed = {f"{name}/{shard.name}" for name, entry in sources.items() for shard in entry.shards}
    for name in store.list(prefix):
        shard = name.removesuffix(".idx")
        if is_shard_name(shard.rpartition("/")[2]) and shard not in listed:
            yield name
