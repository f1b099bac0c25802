"""A build that changes a source keeps a readable corpus: the old source or the new one."""

import hashlib
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import SurgrecError
from surgrec.shards import open_corpus, read_corpus_labels
from surgrec.storage import Store, open_store
from tests.support.tool import QUICK, digests, fixed_key, run_here, same_key, write_csv
from tests.support.videos import make_video

WRITES = ("write", "upload", "delete")


class KilledError(BaseException):
    """Stands for SIGKILL between two operations of a store."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of videos with two manifests, `old.csv` and `new.csv`."""
    folder = tmp_path_factory.mktemp("originals")
    for number in range(4):
        make_video(folder / f"{number}.mp4", seconds=4, arguments=("-vf", f"hue=h={70 * number}"))
    (folder / "labels.csv").write_text("task,start_s,end_s,value\nphase,0,2,access\n")
    rows = [
        {
            "path": folder / f"{number}.mp4",
            "source": "lap",
            "domain": "laparoscopy",
            "case": number,
            "split": "train",
            "labels": "",
        }
        for number in range(4)
    ]
    write_csv(folder / "old.csv", rows[:3])
    write_csv(folder / "new.csv", [row | {"labels": folder / "labels.csv"} for row in rows[1:]])
    return folder


def build(originals: Path, manifest: str, out: str | Path, private: Path) -> Any:
    return run_here(
        *(
            "build",
            "--manifest",
            originals / manifest,
            "--out",
            out,
            "--private",
            fixed_key(private),
        ),
        *("--remove_unlisted", "true", "--workers", 1, *QUICK),
    )


def kill_at(operation: int, patch: pytest.MonkeyPatch, store_type: type[Store]) -> list[str]:
    """Let the store raise instead of its n-th write; return the names of all writes."""
    done: list[str] = []

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Store, name: str, *arguments: Any) -> Any:
            if not name.startswith(".tmp"):
                if len(done) == operation:
                    raise KilledError
                done.append(name)
            return method(self, name, *arguments)

        return call

    for name in WRITES:
        patch.setattr(store_type, name, dying(getattr(store_type, name)))
    return done


def read_all(address: str | Path) -> str:
    """Read every clip and label of a corpus; return the digest of its source."""
    (source,) = open_corpus(address).values()
    samples = [source.index.sample(row) for row in range(source.index.num_rows)]
    for sample in samples:
        mp4 = source.store.read_range(f"lap/{sample.shard}", sample.mp4_offset, sample.mp4_size)
        assert hashlib.sha256(mp4).hexdigest() == sample.sha256
    assert {sample.shard for sample in samples} == {shard.name for shard in source.entry.shards}
    assert not source.missing_tables()
    labels = {label.video for label in read_corpus_labels(source)}
    assert labels in (set(), {sample.clip.video for sample in samples})
    return f"{source.entry.digest} {len(labels)}"


def kill_everywhere(
    originals: Path, out: str | Path, private: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Kill a replacing build at a later write each time, until it is done.

    Returns:
        What could be read before each kill, after each, and at the end.
    """
    states = [read_all(out)]
    while True:
        with monkeypatch.context() as patch:
            kill_at(len(states) - 1, patch, type(open_store(out)))
            try:
                assert build(originals, "new.csv", out, private).returncode == 0
            except KilledError:
                states.append(read_all(out))
                continue
        return [*states, read_all(out)]


def test_a_replacing_build_killed_at_many_writes_leaves_the_old_or_the_new_source(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, private = tmp_path / "corpus", tmp_path / "private"
    assert build(originals, "old.csv", out, private).returncode == 0
    states = kill_everywhere(originals, out, private, monkeypatch)
    assert len(states) > 8
    assert [state for state, _ in groupby(states)] == [states[0], states[-1]]
    assert run_here("verify", out, "--decode", "true").returncode == 0

    # The result is that of a new build, whatever the way to it.
    key = same_key(private, tmp_path / "fresh.private")
    assert build(originals, "new.csv", tmp_path / "fresh", key).returncode == 0
    assert digests(out) == digests(tmp_path / "fresh")


@pytest.mark.slow
def test_a_replacing_build_killed_at_each_write_leaves_the_old_or_the_new_source(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    assert build(originals, "old.csv", old / "corpus", old / "private").returncode == 0
    states = [read_all(old / "corpus")]
    for operation in range(100):
        now = tmp_path / str(operation)
        shutil.copytree(old, now)
        with monkeypatch.context() as patch:
            kill_at(operation, patch, type(open_store(now)))
            try:
                build(originals, "new.csv", now / "corpus", now / "private")
            except KilledError:
                states.append(read_all(now / "corpus"))
                continue
        states.append(read_all(now / "corpus"))
        break
    assert len(states) > 20
    assert [state for state, _ in groupby(states)] == [states[0], states[-1]]


@pytest.mark.slow
def test_a_replacing_build_killed_in_an_object_store_leaves_the_old_or_the_new_source(
    originals: Path, s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    assert build(originals, "old.csv", s3_address, private).returncode == 0
    states = kill_everywhere(originals, s3_address, private, monkeypatch)
    assert [state for state, _ in groupby(states)] == [states[0], states[-1]]
    assert run_here("verify", s3_address).returncode == 0


def test_the_old_command_after_a_killed_replacement_restores_the_old_corpus(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, private = tmp_path / "corpus", tmp_path / "private"
    assert build(originals, "old.csv", out, private).returncode == 0
    before = digests(out)
    for operation in (3, 7):
        with monkeypatch.context() as patch:
            kill_at(operation, patch, type(open_store(out)))
            with pytest.raises(KilledError):
                build(originals, "new.csv", out, private)
        assert build(originals, "old.csv", out, private).returncode == 0
        assert digests(out) == before


def test_a_published_shard_is_never_written_again(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, private = tmp_path / "corpus", tmp_path / "private"
    assert build(originals, "old.csv", out, private).returncode == 0
    old = {name: data for name, data in digests(out).items() if ".tar" in name}
    shutil.copytree(out, tmp_path / "copy")
    written = kill_at(10**6, monkeypatch, type(open_store(out)))
    assert build(originals, "new.csv", out, private).returncode == 0
    same = {name: data for name, data in digests(out).items() if name in old}
    assert all(old[name] == data for name, data in same.items())
    assert written.index("corpus.json") < min(
        written.index(name) for name in old if name not in same
    ), "old shards are removed after the switch"


def test_a_table_suffix_that_could_lead_elsewhere_is_refused(
    originals: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    assert build(originals, "old.csv", out, tmp_path / "private").returncode == 0
    text = (out / "corpus.json").read_text()
    (out / "corpus.json").write_text(text.replace('"tables": ""', '"tables": "-/../x"'))
    with pytest.raises(SurgrecError, match="tables"):
        open_corpus(out)
