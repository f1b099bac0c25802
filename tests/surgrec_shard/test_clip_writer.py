"""An encoding ffmpeg has the limits of a reading one: each costs one video, for a named reason."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from surgrec_shard.clip_writer import ClipWriter, FrameFormat

from surgrec.recordings import BadVideoError, process

ENCODING = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]


def encode(folder: Path, *, side: int = 64, pictures: int = 16) -> None:
    """Write pictures of noise."""
    frames = FrameFormat(width=side, height=side, rate=Fraction(8), colors=())
    data = np.random.default_rng(0).bytes(side * side * 3 // 2)
    folder.mkdir()
    with ClipWriter(
        folder, frames, ENCODING, clip_s=1.0, min_clip_s=0.5, first_frame=0, first_clip=0
    ) as writer:
        for _ in range(pictures):
            writer.write(data, 1)
        assert sum(clip.num_frames for clip in writer.close()) == pictures


def pretend(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ffmpeg by a shell script."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(process, "find_program", lambda name: str(program))


@pytest.mark.parametrize(
    ("limit", "value", "side", "reason", "may_pass"),
    [
        ("MEMORY_BYTES", 600 << 20, 8192, "out_of_memory", True),
        ("FILE_BYTES", 20_000, 128, "absurd", False),
    ],
)
def test_an_encoder_is_held_to_its_limits(
    limit: str,
    value: int,
    side: int,
    reason: str,
    may_pass: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode(tmp_path / "without")
    monkeypatch.setattr(process, limit, value)
    with pytest.raises(BadVideoError) as error:
        encode(tmp_path / "with", side=side)
    assert (error.value.reason, error.value.may_pass) == (reason, may_pass)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec sleep 30", "stalled"),
        ("cat > /dev/null; exec sleep 30", "stalled"),
        ("exec yes '[error] broken' >&2", "absurd"),
    ],
)
def test_an_encoder_that_does_not_work_ends(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STALL_S", 2.0)
    monkeypatch.setattr(process, "COMPLAINT_BYTES", 10_000)
    pretend(script, tmp_path, monkeypatch)
    with pytest.raises(BadVideoError) as error:
        encode(tmp_path / "clips")
    assert error.value.reason == reason
