"""`surgrec-shard export`: other projects' readers open a corpus."""

from typing import Literal

from surgrec.shards import open_corpus
from surgrec.storage import open_store
from surgrec.terminal import escape, say
from surgrec_shard.exports import export_energon, export_wids


def export(corpus: str, *, format: Literal["energon", "wids"]) -> None:
    """Write the files with which another project's reader opens a corpus.

    The shards stay as they are, and the splits are the stored ones. webdataset and Hugging Face
    `datasets` need no such files. A build or a removal that changes the corpus removes these files:
    export again.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        format: energon: the folder .nv-meta, as `energon prepare` would write it for the type
            CrudeWebdataset. wids: wids-SPLIT.json for each split.

    Example:
        surgrec-shard export /data/corpus --format energon
    """
    write = {"energon": export_energon, "wids": export_wids}[format]
    store = open_store(corpus)
    for name in write(store, open_corpus(corpus)):
        say(escape(store.locate(name)))
