import hashlib
import json
import struct
import tarfile
from pathlib import Path

import pytest
import webdataset

from surgrec.errors import ShardError
from surgrec.shards import Clip, Sample, Shard, ShardWriter, open_corpus
from surgrec.shards._write import idx_path
from surgrec.shards.layout import read_clip_json
from tests.support.samples import CLIP, make_clips, make_mp4, write_shard

NAME = "alpha-train-00000000.tar"


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path, NAME, make_clips(5))
    return tmp_path / NAME


def read(path: Path, offset: int, size: int) -> bytes:
    return path.read_bytes()[offset : offset + size]


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        write_shard(tmp_path / name, NAME, make_clips(5))[0] for name in ("one", "two")
    )
    assert first == second
    assert (tmp_path / "one" / NAME).read_bytes() == (tmp_path / "two" / NAME).read_bytes()


def test_the_bytes_of_a_shard_never_change(shard: Path) -> None:
    assert (
        hashlib.sha256(shard.read_bytes()).hexdigest()
        == "84396f980ff783288d49d58ccb6909ef3d91c41f032576b80340d2eae4dbe626"
    )


def test_a_shard_is_plain_ustar_without_owners(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        members = tar.getmembers()
    for member in members:
        header = read(shard, member.offset, 512)
        assert header[257:265] == b"ustar\x0000"
        assert member.type == tarfile.REGTYPE
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (
            0,
            0,
            0,
            "",
            "",
        )
        assert member.mode == 0o444
        assert member.linkname == ""
        assert "/" not in member.name


def test_the_members_of_a_sample_are_adjacent_json_first(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        names = tar.getnames()
    assert names == [f"{clip.key}.{kind}" for clip in make_clips(5) for kind in ("json", "mp4")]


def test_the_entry_of_a_shard_describes_its_file(tmp_path: Path) -> None:
    entry, _ = write_shard(tmp_path, NAME, make_clips(5))
    data = (tmp_path / NAME).read_bytes()
    assert entry == Shard(
        name=NAME, samples=5, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    assert len(data) % tarfile.RECORDSIZE == 0


def test_the_rows_point_at_the_bytes_of_their_samples(tmp_path: Path) -> None:
    _, samples = write_shard(tmp_path, NAME, make_clips(5))
    for clip, sample in zip(make_clips(5), samples, strict=True):
        mp4 = read(tmp_path / NAME, sample.mp4_offset, sample.mp4_size)
        assert mp4 == make_mp4(clip)
        assert sample.sha256 == hashlib.sha256(mp4).hexdigest()
        assert (sample.key, sample.clip, sample.shard) == (clip.key, clip, NAME)
        alone = tmp_path / "sample.tar"  # one sample and the end of an archive form an archive
        alone.write_bytes(read(tmp_path / NAME, sample.offset, sample.size) + bytes(1024))
        with tarfile.open(alone) as tar:
            assert tar.getnames() == [f"{sample.key}.json", f"{sample.key}.mp4"]


def test_the_idx_holds_the_start_of_every_sample_and_the_end_of_the_last(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        starts = [member.offset for member in tar.getmembers() if member.name.endswith(".json")]
        end = tar.offset
    assert idx_path(shard).name == f"{NAME}.idx"
    assert idx_path(shard).read_bytes() == struct.pack("<6Q", *starts, end)
    assert not any(read(shard, end, 1024))  # the zero blocks that end a tar


def test_an_empty_shard_has_an_idx_of_one_number(tmp_path: Path) -> None:
    entry, samples = write_shard(tmp_path, NAME, [])
    assert (entry.samples, samples) == (0, [])
    assert idx_path(tmp_path / NAME).read_bytes() == bytes(8)


def test_num_bytes_grows_with_every_sample(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / NAME) as writer:
        sizes = [writer.num_bytes]
        for clip in make_clips(3):
            writer.add(clip, (), make_mp4(clip))
            sizes.append(writer.num_bytes)
        writer.close()
    assert sizes == sorted(set(sizes))
    assert sizes[-1] <= (tmp_path / NAME).stat().st_size


def test_a_clip_with_an_invalid_key_is_refused(tmp_path: Path) -> None:
    bad = Clip(**(vars(CLIP) | {"video": "video.7"}))
    with (
        ShardWriter(tmp_path / NAME) as writer,
        pytest.raises(ShardError, match=r"alpha_video\.7_000000000"),
    ):
        writer.add(bad, (), b"mp4")


def corpus_samples(corpus: Path) -> dict[Path, list[Sample]]:
    """Return the index rows of a corpus by the path of their shard."""
    samples: dict[Path, list[Sample]] = {}
    for source in open_corpus([corpus]).values():
        for row in range(source.index.num_rows):
            sample = source.index.sample(row)
            samples.setdefault(corpus / source.name / sample.shard, []).append(sample)
    return samples


def test_plain_webdataset_yields_the_keys_of_the_index_with_mp4_and_json(
    tiny_corpus: Path,
) -> None:
    expected = corpus_samples(tiny_corpus)
    assert len(expected) > 5
    urls = sorted(str(path) for path in expected)
    rows = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [row["__key__"] for row in rows] == [
        sample.key for url in urls for sample in expected[Path(url)]
    ]
    by_key = {sample.key: sample for samples in expected.values() for sample in samples}
    for row in rows:
        assert {name for name in row if not name.startswith("__")} == {"mp4", "json"}
        sample = by_key[row["__key__"]]
        assert hashlib.sha256(row["mp4"]).hexdigest() == sample.sha256
        assert read_clip_json(row["json"], sample.key)[0] == sample.clip


def test_every_json_of_a_corpus_has_the_same_schema(tiny_corpus: Path) -> None:
    schemas = set()
    for path in corpus_samples(tiny_corpus):
        for row in webdataset.WebDataset(str(path), shardshuffle=False):
            schemas.add(
                tuple(
                    (name, type(value).__name__) for name, value in json.loads(row["json"]).items()
                )
            )
    assert len(schemas) == 1
    assert {kind for _, kind in schemas.pop()} == {"str", "float", "int"}
