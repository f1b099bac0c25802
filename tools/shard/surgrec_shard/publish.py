"""Publishing: the packed groups of a source become its tables and its entry in `corpus.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from surgrec.shards import SourceEntry, VideoLabel, unlisted_files, write_source
from surgrec.storage import Store
from surgrec_shard.group_records import PackedGroup, VideoFailure
from surgrec_shard.groups import Group, source_plan_digest
from surgrec_shard.label_checks import labels_within


def publish_source(
    store: Store,
    groups: Sequence[Group],
    packed: Mapping[str, PackedGroup],
    failures: Sequence[VideoFailure],
    *,
    replaces: bool,
) -> SourceEntry:
    """Write the tables of a source and return its entry for `corpus.json`.

    Args:
        store: The corpus root.
        groups: All groups of the source.
        packed: Packed groups by name.
        failures: Failures of all sources.
        replaces: Whether `corpus.json` lists the source already.
    """
    source = groups[0].source
    samples = [sample for group in groups for sample in packed[group.name].samples]
    # A label may end a little after its video: only the time of the video is published.
    ends = dict(end for group in groups for end in packed[group.name].video_ends().items())
    labels = [
        VideoLabel(video=video.id, case=video.case, split=group.split, **asdict(label))
        for group in groups
        for video in group.videos
        if video.id in ends
        for label in labels_within(video.labels, ends[video.id])
    ]

    return write_source(
        store,
        source,
        samples=samples,
        shards=[shard for group in groups for shard in packed[group.name].shards],
        labels=labels,
        dropped=[row for group in groups for row in packed[group.name].dropped],
        videos_failed=sum(failure.source == source for failure in failures),
        plan=source_plan_digest(groups),
        replaces=replaces,
    )


def remove_unlisted(store: Store, source: str, entry: SourceEntry) -> None:
    """Remove shards and tables that another build of this source left."""
    for name in unlisted_files(store, {source: entry}, f"{source}/"):
        if name.count("/") == 1:  # never touch folders below that of the source
            store.delete(name)
