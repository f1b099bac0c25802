"""What is stored of a recording shows its own time, and what is missing is told."""

import struct
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import BadVideoError, Recording, inspect
from tests.support.clocks import CODECS, MPEG2, X264, overwrite, record_clock, stored_of
from tests.support.tool import ffmpeg

LATE_S = 0.15
SOUND = ("-f", "lavfi", "-t", "12", "-i", "sine=r=48000")
slow = pytest.mark.slow


def mostly_slow(*values: object) -> list[object]:
    """Return parameters of a test: the first one is quick to run, the others are marked slow."""
    first, *others = values
    return [first, *(pytest.param(*_tuple(value), marks=slow) for value in others)]


def _tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def assert_whole(path: Path, seconds: float, fps: float = 8.0) -> None:
    stored = stored_of(path, fps)
    assert stored.seconds == pytest.approx(seconds, abs=0.15)
    assert stored.largest_error_s < LATE_S
    assert not stored.missing
    assert not stored.facts.is_cut


@pytest.mark.parametrize("suffix", mostly_slow(".mkv", ".webm"))
def test_a_clock_that_begins_late_is_no_missing_picture(suffix: str, tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / f"late{suffix}", seconds=6, arguments=("-output_ts_offset", "100")
    )
    assert_whole(video, 6)


def test_a_duration_tag_is_free_text(tmp_path: Path) -> None:
    video = record_clock(tmp_path / "tag.mkv", seconds=6)
    data = video.read_bytes()
    assert b"00:00:06.000000000" in data
    for number, text in enumerate((b"6", b"a:b:c")):
        tagged = tmp_path / f"{number}.mkv"
        tagged.write_bytes(data.replace(b"00:00:06.000000000", text.ljust(18, b"\0")))
        assert_whole(tagged, 6)


@pytest.mark.parametrize("suffix", mostly_slow(".flv", ".ts", ".mpg", ".wmv"))
def test_sound_that_outlasts_the_picture_makes_nothing_truncated(
    suffix: str, tmp_path: Path
) -> None:
    video = record_clock(
        tmp_path / f"long{suffix}",
        seconds=4,
        inputs=SOUND,
        arguments=("-map", "0", "-map", "1", "-ar", "44100"),
    )
    assert_whole(video, 4)


@slow
def test_sound_that_starts_first_does_not_move_the_picture(tmp_path: Path) -> None:
    silent = record_clock(tmp_path / "silent.ts", seconds=4)
    video = tmp_path / "sound.ts"
    ffmpeg(*SOUND, "-itsoffset", 5, "-i", silent, "-map", 1, "-map", 0, "-c:v", "copy", video)
    assert_whole(video, 4)


@pytest.mark.parametrize(
    ("suffix", "offset"),
    mostly_slow((".ts", "1000"), (".ts", "0"), (".mpg", "1000"), (".mkv", "0")),
)
def test_joined_recordings_run_on_and_the_jump_is_told(
    suffix: str, offset: str, tmp_path: Path
) -> None:
    first = record_clock(tmp_path / f"a{suffix}", seconds=6, arguments=("-output_ts_offset", "500"))
    second = record_clock(
        tmp_path / f"b{suffix}", seconds=6, start_s=6, arguments=("-output_ts_offset", offset)
    )
    both = joined(tmp_path / f"both{suffix}", first, second)
    if suffix == ".mkv":  # a second header inside a file is a damaged place
        assert_whole(both, 12)
        return
    assert_whole(both, 12)
    with Recording(both) as recording:
        assert any("jumps at 6.0" in note for note in inspect(recording).notes)


