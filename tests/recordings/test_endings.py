"""The end of a recording: a missing one is told, and so is a part that is not read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from surgrec.recordings import Recording, inspect
from tests.support.clocks import record_clock, stored_of
from tests.support.tool import ffmpeg, run_here

FLV_DURATION = b"\x00\x08duration\x00"
QUICK = ("--encode.short_side_px", "64", "--encode.preset", "ultrafast", "--workers", "1")


def crashed_avi(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(4) + data[8 : int(len(data) * 0.66)])
    return path


def crashed_flv(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(FLV_DURATION) + len(FLV_DURATION)
    data[at : at + 8] = bytes(8)
    path.write_bytes(data[: int(len(data) * 0.66)])
    return path


def without_types(path: Path) -> Path:
    """Join two recordings as old QuickTime files, whose beginnings look like their middles."""
    path.write_bytes(path.read_bytes().replace(b"ftyp", b"free") * 2)
    return path


@pytest.mark.parametrize(
    ("suffix", "change", "note"),
    [
        (".avi", crashed_avi, "the recorder did not finish the file"),
        (".flv", crashed_flv, "the recorder did not finish the file"),
        (".mp4", without_types, "only the first is read"),
    ],
)
def test_what_can_be_read_is_packed_and_an_unread_end_is_told(
    suffix: str, change: Callable[[Path], Path], note: str, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    video = record_clock(tmp_path / "videos" / f"a{suffix}", seconds=8, size="64x64")
    stored = stored_of(change(video))
    assert np.abs(stored.late_s).max() < 0.15
    assert stored.seconds > 4.5

    words = ("--source", "s", "--domain", "laparoscopy", "--out", tmp_path / "corpus")
    built = run_here("build", "--videos", tmp_path / "videos", *words, *QUICK)
    assert built.returncode == 3
    assert note in " ".join(built.stderr.split())
    rows = pq.read_table(tmp_path / "corpus" / "s" / "dropped.parquet").to_pylist()
    end_s = max(row["end_s"] for row in rows)
    assert end_s == pytest.approx(stored.end_s, abs=0.2)
    assert [row["start_s"] for row in rows if row["reason"] == "unread_end"] == [end_s]


@pytest.mark.parametrize("codec", ["msmpeg4", "wmv1", "wmv2"])
def test_nothing_is_missing_behind_the_last_block_of_a_whole_wmv(
    codec: str, tmp_path: Path
) -> None:
    source = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=2")
    whole = tmp_path / "a.wmv"
    ffmpeg(*source, "-c:v", codec, "-q:v", 5, whole)
    with Recording(whole) as recording:
        assert inspect(recording).unread == ()

    # Bytes that follow the index are no part of it.
    whole.write_bytes(whole.read_bytes() + bytes(range(1, 256)) * 100)
    with Recording(whole) as recording:
        assert "MB of the file" in inspect(recording).unread[0]


def test_nothing_is_missing_where_the_sound_or_the_clock_goes_on(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-t", "12", "-i", "sine")
    longer = record_clock(
        tmp_path / "sound.mkv", seconds=6, size="64x64", inputs=sound, arguments=("-c:a", "aac")
    )
    first = record_clock(tmp_path / "first.ts", seconds=4, size="64x64")
    behind = tmp_path / "behind.ts"
    ffmpeg("-i", first, "-c", "copy", "-output_ts_offset", "60000", behind)
    first.write_bytes(first.read_bytes() + behind.read_bytes() + first.read_bytes())
    for video in (longer, first):
        facts = stored_of(video).facts
        assert not facts.unread
        assert not [note for note in facts.notes if "missing" in note]
