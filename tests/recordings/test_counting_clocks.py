"""Containers without timestamps, whose clock counts pictures: AVI, MXF and raw streams."""

from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings._trust import PictureJudge
from tests.support.clocks import overwrite, record_clock, remove, stored_of

FEW = "select='not(eq(mod(n,5),3))',"
HOLE = "select='not(between(t,8,11))',"
BOTH = "select='not(between(t,8,11))*not(eq(mod(n,5),3))',"


def dropping(folder: Path, dropped: str, codec: str) -> Path:
    """Record 20 s as capture cards do: AVI lists dropped pictures, and stores empty packets."""
    return record_clock(
        folder / "clock.avi",
        seconds=20,
        size="64x64",
        before=dropped,
        filters=",noise=alls=6:allf=t",
        arguments=("-fps_mode", "vfr", "-c:v", codec, "-g", "12", "-q:v", "4"),
    )


@pytest.mark.parametrize(
    ("dropped", "codec", "missing_s"),
    [(FEW, "mpeg4", 0.0), (HOLE, "mpeg4", 3.0), (BOTH, "mjpeg", 3.0)],
)
def test_pictures_that_an_avi_recorder_dropped_keep_their_time(
    dropped: str, codec: str, missing_s: float, tmp_path: Path
) -> None:
    stored = stored_of(dropping(tmp_path, dropped, codec))
    assert stored.facts.duration_s == pytest.approx(20, abs=0.1)
    assert np.abs(stored.late_s).max() < 0.15
    lost_s = sum(missing.end_s - missing.start_s for missing in stored.missing)
    assert lost_s == pytest.approx(missing_s, abs=0.3)


@pytest.mark.parametrize("dropped", [FEW, HOLE])
def test_bytes_removed_from_an_avi_with_dropped_pictures_cost_their_stretch(
    dropped: str, tmp_path: Path
) -> None:
    stored = stored_of(remove(dropping(tmp_path, dropped, "mpeg4"), start=0.6, end=0.75))
    assert stored.facts.duration_s == pytest.approx(20, abs=0.3)
    assert stored.late_s.max() < 0.15
    assert stored.late_s.min() > -1.05


def test_behind_damage_in_a_raw_stream_no_picture_gets_a_time(tmp_path: Path) -> None:
    whole = record_clock(
        tmp_path / "clock.h264",
        seconds=12,
        size="64x64",
        filters=",noise=alls=8:allf=t",
        arguments=("-c:v", "libx264", "-preset", "ultrafast", "-g", "25"),
    )
    # The decoder tells of damage.
    timeline = stored_of(whole).facts.timeline
    judge = PictureJudge(timeline)
    trusted = [judge.trusts(time_s, time_s == 4.0) for time_s in timeline.pictures_s.tolist()]
    assert trusted == [True] * 100 + [False] * 200

    # Zeros between two pictures damage none of them.
    stored = stored_of(overwrite(whole, start=0.4, end=0.6))
    assert np.abs(stored.late_s).max() < 0.15
    assert 3 < stored.seconds < 5.5
    (missing,) = stored.missing
    assert missing.start_s == pytest.approx(stored.seconds, abs=0.1)
    assert missing.end_s == pytest.approx(stored.facts.duration_s, abs=0.1)
