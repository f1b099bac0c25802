"""ffmpeg that hangs, takes too much memory or cannot read its file costs one video for now."""

import shutil
from pathlib import Path

import pytest

from surgrec.recordings import BadVideoError, Recording, _ffmpeg, inspect
from tests.support.clocks import record_clock


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(record_clock(tmp_path / "clock.mkv", seconds=2))


def pretend(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ffprobe by a shell script."""
    program = folder / "ffprobe"
    program.write_text(f"#!/bin/sh\n{script.format(real=shutil.which('ffprobe'))}\n")
    program.chmod(0o755)
    monkeypatch.setattr(_ffmpeg, "find_program", lambda name: str(folder / name))


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
    monkeypatch.setattr(_ffmpeg, "STALL_S", 1.0)
    monkeypatch.setattr(_ffmpeg, "COMPLAINT_BYTES", 1_000_000)
    monkeypatch.setattr(_ffmpeg, "OUTPUT_BYTES", 1_000_000)
    pretend(script, tmp_path, monkeypatch)
    with recording, pytest.raises(BadVideoError) as error:
        inspect(recording)
    assert (error.value.reason, error.value.may_pass) == (reason, may_pass)


def test_an_ffmpeg_is_refused_more_memory_than_its_limit(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ffmpeg, "MEMORY_BYTES", 1 << 20)
    with recording, pytest.raises((BadVideoError, _ffmpeg.FfmpegError)):
        inspect(recording)
