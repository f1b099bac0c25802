"""Parts of a build, in any order and at once, give the bytes of the plain build."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.parts import Part, parse_part
from surgrec_shard.private import PrivateFolder

from surgrec.errors import ConfigError
from surgrec.manifest import Video
from surgrec.recordings import FileIdentity
from tests.support.ray_clusters import ENCODES, FfmpegLog
from tests.support.tool import QUICK, command, digests, refusal, run_here, run_tool, same_key
from tests.surgrec_shard.conftest import Hospital


def groups_of(sizes: Sequence[int]) -> list[Group]:
    return [
        Group(
            source="lap",
            split="train",
            number=number,
            settings="",
            videos=(
                PlannedVideo(
                    video=Video(
                        path=Path("x"), source="lap", domain="other", case="", split="train"
                    ),
                    id=f"{number:012x}",
                    case="",
                    identity=FileIdentity(device=1, inode=1, size=size, mtime_ns=1, ctime_ns=1),
                ),
            ),
        )
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_parts_hold_every_group_once_and_about_as_many_bytes(count: int) -> None:
    groups = groups_of([(37 * number) % 101 + 1 for number in range(200)])
    shares = [Part(number=number, count=count).share(groups) for number in range(1, count + 1)]
    assert sorted(name for share in shares for name in share) == sorted(g.name for g in groups)
    sizes = [
        sum(group.videos[0].identity.size for group in groups if group.name in share)  # type: ignore[union-attr]
        for share in shares
    ]
    assert max(sizes) - min(sizes) <= 101


def test_more_parts_than_groups_leave_some_without_work() -> None:
    shares = [Part(number=number, count=5).share(groups_of([3, 2])) for number in range(1, 6)]
    assert [len(share) for share in shares] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give I/N, such as 2/8"):
        parse_part(text)


def words(hospital: Hospital, out: Path) -> tuple[object, ...]:
    private = out.with_suffix(".private")
    if not private.exists():
        same_key(hospital.private, private)
    return ("build", "--manifest", hospital.manifest, "--out", out, *QUICK)


def test_parts_in_any_order_then_the_plain_build(hospital: Hospital, tmp_path: Path) -> None:
    build = words(hospital, tmp_path / "corpus")
    for part in ("3/3", "1/3", "2/3"):
        done = run_here(*build, "--part", part)
        assert done.returncode == 0, done.stderr
        assert f"part {part}: " in done.stderr
        assert not (tmp_path / "corpus" / "corpus.json").exists()
    private = tmp_path / "corpus.private"
    assert len(list(private.glob("hashes-of-part-*"))) == 1  # the others found all digests

    done = run_here(*build)
    assert done.returncode == 0, done.stderr
    assert "0 videos encoded" in done.stderr
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)
    assert not list(private.glob("*-of-part-*"))
    assert not list((private / "work").rglob("*.mp4"))


def test_a_part_and_ray_are_not_used_together(hospital: Hospital, tmp_path: Path) -> None:
    build = words(hospital, tmp_path / "corpus")
    sentence = refusal(run_here(*build, "--part", "1/2", "--engine", "ray"))
    assert "--part 1/2 and --engine ray are two ways" in sentence


def test_a_missing_part_is_built_by_the_plain_build(hospital: Hospital, tmp_path: Path) -> None:
    build = words(hospital, tmp_path / "corpus")
    assert run_here(*build, "--part", "2/2").returncode == 0
    assert run_here(*build).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


_PART_RUNS = """
import sys
from pathlib import Path
from surgrec_shard.private import PrivateFolder
with PrivateFolder(Path(sys.argv[1])).lock_for_part():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def test_nothing_else_uses_the_private_folder_while_a_part_runs(tmp_path: Path) -> None:
    private = PrivateFolder(tmp_path / "private")
    running = subprocess.Popen(
        [sys.executable, "-c", _PART_RUNS, str(private.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="a part of a build is running"):
            private.lock()
        with private.lock_for_part():
            pass
    finally:
        running.kill()
        running.communicate()
    private.lock().release()
    assert not list(private.path.glob("lock-of-part-*"))


def test_digests_of_parts_are_found_by_others_and_merged(tmp_path: Path) -> None:
    one, other = PrivateFolder(tmp_path / "private"), PrivateFolder(tmp_path / "private")
    state = f"{tmp_path / 'op.mp4'}|1|2|3|4"
    with one.lock_for_part():
        one.remember(state, "a" * 64)
    (log,) = one.path.glob("hashes-of-part-*")
    log.write_text(log.read_text() + '{"file": "half')
    with other.lock():
        assert other.digests_of(tmp_path / "op.mp4") == {state: "a" * 64}
    assert not list(one.path.glob("hashes-of-part-*"))
    assert PrivateFolder(one.path).digests_of(tmp_path / "op.mp4") == {state: "a" * 64}


@pytest.mark.slow
def test_all_parts_twice_at_once_encode_each_video_once(hospital: Hospital, tmp_path: Path) -> None:
    build = words(hospital, tmp_path / "corpus")
    log = FfmpegLog(tmp_path / "bin", pause_s=0.3, when=ENCODES)
    running = [
        subprocess.Popen(
            command(*build, "--part", f"{number}/3", "--workers", "1"),
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **log.env},
        )
        for number in (1, 2, 3, 3, 2, 1)
    ]
    for process in running:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    assert set(log.attempts().values()) == {1}
    assert len(log.attempts()) == 7
    done = run_tool(*build)
    assert done.returncode == 0, done.stderr
    assert "0 videos encoded" in done.stderr
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


@pytest.mark.slow
def test_a_killed_part_leaves_its_groups_to_its_twin(hospital: Hospital, tmp_path: Path) -> None:
    build = words(hospital, tmp_path / "corpus")
    log = FfmpegLog(tmp_path / "bin", pause_s=1.0, when=ENCODES)
    env = {**os.environ, **log.env}
    part = command(*build, "--part", "1/1", "--workers", "1")
    killed = subprocess.Popen(part, stderr=subprocess.PIPE, text=True, env=env)
    while not log.attempts():
        assert killed.poll() is None
    twin = subprocess.Popen(part, stderr=subprocess.PIPE, text=True, env=env)
    killed.kill()
    killed.communicate()
    _, errors = twin.communicate(timeout=100)
    assert twin.returncode == 0, errors
    assert run_tool(*build).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)
    assert not list((tmp_path / "corpus.private" / "work").rglob("*.partial-*"))
