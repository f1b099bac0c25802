"""An interrupted build ends with the same bytes, and never touches files of others."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.support.tool import (
    QUICK,
    build_folder,
    command,
    digests,
    read_report,
    refusal,
    run_here,
    run_tool,
    same_key,
    write_csv,
)
from tests.support.videos import make_video
from tests.surgrec_shard.conftest import Hospital


def test_one_worker_and_two_build_the_same_bytes(hospital: Hospital, tmp_path: Path) -> None:
    built = run_tool(*build_of(hospital, tmp_path), "--workers", 2)
    assert built.returncode == 0, built.stderr
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)
    assert len([name for name in digests(hospital.corpus) if name.endswith(".tar")]) >= 5

    # The rest of one video is joined to the clip before it.
    index = parquet.read_table(hospital.corpus / "lap" / "index.parquet").to_pylist()
    assert [row["duration_s"] for row in index if row["duration_s"] > 2] == [2.5]


def test_a_killed_build_continues_and_ends_with_the_same_bytes(
    hospital: Hospital, tmp_path: Path
) -> None:
    def in_the_middle() -> bool:
        """Return whether one group is packed, and a video of another group is encoded."""
        return any(tmp_path.glob("private/groups/*.json")) and any(
            (tmp_path / "private" / "work").glob("*/videos/*/*/clips.json")
        )

    kill_when(in_the_middle, build_of(hospital, tmp_path))
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("private/groups/*.json")}
    complete = digests(hospital.corpus)
    left = {
        name: digest
        for name, digest in digests(tmp_path / "corpus").items()
        if not Path(name).name.startswith(".")
    }
    assert left.items() < complete.items(), (
        "files under final names are complete, and corpus.json is missing"
    )

    built = run_tool(*build_of(hospital, tmp_path))
    assert built.returncode == 0, built.stderr
    assert shards(tmp_path / "corpus") == shards(hospital.corpus)
    assert tables(tmp_path / "corpus") == tables(hospital.corpus)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, (
        "a finished group is not packed again"
    )
    assert not list((tmp_path / "private" / "work").glob("*/videos/*/*")), (
        "no unfinished work remains"
    )


@pytest.mark.slow
def test_killed_at_any_moment_a_build_ends_with_the_same_bytes(
    hospital: Hospital, tmp_path: Path
) -> None:
    dice = random.Random(0)
    kills = attempt = 0
    while kills < 12:  # a build that was quicker than its killer does not count
        attempt += 1
        folder = tmp_path / str(attempt)
        folder.mkdir()
        build = command(*build_of(hospital, folder))
        while True:
            with subprocess.Popen(
                build, stderr=subprocess.DEVNULL, start_new_session=True
            ) as running:
                try:
                    assert running.wait(timeout=dice.uniform(0.3, 2.0)) == 0
                    break
                except subprocess.TimeoutExpired:
                    dice.choice((os.kill, os.killpg))(running.pid, signal.SIGKILL)
                    kills += 1
        assert shards(folder / "corpus") == shards(hospital.corpus)
        assert tables(folder / "corpus") == tables(hospital.corpus)
        assert not list((folder / "private" / "work").glob("*/videos/*/*/"))


@pytest.mark.slow
def test_an_ffmpeg_that_survives_a_killed_build_does_no_damage(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "long.mp4", seconds=6, size="480x360", rate=25)
    slow = (
        "--encode.clip_s",
        3,
        "--encode.min_clip_s",
        1,
        "--encode.fps",
        0,
        "--encode.short_side_px",
        360,
        "--encode.preset",
        "slow",
    )
    build = (
        *build_folder(tmp_path / "videos"),
        *slow,
    )

    def encoding() -> bool:
        return any((tmp_path / "a.private" / "work").glob("*/videos/*/*/000000.mp4"))

    kill_when(encoding, (*build, "--out", tmp_path / "a"), alone=True)
    assert run_here(*build, "--out", tmp_path / "a").returncode == 0
    same_key(tmp_path / "a.private", tmp_path / "b.private")
    assert run_here(*build, "--out", tmp_path / "b").returncode == 0
    assert shards(tmp_path / "a") == shards(tmp_path / "b")


@pytest.mark.parametrize("number", [0, 1], ids=["decoder", "encoder"])
def test_a_stopped_ffmpeg_does_not_make_its_video_a_bad_one(number: int, tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "long.mp4", seconds=8, size="640x480", rate=25)
    build = (
        *build_folder(tmp_path / "videos"),
        "--out",
        tmp_path / "a",
    )
    with subprocess.Popen(command(*build), stderr=subprocess.PIPE, text=True) as running:
        wait_for(
            lambda: any((tmp_path / "a.private" / "work").glob("*/videos/*/*/000000.mp4")), running
        )
        os.kill(sorted(children(running.pid))[number], signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "stopped by a signal" in errors.splitlines()[-1]
    assert run_here(*build).returncode == 0


def test_a_video_that_crashes_ffmpeg_is_skipped_and_others_are_kept(tmp_path: Path) -> None:
    for name, pattern in (("fatal", "testsrc"), ("good", "testsrc2")):
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=4, pattern=pattern)
    fragile = tmp_path / "bin" / "ffmpeg"
    fragile.parent.mkdir()
    fragile.write_text(
        "#!/bin/sh\nls -l /proc/$$/fd | grep -q fatal.mp4 && kill -SEGV $$\n"
        f'exec {shutil.which("ffmpeg")} "$@"\n'
    )
    fragile.chmod(0o755)
    built = run_tool(
        *("build", "--videos", tmp_path / "videos", "--source", "lap", "--domain", "laparoscopy"),
        *("--out", tmp_path / "corpus", *QUICK),
        env={"PATH": f"{fragile.parent}:{os.environ['PATH']}"},
    )
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert report["good.mp4"]["status"] == "packed"
    assert report["fatal.mp4"]["status"] == "undecodable"
    assert "signal 11" in report["fatal.mp4"]["detail"]


@pytest.fixture
def ctrl_c_is_handled() -> Iterator[None]:
    """Handle Ctrl-C, which processes started in the background ignore, with all their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_handled")
