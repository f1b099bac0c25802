"""Other projects' readers find in a corpus what its index lists, split by split."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.shards import open_corpus
from surgrec.storage import open_store
from surgrec.yaml_files import read_yaml
from tests.support.packages import install_beside
from tests.support.tool import run_here
from tests.surgrec_shard.conftest import Files
from tests.surgrec_shard.test_growing import build

SUPPORT = Path(__file__).parents[1] / "support"
SPLITS = ("train", "val")


def export(corpus: Path | str, format: str) -> None:
    exported = run_here("export", corpus, "--format", format)
    assert exported.returncode == 0, exported.stderr


def expected(corpus: Path) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each mp4 by split and key, as the index has it."""
    digests: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for source in open_corpus(corpus).values():
        for row in range(source.index.num_rows):
            sample = source.index.sample(row)
            digests[sample.clip.split][sample.key] = sample.sha256
    return digests


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with other projects' readers; torch is that of this environment."""
    requirements = str(SUPPORT / "other_readers.txt")
    return install_beside(tmp_path_factory.mktemp("readers"), "-r", requirements)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["energon", "wids", "datasets"])
def test_another_reader_agrees_with_the_index_on_keys_and_bytes(
    reader: str, readers: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    corpus = Path(shutil.copytree(tiny_corpus, tmp_path / "our corpus"))
    if reader != "datasets":
        export(corpus, reader)
    caches = {"WIDS_CACHE": str(tmp_path / "wids"), "HF_HOME": str(tmp_path / "hf")}
    program = [sys.executable, str(SUPPORT / "read_elsewhere.py"), reader, str(corpus), *SPLITS]
    read = subprocess.run(
        program,
        env=os.environ | caches | {"PYTHONPATH": str(readers), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout.splitlines()[-1])
    assert found == expected(corpus)
    assert len(found["val"]) > 0


def test_exports_list_each_shard_in_its_stored_split(corpus_copy: Path) -> None:
    export(corpus_copy, "energon")
    export(corpus_copy, "wids")
    counts = {split: len(keys) for split, keys in expected(corpus_copy).items()}

    parts = read_yaml(corpus_copy / ".nv-meta" / "split.yaml")["split_parts"]
    samples = json.loads((corpus_copy / ".nv-meta" / ".info.json").read_text())["shard_counts"]
    assert sorted(shard for part in parts.values() for shard in part) == sorted(samples)
    assert {split: sum(samples[shard] for shard in part) for split, part in parts.items()} == counts

    lists = {
        split: json.loads((corpus_copy / f"wids-{split}.json").read_text()) for split in SPLITS
    }
    assert {
        split: [row["url"] for row in content["shardlist"]] for split, content in lists.items()
    } == parts
    for row in lists["train"]["shardlist"]:
        assert (corpus_copy / row["url"]).stat().st_size == row["filesize"]
        assert samples[row["url"]] == row["nsamples"]
    assert not (corpus_copy / "wids-test.json").exists()


@pytest.mark.slow
def test_the_index_of_energon_finds_the_bytes_of_each_part(
    tiny_corpus: Path, s3_address: str, tmp_path: Path
) -> None:
    store = open_store(s3_address)
    for path in tiny_corpus.rglob("*"):
        if path.is_file():
            store.upload(path.relative_to(tiny_corpus).as_posix(), path)
    export(s3_address, "energon")

    shards = list(json.loads(store.read(".nv-meta/.info.json"))["shard_counts"])
    (tmp_path / "index.sqlite").write_bytes(store.read(".nv-meta/index.sqlite"))
    parts = sqlite3.connect(tmp_path / "index.sqlite").execute(
        "SELECT sample_key, part_name, tar_file_id, content_byte_offset, content_byte_size"
        " FROM samples JOIN sample_parts USING (tar_file_id, sample_index)"
    )
    found = {
        (key, name): (tiny_corpus / shards[shard]).read_bytes()[offset : offset + size]
        for key, name, shard, offset, size in parts
    }
    keys = {key for split in expected(tiny_corpus).values() for key in split}
    assert found.keys() == {(key, name) for key in keys for name in ("json", "mp4")}
    for (key, name), data in found.items():
        if name == "json":
            assert f"{json.loads(data)['source']}_{json.loads(data)['video']}_" in key
        else:
            assert data[4:8] == b"ftyp"


def test_a_changed_corpus_has_no_exports_of_the_old_one(files: Files, tmp_path: Path) -> None:
    videos = files(range(3))
    build(tmp_path, videos)
    corpus = tmp_path / "corpus"
    export(corpus, "energon")
    export(corpus, "wids")
    build(tmp_path, videos)
    assert (corpus / "wids-train.json").exists(), "nothing changed"

    build(tmp_path, videos[:2], remove_unlisted=True)
    left = [path.name for path in corpus.rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith("wids-")]
    assert not list((corpus / ".nv-meta").glob("*"))
