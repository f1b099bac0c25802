"""A build into an object store gives the same files as a build into a folder."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from surgrec_shard.private import PrivateFolder, default_private_folder
from surgrec_shard.verify import verify

from surgrec.shards import CorpusFile
from surgrec.storage import open_store
from tests.support.tool import QUICK, refusal, run_here, run_tool, same_key, surgrec_here
from tests.surgrec_shard.conftest import Hospital


def test_a_build_into_a_bucket_has_the_bytes_of_the_local_one(
    hospital: Hospital, s3_address: str, tmp_path: Path
) -> None:
    private = same_key(hospital.private, tmp_path / "private")
    build = (
        "build",
        "--manifest",
        hospital.manifest,
        "--out",
        s3_address,
        "--private",
        private,
        *QUICK,
    )
    built = run_tool(*build)
    assert built.returncode == 0, built.stderr
    store, local = open_store(s3_address), open_store(hospital.corpus)
    assert store.list() == local.list()
    assert all(store.read(name) == local.read(name) for name in local.list())
    assert run_here(*build).returncode == 0, "the same again changes nothing"
    assert store.list() == local.list()

    for run, *words in (
        (run_here, "info", "--json", "true"),
        (surgrec_here, "order", "--num_steps", "3"),
    ):
        local_run, store_run = (
            run(words[0], root, *words[1:]) for root in (hospital.corpus, s3_address)
        )
        assert store_run.returncode == 0, store_run.stderr
        assert store_run.stdout.replace(s3_address, "ROOT") == local_run.stdout.replace(
            str(hospital.corpus), "ROOT"
        )
    assert check(s3_address) == []
    lost = next(name for name in store.list("cat/") if name.endswith(".tar.idx"))
    store.delete(lost)
    (problem,) = check(s3_address)
    assert f"{s3_address}/{lost} does not exist" in problem


def test_a_missing_bucket_is_reported_before_anything_is_encoded(
    hospital: Hospital, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert s3_address.startswith("s3://corpora/")
    build = (
        "build",
        "--manifest",
        hospital.manifest,
        "--out",
        "s3://nowhere-bucket/corpus",
        *QUICK,
    )
    sentence = refusal(run_here(*build))
    assert "s3://nowhere-bucket/corpus" in sentence
    assert "a bucket that does not exist" in sentence
    (folder,) = tmp_path.rglob("*.private")
    assert folder.name == "nowhere-bucket%2Fcorpus.private"
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_private_folder_with_an_earlier_name_stays_with_its_corpus(
    s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = open_store(f"{s3_address}/a/b")
    place = store.address.partition("://")[2]
    earlier = tmp_path / "surgrec" / f"{place.replace('/', '-')}.private"
    key = PrivateFolder(earlier).fingerprint
    CorpusFile(key=key).write(store)
    other = open_store(f"{s3_address}/a-b")
    assert default_private_folder(store) == earlier
    assert default_private_folder(other).name == f"{place.replace('/', '%2F')[:-5]}a-b.private"


@pytest.mark.parametrize(
    ("run", "name"), [(run_here, "info"), (run_here, "verify"), (surgrec_here, "order")]
)
def test_an_empty_prefix_contains_no_corpus(
    run: Callable[..., "subprocess.CompletedProcess[str]"], name: str, s3_address: str
) -> None:
    assert f"{s3_address} contains no corpus" in refusal(run(name, s3_address))


def check(address: str) -> list[str]:
    """Return the problems that `verify` finds."""
    return verify(
        address, decode_all=False, workers=2, progress=lambda stage, done, total: None
    ).problems
