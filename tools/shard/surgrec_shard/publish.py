"""Publishing: the packed groups of a source become its tables and its entry in `corpus.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa

from surgrec.shards import Sample, SourceEntry, VideoLabel, unlisted_files, write_source
from surgrec.storage import Store
from surgrec_shard.group_records import PackedGroup, video_ends
from surgrec_shard.groups import Group
from surgrec_shard.label_checks import labels_within


def publish_source(
    store: Store,
    groups: Sequence[Group],
    packed: Mapping[str, PackedGroup],
    samples: Iterable[Sequence[Sample]],
    *,
    unplanned: int,
    plan: str,
    split_rule: str,
    further: pa.Table | None,
) -> SourceEntry:
    """Write the tables of a source and return its entry for `corpus.json`.

    Args:
        store: The corpus root.
        groups: All groups of the source, sorted by split and number.
        packed: Packed groups by name.
        samples: The samples of each group, in the same order.
        unplanned: Number of videos that are in no group, because they could not be read.
        plan: Digest of the plan of the source.
        split_rule: Published split that the stored splits follow, with its status.
        further: Columns of the index beyond the format, with `key` and `sha256` of their clips.
    """
    members = [packed[group.name] for group in groups]
    # A label may end a little after its video: only the time of the video is published.
    ends = video_ends(members)
    labels = [
        VideoLabel(video=video.id, case=video.case, split=group.split, **asdict(label))
        for group in groups
        for video in group.videos
        if video.id in ends
        for label in labels_within(video.labels, ends[video.id])
    ]

    return write_source(
        store,
        groups[0].source,
        samples=samples,
        shards=[shard for member in members for shard in member.shards],
        labels=labels,
        dropped=[row for member in members for row in member.dropped],
        videos_failed=unplanned + sum(len(member.failures) for member in members),
        plan=plan,
        split_rule=split_rule,
        videos_public=sum(
            video.video.public and video.id in ends for group in groups for video in group.videos
        ),
        further=further,
    )


def remove_unlisted(store: Store, source: str, entry: SourceEntry | None) -> None:
    """Remove shards and tables of a source that its entry does not list.

    Args:
        store: The corpus root.
        source: Name of the source.
        entry: Its entry; None if the corpus has the source no more.
    """
    for name in unlisted_files(store, {source: entry} if entry else {}, f"{source}/"):
        if name.count("/") == 1:  # never touch folders below that of the source
            store.delete(name)
