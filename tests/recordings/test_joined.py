"""Complete recordings one behind the other in a file: all are read, and times run on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from surgrec.recordings import Recording
from tests.support.clocks import CODECS, X264, frames_at, record_clock, remove, stored_of
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report, run_here

FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
RECORDINGS = {
    **{suffix: (suffix, ()) for suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv")},
    **{suffix: (suffix, ()) for suffix in (".wmv", ".mxf", ".3gp", ".ts", ".mpg")},
    "fragmented.mp4": (".mp4", FRAGMENTED),
    "live.mkv": (".mkv", ("-live", "1")),
}
"""Suffix of each kind of recording, and options of ffmpeg."""
CHEAP = (".mp4",)
FIRST_S, SECOND_S = 5.0, 4.0
LATE_S = 0.15
JOINED = "another recording was joined to the file at {:.2f} s: times run on"


def part(folder: Path, name: str, start_s: float, seconds: float, size: str = "64x64") -> bytes:
    suffix, options = RECORDINGS[name]
    path = folder / f"part{suffix}"
    codec = (*CODECS[suffix], *options)
    return record_clock(
        path, seconds=seconds, start_s=start_s, size=size, arguments=codec
    ).read_bytes()


def mostly_slow(*names: str) -> list[object]:
    return [name if name in CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", mostly_slow(*RECORDINGS))
def test_joined_recordings_are_read_as_one_video(name: str, tmp_path: Path) -> None:
    video = tmp_path / f"joined{RECORDINGS[name][0]}"
    video.write_bytes(
        part(tmp_path, name, 0, FIRST_S) + part(tmp_path, name, FIRST_S, SECOND_S, size="128x128")
    )
    stored = stored_of(video)
    assert stored.largest_error_s < LATE_S
    assert stored.seconds == pytest.approx(FIRST_S + SECOND_S, abs=0.15)
    assert not stored.missing
    assert [join.at_s for join in stored.facts.timeline.joins] == [pytest.approx(FIRST_S, abs=0.1)]
    assert "times run on" in " ".join(stored.facts.notes)

    times = np.arange(0.1, FIRST_S + SECOND_S - 0.1, 0.5)
    assert np.abs(np.array(frames_at(video, times)) - times).max() < LATE_S


def test_a_file_that_is_cut_in_any_header_has_one_beginning(tmp_path: Path) -> None:
    for suffix, mark in ((".mxf", b"\x06\x0e\x2b\x34"), (".flv", b"\x09\0"), (".avi", b"00dc")):
        whole = part(tmp_path, suffix, 0, 2)
        last = whole.rindex(mark)
        for end in range(last + 1, min(last + 24, len(whole))):
            (tmp_path / f"cut{suffix}").write_bytes(whole[:end])
            with Recording(tmp_path / f"cut{suffix}") as recording:
                assert recording.beginnings() == [0]


def test_recordings_of_several_containers_are_read_as_one_video(tmp_path: Path) -> None:
    names = (".flv", ".mp4", ".mkv", ".flv")
    video = tmp_path / "joined.flv"
    parts = [part(tmp_path, name, 3 * number, 3) for number, name in enumerate(names)]
    video.write_bytes(b"".join(parts))
    stored = stored_of(video)
    assert stored.largest_error_s < LATE_S
    assert stored.seconds == pytest.approx(12, abs=0.15)
    assert stored.facts.notes == tuple(JOINED.format(at_s) for at_s in (3, 6, 9))


def test_a_clock_that_goes_on_over_a_join_keeps_its_gap(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    ffmpeg("-i", record_clock(tmp_path / "c.mkv", seconds=4), "-c", "copy", first)
    later = record_clock(tmp_path / "d.mkv", seconds=4, start_s=7)
    ffmpeg("-i", later, "-c", "copy", "-output_ts_offset", "7", second)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    stored = stored_of(first)
    assert stored.largest_error_s < LATE_S
    assert [(gap.start_s, gap.end_s) for gap in stored.missing] == [(4.125, 7.0)]


def crashed_avi(path: Path) -> bytes:
    data = path.read_bytes()
    return data[:4] + bytes(4) + data[8 : int(len(data) * 0.66)]


@pytest.mark.parametrize(
    ("name", "damage", "lost_s"),
    [
        (".avi", crashed_avi, 2),
        pytest.param(".flv", lambda path: path.read_bytes()[:-3000], 3, marks=pytest.mark.slow),
        pytest.param(
            ".mkv",
            lambda path: remove(path, start=0.4, end=0.6).read_bytes(),
            3,
            marks=pytest.mark.slow,
        ),
        ("fragmented.mp4", lambda path: remove(path, start=0.4, end=0.6).read_bytes(), 3),
    ],
)
def test_a_recording_behind_a_damaged_one_is_read(
    name: str, damage: Callable[[Path], bytes], lost_s: float, tmp_path: Path
) -> None:
    suffix = RECORDINGS[name][0]
    first, video = tmp_path / f"first{suffix}", tmp_path / f"joined{suffix}"
    first.write_bytes(part(tmp_path, name, 0, FIRST_S))
    video.write_bytes(damage(first) + part(tmp_path, name, FIRST_S, SECOND_S))
    stored = stored_of(video)
    assert stored.seconds > FIRST_S + SECOND_S - lost_s
    assert len(stored.facts.parts) == 2
    assert stored.missing or stored.facts.unread or stored.complaints

    # Times of the second one run on from what is known of the first one.
    begins_s = stored.facts.starts_s[1]
    frames = stored.late_s[-int(8 * (SECOND_S - 0.5)) :]
    assert np.abs(frames - (FIRST_S - begins_s)).max() < LATE_S


def test_a_joined_part_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    whole = part(tmp_path, ".mp4", 0, FIRST_S)
    (videos / "a.mp4").write_bytes(whole + part(tmp_path, ".mp4", 0, 4)[:3000])
    built = run_here(*build_folder(videos), *QUICK, "--out", tmp_path / "corpus")
    assert built.returncode == 3
    notes = read_report(tmp_path / "corpus.private")["a.mp4"]["notes"]
    assert f"another recording, from byte {len(whole)} of the file on, cannot be used" in notes
    rows = pq.read_table(tmp_path / "corpus" / "lap" / "dropped.parquet").to_pylist()
    assert [row["reason"] for row in rows] == ["unread_end"]


def test_a_recording_inside_another_one_begins_no_new_one(tmp_path: Path) -> None:
    inner = tmp_path / "inner.mkv"
    inner.write_bytes(part(tmp_path, ".mkv", 0, 4))
    attached = ("-attach", inner, "-metadata:s:t", "mimetype=video/x-matroska")
    video = record_clock(tmp_path / "a.mkv", seconds=4, arguments=(*X264, *map(str, attached)))
    stored = stored_of(video)
    assert len(stored.facts.parts) == 1
    assert not stored.facts.notes


def test_the_last_recording_of_a_file_tells_whether_the_file_is_cut(tmp_path: Path) -> None:
    video = tmp_path / "a.flv"
    parts = part(tmp_path, ".flv", 0, FIRST_S), part(tmp_path, ".flv", FIRST_S, 8)
    video.write_bytes(parts[0] + parts[1][: len(parts[1]) // 2])
    facts = stored_of(video).facts
    assert facts.is_cut
    assert facts.stated_s == pytest.approx(FIRST_S + 8, abs=0.1)
    assert facts.unread[0].startswith("in recording 2, which begins at 5.00 s: data is missing")
