from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgrec.errors import ShardError, StorageError
from surgrec.shards import Source, _corpus, _index_cache, open_corpus
from surgrec.shards.layout import INDEX_FILE
from tests.support.samples import make_clips, write_corpus


@pytest.fixture(autouse=True)
def small_indexes_are_cached_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_index_cache, "CACHED_FROM", 1)
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "cache"))


def opened(root: Path) -> Source:
    return open_corpus([root])["alpha"]


def test_an_index_from_the_cache_is_equal_and_is_not_read_again(tmp_path: Path) -> None:
    clips = [
        replace(clip, split="val" if number % 3 else "train")
        for number, clip in enumerate(make_clips(20))
    ]
    root = write_corpus(tmp_path / "corpus", {"alpha": clips})
    plain = _corpus._read_index(opened(root).store, "alpha", opened(root).entry)
    source = opened(root)
    assert (
        source.store.counters.total("bytes_read") < (root / "alpha" / INDEX_FILE).stat().st_size
    ), "corpus.json alone was read"
    rows = plain.rows(splits=["train"])
    assert np.array_equal(source.index.rows(splits=["train"]), rows)
    assert source.index.rows_digest(rows) == plain.rows_digest(rows)
    assert [source.index.sample(row) for row in range(20)] == [
        plain.sample(row) for row in range(20)
    ]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_an_index_that_changed_in_the_store_is_read_again(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    assert opened(root).index.num_rows == 3
    write_corpus(root, {"alpha": make_clips(5)})
    assert opened(root).index.num_rows == 5


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign"])
def test_a_damaged_file_of_the_cache_is_written_again(tmp_path: Path, damage: str) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(7)})
    keys = [opened(root).index.key(row) for row in range(7)]
    (file,) = (tmp_path / "cache").iterdir()
    data = file.read_bytes()
    file.write_bytes(
        {"cut": data[: len(data) // 2], "emptied": b"", "foreign": b"ARROW1 it is not"}[damage]
    )
    assert [opened(root).index.key(row) for row in range(7)] == keys
    assert file.read_bytes() == data


def test_an_index_that_is_refused_is_not_cached(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    other = write_corpus(tmp_path / "other", {"beta": make_clips(3, "beta")})
    (root / "alpha" / INDEX_FILE).write_bytes((other / "beta" / INDEX_FILE).read_bytes())
    with pytest.raises(ShardError, match="is the index of the source 'beta', not of 'alpha'"):
        open_corpus([root])
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"set SURGREC_CACHE to a folder on a local disk"):
        opened(root)
    monkeypatch.setenv("SURGREC_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert _index_cache.cache_folder() == tmp_path / "home/surgrec"