@pytest.mark.parametrize(
    ("suffix", "seed"),
    mostly_slow(
        (".avi", None),
        *((suffix, None) for suffix in (".mkv", ".mp4", ".ts", ".mpg", ".flv")),
        *((suffix, 1) for suffix in (".mkv", ".mp4", ".avi", ".ts", ".mpg", ".flv")),
    ),
)
def test_a_damaged_middle_costs_its_own_stretch(
    suffix: str, seed: int | None, tmp_path: Path
) -> None:
    video = overwrite(record_clock(tmp_path / f"hole{suffix}", seconds=24), seed=seed)
    stored = stored_of(video)
    wrong = int((np.abs(stored.late_s) > 1).sum())
    assert wrong == 0, f"{wrong} frames show another time"
    assert stored.end_s == pytest.approx(24, abs=0.3)
    (missing,) = stored.missing
    assert stored.seconds + missing.end_s - missing.start_s == pytest.approx(24, abs=0.3)
    assert 5 < missing.end_s - missing.start_s < 15


def test_frames_behind_damage_wait_for_a_picture_that_needs_no_other(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "long.mp4",
        seconds=24,
        arguments=("-c:v", "libx264", "-g", "150", "-bf", "2", "-sc_threshold", "0"),
    )
    stored = stored_of(overwrite(video, start=0.4, end=0.6))
    assert stored.largest_error_s < LATE_S
    # The picture at 18 s is damaged too, and the video has no later one.
    assert [missing.end_s for missing in stored.missing] == [24.0]


@slow
def test_a_transport_stream_is_read_behind_any_number_of_bad_bytes(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "long.ts", seconds=12, size="256x128", filters=",noise=alls=40:allf=t"
    )
    assert video.stat().st_size > 1_000_000
    stored = stored_of(overwrite(video))
    assert stored.end_s == pytest.approx(12, abs=0.3)
    assert [missing.reason for missing in stored.missing] == ["gap"]


@pytest.mark.parametrize("suffix", mostly_slow(".mkv", ".flv", ".avi", ".wmv", ".webm", ".mp4"))
def test_a_copy_that_ends_early_is_cut(suffix: str, tmp_path: Path) -> None:
    whole = record_clock(
        tmp_path / f"whole{suffix}",
        seconds=12,
        arguments=("-movflags", "faststart") if suffix == ".mp4" else (),
    )
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    for path, is_cut in ((whole, False), (cut, True)):
        with Recording(path) as recording:
            assert inspect(recording).is_cut == is_cut


def test_time_zero_is_the_streams_start_where_its_first_pictures_are_lost(tmp_path: Path) -> None:
    whole = record_clock(
        tmp_path / "whole.ts",
        seconds=12,
        arguments=("-c:v", "libx264", "-g", "100", "-bf", "0", "-sc_threshold", "0"),
    )
    # The copy begins between two pictures with which a decoder could begin.
    data, packet = whole.read_bytes(), 188
    begin = len(data) // packet * 2 // 12 * packet
    tables = b"".join(data[at : at + packet] for at in range(0, packet * 3, packet))
    video = tmp_path / "middle.ts"
    video.write_bytes(tables + data[begin:])
    stored = stored_of(video)
    (missing,) = stored.missing
    assert missing.start_s == 0
    assert missing.reason == "damaged"
    # The first stored picture is that of 4 s; the stream begins at about 2 s.
    assert missing.end_s == pytest.approx(2, abs=0.3)
    offsets = stored.late_s
    assert np.ptp(offsets) < LATE_S
    assert offsets.mean() + missing.end_s == pytest.approx(4, abs=0.15)


def test_a_variable_rate_is_stored_at_its_highest(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "capsule.mp4",
        seconds=16,
        before="select='gte(t,12)+not(mod(n,25))',",
        arguments=(*X264, "-bf", "0", "-vsync", "vfr"),
    )
    every, eight = stored_of(video, 0), stored_of(video, 8)
    assert every.facts.timeline.rate == 25
    assert every.pictures == 12 + 100
    assert eight.pictures == 12 + 32


