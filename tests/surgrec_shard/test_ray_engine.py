"""The Ray engine without a cluster: what it refuses, what it sends, and what a machine checks."""

import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from surgrec_shard.cost import MOST_DECODERS
from surgrec_shard.curation import Curation
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.engines import Engine, LocalEngine, Needs
from surgrec_shard.engines._node_check import NodeCheck, checked, marked
from surgrec_shard.engines._ray import _not_seen, _run
from surgrec_shard.footage_progress import words
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.packing import Footage, needs_of
from surgrec_shard.video_tasks import EncodeTask

from surgrec.errors import SetupError, StorageError
from surgrec.machines import usable_cores
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError, FileIdentity, Recording
from surgrec.recordings.decoders import Decoders
from tests.support.tool import QUICK, build_folder, refusal, run_here
from tests.support.videos import TINY_ENCODING, make_video


def planned(path: Path, size: int = 1) -> PlannedVideo:
    video = Video(path=path, source="lap", domain="other", case="", split="train")
    identity = FileIdentity(device=1, inode=1, size=size, mtime_ns=1, ctime_ns=1)
    return PlannedVideo(video=video, id="0" * 12, case="", identity=identity)


@pytest.fixture
def check(tmp_path: Path) -> NodeCheck:
    with marked(tmp_path, TINY_ENCODING) as check:
        (tmp_path / "kept").hardlink_to(check.work.marker)
    (tmp_path / "kept").rename(check.work.marker)
    return check


def test_without_ray_the_engine_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    monkeypatch.setitem(sys.modules, "ray", None)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--out", tmp_path / "corpus")
    sentence = refusal(run_here(*build, "--engine", "ray"))
    assert "ray is not installed, and --engine ray needs it; run pip install '.[ray]'" in sentence
    assert run_here(*build).returncode == 0


def test_an_address_that_no_engine_can_use_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--out", tmp_path / "corpus")
    sentence = refusal(run_here(*build, "--address", "10.0.0.1:6379"))
    assert "--address 10.0.0.1:6379 is for --engine ray" in sentence
    sentence = refusal(run_here(*build, "--engine", "ray", "--address", "ray://10.0.0.1:10001"))
    assert "--address ray://10.0.0.1:10001 is that of a Ray client" in sentence


def test_the_outcome_of_a_bad_video_survives_the_way_back(tmp_path: Path, check: NodeCheck) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    task = EncodeTask(
        video=planned(tmp_path / "bad.mp4"),
        settings=TINY_ENCODING,
        curation=Curation(),
        folder=tmp_path / "clips" / "one",
    )
    sent = pickle.loads(pickle.dumps(task))
    assert sent == task
    outcome = pickle.loads(pickle.dumps(_run(check, sent, Needs(files=(tmp_path / "bad.mp4",)))))
    assert isinstance(outcome.error, BadVideoError)
    assert outcome.error.reason == "changed"  # it has another identity
    assert outcome.error.may_pass
    assert outcome.unseen == []
    assert str(outcome.error).startswith("the file was replaced or written")


def test_a_shared_file_may_have_another_device_number_on_each_machine(tmp_path: Path) -> None:
    path = make_video(tmp_path / "op.mp4", seconds=2)
    with Recording(path) as recording:
        identity = recording.identity
        recording.require_unchanged(identity._replace(device=identity.device + 1))
        with pytest.raises(BadVideoError, match="the file was replaced"):
            recording.require_unchanged(identity._replace(inode=identity.inode + 1))


def test_a_file_that_a_machine_does_not_see_is_named(tmp_path: Path, check: NodeCheck) -> None:
    @dataclass(frozen=True)
    class Open:
        path: Path

        def __call__(self, decoders: Decoders) -> int:
            raise BadVideoError("missing", "the file does not exist", may_pass=True)

    path = tmp_path / "not-mounted" / "op.mp4"
    outcome = _run(check, Open(path), Needs(files=(path,)))
    assert outcome.unseen == [path]
    assert f"does not see {path}, which this machine sees" in str(_not_seen("node-7", path))


