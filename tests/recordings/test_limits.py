"""ffmpeg that hangs, takes too much memory or cannot read its file costs one video for now."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.errors import MachineError, SetupError
from surgrec.recordings import (
    BadVideoError,
    PictureReader,
    Recording,
    _ffmpeg,
    inspect,
    process,
)
from tests.support.clocks import record_clock


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(record_clock(tmp_path / "clock.mkv", seconds=2))


def pretend(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ffprobe by a shell script."""
    program = folder / "ffprobe"
    program.write_text(f"#!/bin/sh\n{script.format(real=shutil.which('ffprobe'))}\n")
    program.chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name: str(folder / name))


@pytest.mark.parametrize(
    ("script", "reason", "may_pass"),
    [
        ("exec sleep 30", "stalled", True),
        ("kill -KILL $$", "out_of_memory", True),
        ("echo '[error] Cannot allocate memory' >&2; exit 1", "out_of_memory", True),
        ("{real} $@; echo '[error] file: Input/output error' >&2", "read_error", True),
        ("{real} $@; echo '[error] file: Stale file handle' >&2", "read_error", True),
        ("exec yes '[error] broken' >&2", "absurd", False),
        ("exec yes 'packet|stream_index=0|pts=0|dts=0|size=1|pos=1|flags=K_'", "absurd", False),
    ],
)
def test_limits_of_an_ffmpeg_cost_one_video(
    script: str,
    reason: str,
    may_pass: bool,
    recording: Recording,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "STALL_S", 3.0)
    monkeypatch.setattr(process, "COMPLAINT_BYTES", 100_000)
    monkeypatch.setattr(_ffmpeg, "OUTPUT_BYTES", 1_000_000)
    pretend(script, tmp_path, monkeypatch)
    with recording, pytest.raises(BadVideoError) as error:
        inspect(recording)
    assert (error.value.reason, error.value.may_pass) == (reason, may_pass)


def test_an_ffmpeg_is_refused_more_memory_than_its_limit(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The limit comes just after the start: on a busy machine a short run could end before.
    pretend("sleep 0.5; exec {real} $@", tmp_path, monkeypatch)
    monkeypatch.setattr(process, "MEMORY_BYTES", 64 << 20)
    with recording, pytest.raises(BadVideoError) as error:
        inspect(recording)
    assert (error.value.reason, error.value.may_pass) == ("out_of_memory", True)


def test_a_smaller_limit_of_the_user_holds_for_an_ffmpeg(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend("sleep 1; ulimit -v", tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # A process of its own: that of the tests may be larger than the limit.
    code = (
        "import pathlib, resource, sys\n"
        "from surgrec.recordings import Recording, run_ffprobe\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({3 << 30}, {3 << 30}))\n"
        "with Recording(pathlib.Path(sys.argv[1])) as recording:\n"
        "    print(run_ffprobe(recording, []), end='')\n"
    )
    command = [sys.executable, "-c", code, str(recording.path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout == f"{3 << 20}\n", run.stderr


def test_an_ffmpeg_that_cannot_be_run_is_told_as_such(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ffprobe").write_bytes(b"\0 no program")
    (tmp_path / "ffprobe").chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name: str(tmp_path / name))
    with recording, pytest.raises(SetupError, match=r"cannot be started \(Exec format error\)"):
        inspect(recording)


def test_a_lack_of_libraries_is_no_fault_of_a_video(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "echo 'ffprobe: error while loading shared libraries: libx.so: no such file' >&2"
    pretend(f"{missing}; exit 127", tmp_path, monkeypatch)
    with recording, pytest.raises(SetupError, match=r"cannot be started \(.*libx\.so"):
        inspect(recording)


@pytest.mark.parametrize("spare", range(7))
def test_a_lack_of_open_files_is_no_fault_of_a_video(recording: Recording, spare: int) -> None:
    with recording:
        facts = inspect(recording)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir("/proc/self/fd")))
        taken = [os.dup(0) for _ in range(highest)]  # no gaps below
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, hard))
        try:
            with pytest.raises(MachineError, match="ran out of memory, processes or open files"):
                next(iter(PictureReader(recording, facts, size=(64, 64))))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
