"""Hostile machines: full disks, no locks, failing reads, missing programs, killed builds."""

import errno
import fcntl
import json
import os
import pwd
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from surgrec_shard.encoder import encoder_versions

from surgrec.recordings import find_program, process
from surgrec.shards import open_corpus
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.small_disk import small_disk
from tests.support.tool import command as shard_command
from tests.support.tool import read_report
from tests.support.videos import make_video

SIZE = ("--encode.short_side_px", "64", "--encode.clip_s", "2", "--encode.min_clip_s", "1")
QUICK = (*SIZE, "--encode.preset", "ultrafast", "--workers", "1")
Make = Callable[[Path], Sequence[object]]

_stack = ExitStack()
"""What a kind changes in this process, and so in its child; the test sets it back."""


# Inputs


def videos(folder: Path, names: Sequence[str] = ("a", "b")) -> Path:
    for number, name in enumerate(names):
        make_video(
            folder / "videos" / f"{name}.mp4",
            seconds=2,
            arguments=("-vf", f"hue=h={70 * number}"),
        )
    return folder / "videos"


def build(folder: Path, *words: object, out: object = None) -> list[object]:
    videos(folder)
    where = ("--videos", folder / "videos", "--source", "lap", "--domain", "laparoscopy")
    return ["surgrec-shard", "build", *where, "--out", out or folder / "corpus", *QUICK, *words]


def with_words(*words: object) -> Make:
    return lambda folder: build(folder, *(str(word).format(folder=folder) for word in words))


def into(out: str) -> Make:
    return lambda folder: build(folder, out=out.format(folder=folder))


def patched(target: str, replacement: Callable[[Callable[..., Any]], Any]) -> Make:
    """Make a build in which a function of the operating system behaves differently."""

    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        module, _, name = target.rpartition(".")
        original = getattr({"os": os, "fcntl": fcntl, "pwd": pwd, "time": time}[module], name)
        _stack.enter_context(mock.patch(target, replacement(original)))
        return command

    return make


def failing(number: int, when: Callable[..., bool]) -> Callable[[Callable[..., Any]], Any]:
    """Return a function that fails with an error of the system for some arguments."""

    def wrap(original: Callable[..., Any]) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if when(*arguments):
                raise OSError(number, os.strerror(number))
            return original(*arguments, **options)

        return call

    return wrap