@slow
def test_every_picture_is_kept_at_jittering_times(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "jitter.mkv",
        seconds=8,
        rate=30,
        filters=",settb=1/1000,setpts='PTS+mod(N*7919,23)-11*gt(N,0)'",
        arguments=(*X264, "-bf", "0", "-enc_time_base", "1/1000", "-vsync", "passthrough"),
    )
    stored = stored_of(video, 0)
    assert stored.facts.fps == pytest.approx(30, rel=0.05)
    assert stored.pictures == 240


def test_of_several_streams_the_largest_is_taken_and_told(tmp_path: Path) -> None:
    real = record_clock(tmp_path / "real.mp4", seconds=4)
    video = tmp_path / "preview.mkv"
    preview = ("-f", "lavfi", "-t", 4, "-i", "color=red:size=64x64:rate=1")
    ffmpeg(*preview, "-i", real, "-map", 0, "-map", 1, "-c:v:0", "mjpeg", "-c:v:1", "copy", video)
    assert_whole(video, 4)
    with Recording(video) as recording:
        facts = inspect(recording)
    assert facts.parts[0].stream == 1
    assert facts.notes == ("2 video streams (64 x 64, 128 x 64): number 2 is taken",)


SLIDES = ("-f", "lavfi", "-t", 6, "-i", "color=red:size=400x400:rate=1/2")
PART = ("-f", "lavfi", "-t", 1, "-i", "color=red:size=128x64:rate=25")
LARGE_PART = ("-f", "lavfi", "-t", 4, "-i", "color=red:size=256x128:rate=25")


@pytest.mark.parametrize(
    ("other", "suffix", "taken"),
    [
        (SLIDES, ".mkv", 1),
        (PART, ".mp4", 1),
        (PART, ".ts", 1),
        (LARGE_PART, ".mp4", 0),
    ],
    ids=["slides", "part", "part_ts", "large_part"],
)
def test_a_stream_that_lasts_and_moves_is_taken(
    other: tuple[object, ...], suffix: str, taken: int, tmp_path: Path
) -> None:
    real = record_clock(tmp_path / f"real{suffix}", seconds=6)
    video = tmp_path / f"both{suffix}"
    maps = ("-map", 0, "-map", 1, "-c:v:0", "libx264", "-preset", "ultrafast", "-c:v:1", "copy")
    ffmpeg(*other, "-i", real, *maps, "-bf", 0, video)
    with Recording(video) as recording:
        assert inspect(recording).parts[0].stream == taken


@pytest.mark.parametrize("suffix", mostly_slow(".ts", ".mpg"))
def test_a_change_of_size_in_interlaced_video_loses_nothing(suffix: str, tmp_path: Path) -> None:
    interlaced = (*MPEG2, "-flags", "+ilme+ildct", "-top", "1")
    first = record_clock(tmp_path / f"a{suffix}", seconds=4, arguments=interlaced)
    second = record_clock(
        tmp_path / f"b{suffix}", seconds=4, start_s=4, size="256x128", arguments=interlaced
    )
    assert_whole(joined(tmp_path / f"both{suffix}", first, second), 8)


def test_a_jump_of_29_hours_stores_no_frame_for_it(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "jumps.mkv",
        seconds=6,
        filters=",setpts='PTS+floor(T)*104400/TB'",
        arguments=(*X264, "-bf", "0", "-vsync", "passthrough"),
    )
    stored = stored_of(video)
    assert stored.seconds == pytest.approx(6, abs=1)
    assert stored.end_s == pytest.approx(6, abs=0.5)


@slow
def test_a_file_without_pictures_is_no_video(tmp_path: Path) -> None:
    video = record_clock(tmp_path / "clock.mp4", seconds=2)
    data = bytearray(video.read_bytes())
    at = data.index(b"stts") + 8
    data[at : at + 4] = struct.pack(">I", 0)
    video.write_bytes(data)
    with Recording(video) as recording, pytest.raises(BadVideoError):
        inspect(recording)


@slow
@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_each_container_gives_every_picture_its_time(suffix: str, tmp_path: Path) -> None:
    assert_whole(record_clock(tmp_path / f"clock{suffix}", seconds=6), 6)
