"""Publication of further columns in the indexes of a corpus: duplicate groups, clusters."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from surgrec.errors import ShardError, StorageError
from surgrec.shards import CorpusFile, Source, SourceEntry, settle_tables
from surgrec.shards.further_columns import write_further_columns
from surgrec.storage import Store
from surgrec_shard.publish import remove_unlisted


def publish_further_columns(
    store: Store, sources: Mapping[str, Source], further: pa.Table, *, is_alone: bool
) -> list[str]:
    """Write further columns into the indexes of a corpus. Return the names of the changed sources.

    A kill at any moment leaves a readable corpus, and the same call finishes the work.

    Args:
        store: The corpus root.
        sources: All sources of the corpus.
        further: Columns `key` and `sha256`, which name the clips of all sources, and the new ones.
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

    written = {name: write_further_columns(source, further) for name, source in sources.items()}
    entries = {name: entry for name, entry in written.items() if entry is not None}
    before = {name: sources[name].entry for name in entries}
    _list(store, before, entries, is_alone=is_alone)
    settled = {name: settle_tables(store, name, entry) for name, entry in entries.items()}
    _list(store, entries, settled, is_alone=is_alone)

    for name, entry in settled.items():
        remove_unlisted(store, name, entry)
    return list(settled)


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
