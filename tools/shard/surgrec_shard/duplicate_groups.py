"""Duplicate groups of clips, from copies of stretches, and their publication in a corpus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from surgrec.errors import ShardError, StorageError
from surgrec.shards import CorpusFile, Sample, Source, SourceEntry, settle_tables
from surgrec.shards.duplicate_groups import write_duplicate_groups
from surgrec.storage import Store
from surgrec_shard.dedup import Duplicate
from surgrec_shard.publish import remove_unlisted
from surgrec_shard.stored_hashes import StoredVideo

_LEAST_SHARE = 0.5
"""Share of a clip that lies in a copied stretch, from which the clip is a member of its group."""


def group_clips(
    videos: Sequence[StoredVideo], copies: Iterable[Duplicate]
) -> dict[tuple[str, str], int]:
    """Return the duplicate group of every clip, by key and SHA-256; 0: it has no copy.

    The clips of both stretches of a copy are in one group, and copies that share a clip are one
    group. A copy that covers less than half of every clip of both videos forms none.

    Args:
        videos: All videos of the corpus.
        copies: The copies among them.
    """
    clips = {(video.source, video.name): video.samples for video in videos}
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while parents.setdefault(key, key) != key:
            parents[key] = parents[parents[key]]
            key = parents[key]
        return key

    for copy in copies:
        here = _covered(clips[copy.source, copy.video], copy.start_s, copy.end_s)
        there = _covered(
            clips[copy.other_source, copy.other_video], copy.other_start_s, copy.other_end_s
        )
        members = [key for key, share in (here | there).items() if share >= _LEAST_SHARE]

        # A short video may be a copy of a part of one long clip.
        if members:
            members += [max(side, key=side.__getitem__) for side in (here, there)]
        for key in members[1:]:
            first, second = sorted((root(members[0]), root(key)))
            parents[second] = first

    roots = sorted({root(key) for key in list(parents)})
    numbers = {key: number for number, key in enumerate(roots, start=1)}
    return {
        (sample.key, sample.sha256): numbers[root(sample.key)] if sample.key in parents else 0
        for video in videos
        for sample in video.samples
    }


def publish_groups(
    store: Store,
    sources: Mapping[str, Source],
    groups: Mapping[tuple[str, str], int],
    *,
    is_alone: bool,
) -> list[str]:
    """Write the groups into the indexes of a corpus. Return the names of the changed sources.

    A kill at any moment leaves a readable corpus, and the same call finishes the work.

    Args:
        store: The corpus root.
        sources: All sources of the corpus.
        groups: The group of each clip by key and SHA-256.
        is_alone: No other command writes to the corpus meanwhile.

    Raises:
        ShardError: Another command has changed the corpus since its sources were opened.
        StorageError: The store has no conditional writes, and other commands may write.
    """
    if not is_alone and not store.can_replace():
        raise StorageError(
            f"{store.address} is in a store without conditional writes (If-Match, If-None-Match), "
            "in which a build at the same time may be lost; make sure that no other command writes "
            "there, and give --only_builder true"
        )

    changed = [
        name
        for name, source in sources.items()
        if source.entry.tables or source.index.duplicate_groups() != _of_source(source, groups)
    ]
    before = {name: sources[name].entry for name in changed}
    entries = {name: write_duplicate_groups(sources[name], groups) for name in changed}
    _list(store, before, entries, is_alone=is_alone)
    settled = {name: settle_tables(store, name, entry) for name, entry in entries.items()}
    _list(store, entries, settled, is_alone=is_alone)

    for name in changed:
        remove_unlisted(store, name, settled[name])
    return changed


def _covered(samples: Iterable[Sample], start_s: float, end_s: float) -> dict[str, float]:
    """Return the share of each clip that lies in a stretch, by key."""
    return {
        sample.key: max(
            0.0,
            min(end_s, sample.clip.start_s + sample.clip.duration_s)
            - max(start_s, sample.clip.start_s),
        )
        / sample.clip.duration_s
        for sample in samples
    }


def _of_source(source: Source, groups: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    keys, digests = (source.index.column(name).to_pylist() for name in ("key", "sha256"))
    return {clip: groups[clip] for clip in zip(keys, digests, strict=True)}


def _list(
    store: Store,
    before: Mapping[str, SourceEntry],
    after: Mapping[str, SourceEntry],
    *,
    is_alone: bool,
) -> None:
    """Replace entries of sources in `corpus.json`, if they are as before."""

    def change(now: CorpusFile | None) -> CorpusFile:
        for name, entry in before.items():
            if now is None or now.sources.get(name) != entry:
                raise ShardError(
                    f"another command has changed the source {name!r} of {store.address} "
                    "meanwhile; run the same command again"
                )
        assert now is not None
        return replace(now, sources={**now.sources, **after})

    if before:
        CorpusFile.change(store, change, is_alone=is_alone)
