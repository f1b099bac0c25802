"""The packed groups of a source -> its tables, and its entry in `corpus.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from surgrec.shards import (
    DROPPED_FILE,
    INDEX_FILE,
    LABELS_FILE,
    Dropped,
    SourceEntry,
    VideoLabel,
    is_shard_name,
    rows_to_parquet,
    samples_to_parquet,
    source_digest,
)
from surgrec.storage import Store
from surgrec_shard.group_records import Failure, PackedGroup
from surgrec_shard.groups import Group, source_plan_digest


def publish_source(
    store: Store,
    groups: Sequence[Group],
    packed: Mapping[str, PackedGroup],
    failures: Sequence[Failure],
) -> SourceEntry:
    """Writes the source's tables and gives its entry for `corpus.json`."""
    source = groups[0].source
    samples = [sample for group in groups for sample in packed[group.name].samples]
    shards = [shard for group in groups for shard in packed[group.name].shards]
    stored = {sample.clip.video for sample in samples}
    labels = [
        VideoLabel(video=planned.id, case=planned.case, split=group.split, **asdict(label))
        for group in groups
        for planned in group.videos
        if planned.id in stored
        for label in planned.labels
    ]
    dropped = [row for group in groups for row in packed[group.name].dropped]
    store.write(f"{source}/{LABELS_FILE}", rows_to_parquet(VideoLabel, labels))
    store.write(f"{source}/{DROPPED_FILE}", rows_to_parquet(Dropped, dropped))
    store.write(f"{source}/{INDEX_FILE}", samples_to_parquet(samples))
    return SourceEntry(
        domain=samples[0].clip.domain,
        shards=sorted(shards, key=lambda shard: shard.name),
        samples=len(samples),
        videos=len(stored),
        videos_failed=sum(failure.source == source for failure in failures),
        cases=len({sample.clip.case for sample in samples}),
        hours=round(sum(sample.clip.duration_s for sample in samples) / 3600, 6),
        bytes=sum(shard.bytes for shard in shards),
        digest=source_digest((sample.key, sample.sha256) for sample in samples),
        plan=source_plan_digest(groups),
    )


def remove_stale_shards(store: Store, source: str, entry: SourceEntry) -> None:
    """Removes shards of an unfinished earlier build of this source: no index names them, and they hold clips."""
    listed = {shard.name for shard in entry.shards}
    for name in store.list(f"{source}/"):
        shard = name.removeprefix(f"{source}/").removesuffix(".idx")
        if is_shard_name(shard) and shard not in listed:
            store.delete(name)