def is_of(name: str) -> Callable[..., bool]:
    """Return whether the first argument is a descriptor or a path of this file."""

    def when(file: Any, *_: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{file}") if isinstance(file, int) else os.fspath(file)
        return os.fsdecode(path).endswith(name)

    return when


def no_locks(number: int) -> Make:
    """Make a build on a file system that answers locks with an error."""

    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        _stack.enter_context(
            mock.patch("fcntl.lockf", failing(number, lambda *_: True)(fcntl.lockf))
        )
        return command

    return make


def small(kilobytes: int, *words: str, out: str | None = None) -> Make:
    """Make a build with a small disk at `{folder}/disk`."""

    def make(folder: Path) -> Sequence[object]:
        _stack.enter_context(small_disk(folder / "disk", kilobytes))
        formatted = [word.format(folder=folder) for word in words]
        return build(folder, *formatted, out=out and out.format(folder=folder))

    return make


def read_only(*words: str, out: str | None = None) -> Make:
    def make(folder: Path) -> Sequence[object]:
        _stack.enter_context(small_disk(folder / "disk", 1000))
        subprocess.run(["mount", "-o", "remount,ro", folder / "disk"], check=True)
        formatted = [word.format(folder=folder) for word in words]
        return build(folder, *formatted, out=out and out.format(folder=folder))

    return make


def limited(kind: int, value: int) -> Make:
    """Make a build under a limit of the system."""

    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        soft, hard = resource.getrlimit(kind)
        _stack.callback(resource.setrlimit, kind, (soft, hard))
        resource.setrlimit(kind, (value, hard))
        return command

    return make


def with_ffmpeg(body: str, name: str = "ffmpeg", content: bytes = b"") -> Make:
    """Make a build with another ffmpeg: a script in which `real` runs the real one, or bytes."""

    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        path = folder / "bin" / name
        path.parent.mkdir()
        script = f'#!/bin/bash\nreal() {{ {shutil.which(name)} "$@"; }}\n{body}\n'
        path.write_bytes(content or script.encode())
        path.chmod(0o755)
        _stack.enter_context(
            mock.patch.dict(os.environ, PATH=f"{path.parent}:{os.environ['PATH']}")
        )
        return command

    return make


def on_one_video(body: str) -> Make:
    """Make a build in which ffmpeg does something else with one of two videos."""
    make = with_ffmpeg(
        f"if ls -l /proc/$$/fd | grep -q videos/a.mp4; then {body}; fi; "
        'exec "$(type -P -a ffmpeg | sed -n 2p)" "$@"'
    )

    def impatient(folder: Path) -> Sequence[object]:
        command = make(folder)
        for limit, value in {"STALL_S": 3.0, "COMPLAINT_BYTES": 100_000}.items():
            _stack.enter_context(mock.patch.object(process, limit, value))
        return command

    return impatient


def without_programs(folder: Path) -> Sequence[object]:
    command = build(folder)
    _stack.enter_context(mock.patch.dict(os.environ, PATH=str(folder)))
    return command


def environment(**values: str) -> Make:
    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        formatted = {name: value.format(folder=folder) for name, value in values.items()}
        _stack.enter_context(mock.patch.dict(os.environ, formatted))
        return command

    return make


def after_a_build(change: Callable[[Path], object]) -> Make:
    """Make a second build after something happened to the results of the first."""

    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        tool = shard_command(*command[1:])
        subprocess.run(tool, check=True, capture_output=True)
        change(folder)
        return command

    return make


def cut(pattern: str, size: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path in folder.glob(pattern):
            os.truncate(path, size)

    return change


def killed_after(seconds: float) -> Make:
    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        tool = shard_command(*command[1:])
        with subprocess.Popen(tool, stderr=subprocess.DEVNULL, start_new_session=True) as running:
            time.sleep(seconds)
            os.killpg(running.pid, signal.SIGKILL)
        return command

    return make


def owned_by(**owner: object) -> Make:
    """Make a build on a file system without locks, whose private folder has an owner file."""

    def make(folder: Path) -> Sequence[object]:
        command = no_locks(errno.ENOLCK)(folder)
        private = folder / "corpus.private"
        private.mkdir(mode=0o700)
        row = {"token": "t", "host": "node7", "machine": "m", "pid": 1, "started": "1"} | owner
        (private / "lock.owner").write_text(json.dumps(row))
        heard = 1e9 if owner.get("host") == "silent" else time.time() + 1e4
        os.utime(private / "lock.owner", (heard, heard))
        return command

    return make


def mtimes(seconds: float) -> Make:
    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        for path in (folder / "videos").iterdir():
            os.utime(path, (seconds, seconds))
        return command

    return make


def second_folder_fails(number: int) -> Make:
    def make(folder: Path) -> Sequence[object]:
        command = build(folder)
        make_video(folder / "videos" / "case7" / "c.mp4", seconds=2)
        wrapped = failing(number, is_of("case7"))(os.scandir)
        _stack.enter_context(mock.patch("os.scandir", wrapped))
        return command

    return make


# Results


def whole(folder: Path, run: Run, packed: int = 2, out: str = "corpus") -> None:
    """Check that the corpus is readable and has this many videos."""
    (source,) = open_corpus(folder / out).values()
    assert source.entry.videos == packed
    assert source.index.num_rows == packed
    assert run.status == (0 if packed == 2 else 3), run.errors


def one_is_named(folder: Path, run: Run) -> None:
    whole(folder, run, packed=1)
    statuses = sorted(row["status"] for row in read_report(folder / "corpus.private").values())
    assert "packed" in statuses
    assert len(statuses) == 2


def folder_is_named(folder: Path, run: Run) -> None:
    assert run.status == 3
    assert read_report(folder / "corpus.private")["case7"]["status"] == "unreadable"
    assert open_corpus(folder / "corpus")["lap"].entry.videos == 2


KINDS = [
    *(
        Kind(name=f"a build works with {what}", make=make, right=whole)
        for what, make in {
            "no locks (ENOSYS)": no_locks(errno.ENOSYS),
            "no locks (ENOLCK)": no_locks(errno.ENOLCK),
            "no locks (EOPNOTSUPP)": no_locks(errno.EOPNOTSUPP),
            "an owner that was killed here": owned_by(
                machine=f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} "
                f"{os.readlink('/proc/self/ns/pid')}"
            ),
            "an owner elsewhere that is silent": owned_by(host="silent"),
            "an empty HOME": environment(HOME="", XDG_CACHE_HOME=""),
            "a HOME that does not exist": environment(HOME="{folder}/none"),
            "a user without a name": patched(
                "pwd.getpwuid", failing(errno.ENOENT, lambda *_: True)
            ),
            "TMPDIR that does not exist": environment(TMPDIR="{folder}/none"),
            "an ASCII locale": environment(LANG="C", LC_ALL="C", PYTHONUTF8="0"),
            "a dumb terminal": environment(TERM="dumb", COLUMNS="1", LINES="1"),
            "files from 2106": mtimes(4.3e9),
            "files from 1901": mtimes(-2.1e9),
            "files without a time": mtimes(0),
            "the limit of 64 open files": limited(resource.RLIMIT_NOFILE, 64),
            "a kill at its start": killed_after(0.5),
            "a kill while it encodes": killed_after(1.2),
            "a lost shard": after_a_build(
                lambda folder: next(folder.glob("corpus/lap/*.tar")).unlink()
            ),
            "a lost offset file": after_a_build(
                lambda folder: next(folder.glob("corpus/lap/*.idx")).unlink()
            ),
            "a cut shard": after_a_build(cut("corpus/lap/*.tar", 1000)),
            "a lost corpus.json": after_a_build(
                lambda folder: (folder / "corpus" / "corpus.json").unlink()
            ),
            "cut records": after_a_build(cut("corpus.private/groups/*.json", 50)),
            "cut hashes": after_a_build(cut("corpus.private/hashes.jsonl", 50)),
            "lost groups": after_a_build(
                lambda folder: shutil.rmtree(folder / "corpus.private" / "groups")
            ),
            "cut plans": after_a_build(cut("corpus.private/plans/*.json", 50)),
            "lost plans": after_a_build(
                lambda folder: shutil.rmtree(folder / "corpus.private" / "plans")
            ),
            "a lost index": after_a_build(
                lambda folder: (folder / "corpus/lap/index.parquet").unlink()
            ),
            "a lost table of dropped stretches": after_a_build(
                lambda folder: (folder / "corpus/lap/dropped.parquet").unlink()
            ),
            "a private folder in new folders": with_words("--private", "{folder}/deep/er/private"),
            "a work folder on another disk": small(9000, "--work", "{folder}/disk/work"),
        }.items()
    ),
    *(
        Kind(name=f"a build is refused with {what}", make=make)
        for what, make in {
            "an owner elsewhere that is alive": owned_by(),
            "no ffmpeg": without_programs,
            "an ffmpeg without its libraries": with_ffmpeg(
                "echo 'ffmpeg: error while loading shared libraries: libx.so' >&2; exit 127"
            ),
            "an ffprobe without its libraries": with_ffmpeg(
                "echo 'ffprobe: error while loading shared libraries: libx.so' >&2; exit 127",
                "ffprobe",
            ),
            "an ffmpeg that cannot be run": with_ffmpeg("", content=b"\0"),
            "an ffprobe that cannot be run": with_ffmpeg("", "ffprobe", content=b"\0"),
            "an ffmpeg without x264": with_ffmpeg('case "$*" in *x264*) exit 1;; esac; real "$@"'),
            "a corpus in /proc": into("/proc/none/corpus"),
            "a corpus below a file": into("{folder}/videos/a.mp4/corpus"),
            "a corpus at a device": into("/dev/null"),
            "a corpus with too long a name": into("{folder}/" + "x" * 300),
            "a private folder in /proc": with_words("--private", "/proc/none/private"),
            "a private folder that is a file": with_words("--private", "{folder}/videos/a.mp4/x"),
            "a work folder in /proc": with_words("--work", "/proc/none/work"),
            "a work folder that is a file": with_words("--work", "/dev/null"),
            "a full disk of the corpus": small(16, out="{folder}/disk/corpus"),
            "a full disk of the private folder": small(4, "--private", "{folder}/disk/private"),
            "a full disk of the work": small(16, "--work", "{folder}/disk/work"),
            "a read-only corpus": read_only(out="{folder}/disk/corpus"),
            "a read-only private folder": read_only("--private", "{folder}/disk/private"),
            "a read-only work folder": read_only("--work", "{folder}/disk/work"),
            "errors of the disk that stores the key": patched(
                "os.open", failing(errno.EIO, is_of("key.partial"))
            ),
            "errors of the disk that stores the hashes": patched(
                "os.open", failing(errno.EIO, is_of("hashes.jsonl"))
            ),
            "a quota on the records": patched("os.open", failing(errno.EDQUOT, is_of(".partial"))),
            "a corpus.json that is a folder": after_a_build(
                lambda folder: replace_by(folder / "corpus/corpus.json", Path.mkdir)
            ),
            "a corpus.json that is a pipe": after_a_build(
                lambda folder: replace_by(folder / "corpus/corpus.json", os.mkfifo)
            ),
            "a corpus.json of zeros": after_a_build(
                lambda folder: (folder / "corpus/corpus.json").write_bytes(bytes(500))
            ),
            "a new key": after_a_build(
                lambda folder: (folder / "corpus.private/key").write_text("5a" * 32)
            ),
            "a lost key": after_a_build(
                lambda folder: os.truncate(folder / "corpus.private/key", 0)
            ),
        }.items()
    ),
    *(
        Kind(name=f"{what} costs one video", make=make, right=one_is_named)
        for what, make in {
            "a read error in one video": patched(
                "os.pread", failing(errno.EIO, is_of("/videos/a.mp4"))
            ),
            "a stale handle of one video": patched(
                "os.open", failing(errno.ESTALE, is_of("/videos/a.mp4"))
            ),
            "a video that may not be read": patched(
                "os.open", failing(errno.EACCES, is_of("/videos/a.mp4"))
            ),
            "an ffmpeg that crashes on one video": on_one_video("kill -SEGV $$"),
            "an ffmpeg that is killed for its memory on one video": on_one_video("kill -KILL $$"),
            "an ffmpeg that hangs on one video": on_one_video("exec sleep 60"),
            "an ffmpeg that hangs after some pictures of one video": on_one_video(
                "head -c 40000 /dev/zero; exec sleep 60"
            ),
            "an ffmpeg that floods its log on one video": on_one_video(
                "exec yes '[error] broken' >&2"
            ),
        }.items()
    ),
    Kind(
        name="a folder with a read error is named",
        make=second_folder_fails(errno.EIO),
        right=folder_is_named,
    ),
    Kind(
        name="a folder with a stale handle is named",
        make=second_folder_fails(errno.ESTALE),
        right=folder_is_named,
    ),
]


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


@pytest.fixture(autouse=True)
def set_back() -> Iterator[None]:
    """Undo what a kind changed in this process."""
    find_program.cache_clear()
    encoder_versions.cache_clear()
    yield
    _stack.close()


@pytest.mark.slow
def test_faults_of_the_machine_lose_nothing(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path, in_folder=False)