def test_a_machine_without_the_work_folder_is_refused(tmp_path: Path) -> None:
    with marked(tmp_path, TINY_ENCODING) as check:
        checked(check)
        is_there = check.work.marker
    assert not is_there.exists()
    work = replace(check.work, marker=tmp_path / "elsewhere" / "marker")
    other = replace(check, work=work)
    with pytest.raises(SetupError, match=rf"does not see the work folder {tmp_path}/elsewhere"):
        checked(other)


def test_a_folder_of_the_same_name_on_another_disk_is_refused(
    tmp_path: Path, check: NodeCheck
) -> None:
    local = tmp_path / "local"
    local.touch(mode=0o600)
    other = replace(check, work=replace(check.work, marker=local))
    with pytest.raises(SetupError, match="give --work a folder that all machines share"):
        checked(other)


def test_a_machine_with_another_encoder_is_refused(check: NodeCheck) -> None:
    other = replace(check, encode=EncodeSettings(crf=20))
    with pytest.raises(SetupError, match="another encoder or another version of SurgRec"):
        checked(other)


def test_a_failure_of_a_machine_is_no_bad_video(check: NodeCheck) -> None:
    def full(decoders: Decoders) -> int:
        raise StorageError("the disk is full")

    assert isinstance(_run(check, full, Needs()).error, StorageError)


def test_a_task_gets_as_many_decoders_as_it_reserved(check: NodeCheck) -> None:
    assert _run(check, lambda decoders: decoders.count, Needs(cores=3)).result == 3


class _Cluster(LocalEngine):
    """Has the size of a cluster of 10 machines with 16 cores each."""

    @property
    def cores(self) -> int:
        return 160

    @property
    def cores_of_a_machine(self) -> int:
        return 16


@pytest.mark.parametrize(
    ("size", "cores"),
    [(1, 1), (500, 1), (501, 2), (2100, 5), (90_000, 8), (160_000, MOST_DECODERS)],
)
def test_a_video_of_more_than_half_a_share_gets_more_decoders(size: int, cores: int) -> None:
    # A core's share of 160,000 waiting bytes is 1,000 bytes.
    needs = needs_of(planned(Path("op.mp4"), size), 160_000, _Cluster(1))
    assert needs.cores == cores
    assert needs.memory_bytes == cores << 30
    assert needs.files == (Path("op.mp4"),)


@pytest.mark.parametrize("engine", [LocalEngine(1), LocalEngine(64)])
def test_threads_of_one_machine_share_decoders_instead(engine: Engine) -> None:
    assert needs_of(planned(Path("op.mp4"), 1000), 1000, engine).cores == 1


def test_the_rest_of_a_build_takes_as_long_as_the_same_bytes_so_far() -> None:
    footage = Footage(total_bytes=4_000_000_000)
    assert words(footage, 100.0) == "0 s, 0.0/4.0 GB"
    footage.bytes, footage.hours = 1_000_000_000, 2.5
    assert words(footage, 1300.0) == "2.5 h, 1.0/4.0 GB, 1:05:00 left"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(59, "59 s"), (60, "1.0 min"), (330, "5.5 min"), (359, "6.0 min"), (360, "0.1 h")],
)
def test_short_footage_is_shown_in_seconds_or_minutes(seconds: int, shown: str) -> None:
    footage = Footage(total_bytes=4_000_000, bytes=1_000_000, hours=seconds / 3600)
    assert words(footage, 1.0) == f"{shown}, 1.0/4.0 MB, 0:00:03 left"


@pytest.mark.parametrize(("cpus", "gib", "cores"), [(8.0, 20.5, 8), (8.0, 3.5, 3), (0.0, 64.0, 0)])
def test_a_machine_has_no_more_cores_than_memory_for_their_tasks(
    cpus: float, gib: float, cores: int
) -> None:
    assert usable_cores({"CPU": cpus, "memory": gib * 2**30}, 1 << 30) == cores
    assert usable_cores({}, 1 << 30) == 0
