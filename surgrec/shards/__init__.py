"""The shard format, for writers and readers. README.md specifies it. No torch."""

from surgrec.shards._corpus import (
    Source,
    open_corpus,
    read_corpus_labels,
)
from surgrec.shards._corpus_file import CorpusFile, SourceEntry
from surgrec.shards._index import Dropped, VideoLabel
from surgrec.shards._write import Shard, ShardWriter
from surgrec.shards._write_source import settle_tables, unlisted_files, write_source
from surgrec.shards.layout import Clip, Sample, shard_name, source_digest

__all__ = [
    "Clip",
    "CorpusFile",
    "Dropped",
    "Sample",
    "Shard",
    "ShardWriter",
    "Source",
    "SourceEntry",
    "VideoLabel",
    "open_corpus",
    "read_corpus_labels",
    "settle_tables",
    "shard_name",
    "source_digest",
    "unlisted_files",
    "write_source",
]