def test_ctrl_c_says_how_to_continue(hospital: Hospital, tmp_path: Path) -> None:
    with subprocess.Popen(
        command(*build_of(hospital, tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        wait_for(lambda: any((tmp_path / "private" / "work").glob("*/videos/*/*")), running)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command continues" in errors.splitlines()[-1]
    assert run_here(*build_of(hospital, tmp_path)).returncode == 0
    assert shards(tmp_path / "corpus") == shards(hospital.corpus)


def test_the_same_command_again_changes_nothing(hospital: Hospital, tmp_path: Path) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    shutil.copytree(hospital.private, tmp_path / "private")
    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").rglob("*") if path.is_file()
    }
    again = run_here(*build_of(hospital, tmp_path))
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_the_same_command_again_still_reports_the_videos_that_failed(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "good.mp4", seconds=4)
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    build = (
        *build_folder(tmp_path / "videos"),
        *QUICK,
    )
    first = run_here(*build, "--out", tmp_path / "corpus")
    report = read_report(tmp_path / "corpus.private")
    assert first.returncode == 3
    assert {name: row["status"] for name, row in report.items()} == {
        "good.mp4": "packed",
        "bad.mp4": "unreadable",
    }
    again = run_here(*build, "--out", tmp_path / "corpus")
    assert again.returncode == 3
    assert "bad.mp4" in again.stderr
    assert read_report(tmp_path / "corpus.private") == report


def test_a_lost_shard_is_built_again(hospital: Hospital, tmp_path: Path) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    shutil.copytree(hospital.private, tmp_path / "private")
    lost = sorted((tmp_path / "corpus").rglob("*.tar"))[0]
    lost.unlink()
    assert run_here(*build_of(hospital, tmp_path)).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_a_group_record_cut_by_a_power_failure_is_written_again(
    hospital: Hospital, tmp_path: Path
) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    shutil.copytree(hospital.private, tmp_path / "private")
    (tmp_path / "corpus" / "corpus.json").unlink()
    for record in tmp_path.glob("private/groups/cat-*.json"):
        record.write_text(record.read_text()[:100])
    assert run_here(*build_of(hospital, tmp_path)).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_a_video_listed_twice_is_packed_once_and_reported_twice(tmp_path: Path) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=2)
    row = {"path": video, "source": "lap", "domain": "other", "case": "one", "split": "train"}
    build = (
        "build",
        "--manifest",
        write_csv(tmp_path / "videos.csv", [row, row]),
        "--out",
        tmp_path / "corpus",
        *QUICK,
    )
    assert run_here(*build).returncode == 3
    with (tmp_path / "corpus.private" / "videos-lap.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["packed", "duplicate"]


def test_other_settings_are_refused_for_an_existing_corpus(
    hospital: Hospital, tmp_path: Path
) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    sentence = refusal(run_here(*build_of(hospital, tmp_path), "--encode.crf", 30))
    assert "crf 23 (now 30)" in sentence
    assert "another --out" in sentence
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_another_key_is_refused_for_an_existing_corpus(hospital: Hospital, tmp_path: Path) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    sentence = refusal(run_here(*build_of(hospital, tmp_path, key=False)))
    key = json.loads((tmp_path / "corpus" / "corpus.json").read_text())["key"]
    assert f"{tmp_path / 'corpus'} was built with the key {key}" in sentence
    assert "give the folder of that key with --private" in sentence
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_videos_that_are_no_longer_listed_are_removed_by_a_flag_only(
    hospital: Hospital, tmp_path: Path
) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    private = same_key(hospital.private, tmp_path / "private")
    only_cat = hospital.manifest.with_name("one_cat.csv")
    lines = hospital.manifest.read_text().splitlines()
    only_cat.write_text("\n".join([lines[0], lines[-1]]))
    build = (
        *("build", "--manifest", only_cat, "--out", tmp_path / "corpus"),
        *("--private", private, *QUICK),
    )
    sentence = refusal(run_here(*build))
    assert "has 1 video of the source 'cat' that this build does not list" in sentence
    assert "--remove_unlisted true" in sentence
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)

    removed = run_here(*build, "--remove_unlisted", "true")
    assert removed.returncode == 0, removed.stderr
    assert "0 videos encoded" in removed.stderr
    assert "cat: removed 1 video: " in removed.stderr
    assert "Models: an encoder file records the videos" in removed.stderr
    corpus = json.loads((tmp_path / "corpus/corpus.json").read_text())
    assert (corpus["sources"]["cat"]["videos"], corpus["sources"]["lap"]["videos"]) == (1, 5)
    assert run_here("verify", tmp_path / "corpus", "--decode", "true").returncode == 0
    assert {
        name: data for name, data in digests(tmp_path / "corpus").items() if "lap" in str(name)
    } == {name: data for name, data in digests(hospital.corpus).items() if "lap" in str(name)}
    assert run_here(*build).returncode == 0, "the same command without the flag finds it done"


def test_a_second_command_adds_a_source_and_keeps_the_first(
    hospital: Hospital, tmp_path: Path
) -> None:
    lines = hospital.manifest.read_text().splitlines()
    first, second = (
        hospital.manifest.with_name("first.csv"),
        hospital.manifest.with_name("second.csv"),
    )
    first.write_text("\n".join(lines[:6]))
    second.write_text("\n".join(lines[:1] + lines[6:]))
    private = same_key(hospital.private, tmp_path / "private")
    for manifest in (first, second):
        out = ("--out", tmp_path / "corpus", "--private", private)
        built = run_here("build", "--manifest", manifest, *out, *QUICK)
        assert built.returncode == 0, built.stderr
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_shards_of_an_abandoned_plan_are_removed_from_the_corpus(
    hospital: Hospital, tmp_path: Path
) -> None:
    kill_when(
        lambda: any((tmp_path / "corpus").glob("*/*.tar")),
        [*build_of(hospital, tmp_path), "--pack.group_videos", 1],
    )
    assert run_here(*build_of(hospital, tmp_path)).returncode == 0
    assert shards(tmp_path / "corpus") == shards(hospital.corpus)


def test_a_stale_shard_that_a_kill_left_is_removed_by_the_same_command(
    hospital: Hospital, tmp_path: Path
) -> None:
    shutil.copytree(hospital.corpus, tmp_path / "corpus")
    (tmp_path / "corpus" / "lap" / "lap-train-00009000.tar").write_bytes(
        b"clips of an earlier plan"
    )
    assert run_here(*build_of(hospital, tmp_path)).returncode == 0
    assert digests(tmp_path / "corpus") == digests(hospital.corpus)


def test_a_second_build_at_the_same_time_is_refused(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = build_of(hospital, tmp_path)
    monkeypatch.setattr("surgrec.storage.lock._WAIT_S", 0.2)
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    words = [sys.executable, "-c", hold, str(tmp_path / "private" / "lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        sentence = refusal(run_here(*build))
        other.kill()
    assert f"another process is building in {tmp_path / 'private'}" in sentence
    assert "wait until it is done" in sentence
    assert not digests(tmp_path / "corpus")


def test_a_file_in_two_sources_is_packed_in_both(tmp_path: Path) -> None:
    video = make_video(tmp_path / "shared.mp4", seconds=4)
    rows = [
        {"path": video, "source": name, "domain": "other", "case": "one", "split": "train"}
        for name in ("a", "b")
    ]
    manifest = write_csv(tmp_path / "videos.csv", rows)
    built = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 0, built.stderr
    found = [name for name in digests(tmp_path / "corpus") if name.endswith(".tar")]
    assert [name[:-13] for name in found] == ["a/a-train-00000000", "b/b-train-00000000"]


def test_strange_names_of_files_and_folders_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    names = [os.fsdecode(b"M\xfcller [/final].mp4"), "100%d: 'a\\b'.mp4"]
    for number, name in enumerate(names):
        make_video(folder / name, seconds=2, arguments=("-vf", f"hue=h={90 * number}"))
    (folder / "empty [/red].mp4").parent.mkdir()
    (folder / "empty [/red].mp4").touch()
    built = run_here(
        *("build", "--videos", folder, "--source", "lap", "--domain", "laparoscopy", *QUICK),
        *("--out", tmp_path / "corpus", "--work", tmp_path / "100%d: work"),
    )
    assert built.returncode == 3, built.stderr
    assert f"{folder}/empty [/red].mp4: the file is empty" in built.stderr
    report = (tmp_path / "corpus.private" / "videos-lap.csv").read_bytes()
    assert all(os.fsencode(name) in report for name in names)
    assert report.count(b",packed,") == 2


def test_the_list_of_a_build_of_many_sources_is_written(tmp_path: Path) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=2)
    rows = [
        {
            "path": video,
            "source": f"source-{number}-{'x' * 30}",
            "domain": "other",
            "case": "",
            "split": "train",
        }
        for number in range(7)
    ]
    manifest = write_csv(tmp_path / "videos.csv", rows)
    built = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 0, built.stderr
    (report,) = tmp_path.glob("corpus.private/videos-*.csv")
    assert report.read_text().count(",packed,") == 7


def build_of(hospital: Hospital, folder: Path, *, key: bool = True) -> list[object]:
    """Return arguments that build the hospital's corpus in a folder, with the same or a new key."""
    if key and not (folder / "private").exists():
        same_key(hospital.private, folder / "private")
    return [
        *(
            "build",
            "--manifest",
            hospital.manifest,
            "--out",
            folder / "corpus",
            "--private",
            folder / "private",
        ),
        *("--workers", 1, *QUICK),
    ]


def kill_when(
    reached: Callable[[], bool],
    arguments: list[object] | tuple[object, ...],
    *,
    alone: bool = False,
) -> None:
    """Run the tool and kill it with SIGKILL. `alone`: its ffmpeg processes survive."""
    with subprocess.Popen(
        command(*arguments), stderr=subprocess.DEVNULL, start_new_session=True
    ) as running:
        wait_for(reached, running)
        (os.kill if alone else os.killpg)(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL


def wait_for(
    reached: Callable[[], bool], running: "subprocess.Popen[bytes] | subprocess.Popen[str]"
) -> None:
    while not reached():
        assert running.poll() is None, "the build ended before the moment came"
        time.sleep(0.002)


def children(process: int) -> list[int]:
    """Return the child processes of a process."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in listed.stdout.split()]


def shards(corpus: Path) -> dict[str, str]:
    return {
        name: digest for name, digest in digests(corpus).items() if name.endswith((".tar", ".idx"))
    }


def tables(corpus: Path) -> dict[str, str]:
    return {
        name: digest
        for name, digest in digests(corpus).items()
        if name.endswith((".parquet", ".json"))
    }


def test_pictures_and_hidden_videos_have_rows_in_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    video = make_video(folder / "a.mp4", seconds=3)
    for name in ("thumb/1.jpg", "thumb/2.PNG", "thumb/notes.txt", ".old/x/op.mp4", ".git/head"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video.read_bytes() if path.suffix == ".mp4" else b"text")
    shutil.copy(video, folder / ".b")
    (folder / "._a.mp4").write_bytes(b"\0\5\x16\7")
    build = (
        *("build", "--videos", folder, "--source", "lap", "--domain", "laparoscopy"),
        *("--out", tmp_path / "corpus", *QUICK),
    )

    built = run_here(*build)
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: row["status"] for name, row in report.items() if name != "a.mp4"} == {
        "thumb": "pictures",
        ".old": "hidden",
        ".b": "hidden",
        "*.jpg": "other_kind",
        "*.png": "other_kind",
        "*.txt": "other_kind",
        ".*": "hidden_files",
    }
    assert report["*.txt"]["detail"].startswith("1 file .txt")
    assert "2 pictures of this folder" in report["thumb"]["detail"]
    assert "1 video, which is not searched; rename it" in report[".old"]["detail"]

    globs = "['*.jpg', '*.PNG', '.old', '.b']"
    assert run_here(*build, "--exclude", globs).returncode == 0
