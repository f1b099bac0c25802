"""A full disk gives one sentence and no damage; with free space, the same command continues."""

from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from surgrec_shard.group_records import GroupRecord, GroupRecords
from surgrec_shard.groups import PackSettings, make_groups

from surgrec.errors import StorageError
from surgrec.storage import open_store
from tests.support.small_disk import small_disk
from tests.support.tool import QUICK, digests, refusal, run_here, run_tool, same_key
from tests.surgrec_shard.conftest import Hospital
from tests.surgrec_shard.test_groups import planned


@pytest.mark.parametrize(
    "is_packing",
    [
        pytest.param(False, id="while encoding"),
        pytest.param(True, id="while packing", marks=pytest.mark.slow),
    ],
)
def test_a_full_work_disk(is_packing: bool, hospital: Hospital, tmp_path: Path) -> None:
    # The first group, all of `cat`, fits onto the disk when it is packed, but not its shards too.
    clips = parquet.read_table(hospital.corpus / "cat" / "index.parquet")["mp4_size"].to_pylist()
    kilobytes = sum(-(-size // 4096) * 4 for size in clips) + 40 if is_packing else 120
    build = [
        *build_of(hospital, tmp_path),
        "--out",
        tmp_path / "corpus",
        "--work",
        tmp_path / "disk" / "work",
    ]
    with small_disk(tmp_path / "disk", kilobytes) as grow:
        sentence = refusal(run_here(*build))
        assert "is full; free disk space, or give --work a folder on another disk" in sentence
        assert f"the disk of {tmp_path / 'disk'}" in sentence
        assert nothing_is_half_written(tmp_path / "corpus", hospital)
        grow()
        assert run_here(*build).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_a_full_corpus_disk(hospital: Hospital, tmp_path: Path) -> None:
    corpus = tmp_path / "disk" / "corpus"
    build = [*build_of(hospital, tmp_path), "--out", corpus]
    with small_disk(tmp_path / "disk", 150) as grow:
        assert f"disk full writing {corpus}" in refusal(run_tool(*build))
        assert nothing_is_half_written(corpus, hospital)
        grow()
        assert run_tool(*build).returncode == 0
        assert digests(corpus) == digests(hospital.corpus)


def test_a_full_private_disk_makes_no_video_a_bad_one(hospital: Hospital, tmp_path: Path) -> None:
    private = tmp_path / "disk" / "private"
    build = [
        "build",
        "--manifest",
        hospital.manifest,
        *QUICK,
        "--out",
        tmp_path / "corpus",
        "--work",
        tmp_path / "work",
    ]
    with small_disk(tmp_path / "disk", 8) as grow:
        same_key(hospital.private, private)
        assert f"the disk of {private}" in refusal(run_here(*build, "--private", private))
        grow()
        assert run_here(*build, "--private", private).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_a_full_disk_of_group_records_names_the_private_folder(tmp_path: Path) -> None:
    (group,) = make_groups([planned(0)], "settings", PackSettings())
    packed = GroupRecord(config="x", notes={"video": ["note" * 10_000]})
    with small_disk(tmp_path / "disk", 12):
        records = GroupRecords(tmp_path / "disk" / "groups", open_store(tmp_path))
        with pytest.raises(StorageError) as caught:
            records.write(group, packed)
    assert str(caught.value) == (
        f"the disk of {tmp_path}/disk/groups is full; free disk space, or move the private folder "
        "to another disk and name it with --private, and run the same command again"
    )


def build_of(hospital: Hospital, folder: Path) -> list[object]:
    private = same_key(hospital.private, folder / "private")
    return ["build", "--manifest", hospital.manifest, "--private", private, "--workers", 1, *QUICK]


def nothing_is_half_written(corpus: Path, hospital: Hospital) -> bool:
    """Return whether all files under final names are complete, and corpus.json is missing."""
    whole = digests(hospital.corpus)
    left = digests(corpus)
    return left.items() < whole.items() and "corpus.json" not in left
