from pathlib import Path

import pytest
import webdataset

from surgrec.errors import MissingError, ShardError
from surgrec.shards import open_corpus, webdataset_s3
from surgrec.storage import open_store
from tests.support.s3 import FaultyS3


def test_plain_webdataset_reads_a_corpus_in_an_object_store(
    tiny_corpus: Path, s3_address: str
) -> None:
    store = open_store(s3_address)
    for path in tiny_corpus.rglob("*.tar"):
        store.upload(path.relative_to(tiny_corpus).as_posix(), path)
    webdataset_s3.register()
    for name, source in open_corpus([tiny_corpus]).items():
        urls = [f"{s3_address}/{name}/{shard.name}" for shard in source.entry.shards]
        mp4s = {
            sample["__key__"]: sample["mp4"]
            for sample in webdataset.WebDataset(urls, shardshuffle=False)
        }
        assert sorted(mp4s) == sorted(source.index.column("key").to_pylist())
        sample = source.index.sample(0)
        assert mp4s[sample.key] == source.store.read_range(
            f"{name}/{sample.shard}", sample.mp4_offset, sample.mp4_size
        )


def test_a_file_larger_than_one_request_arrives_whole_through_faults(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset_s3, "_READ_BYTES", 1000)
    faulty_s3.objects["big/x.tar"] = bytes(range(256)) * 20
    faulty_s3.faults.extend(["slow_down", "reset", "truncate", "internal_error"])
    with webdataset_s3.open_s3("s3://corpora/big/x.tar") as file:
        assert file.read() == faulty_s3.objects["big/x.tar"]


def test_a_missing_file_and_writing_are_refused(faulty_s3: FaultyS3) -> None:
    with pytest.raises(MissingError, match=r"s3://corpora/big/gone\.tar"):
        webdataset_s3.open_s3("s3://corpora/big/gone.tar")
    with pytest.raises(ShardError, match="mode 'wb'"):
        webdataset_s3.open_s3("s3://corpora/big/new.tar", "wb")
