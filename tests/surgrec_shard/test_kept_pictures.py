"""With `--encode.fps 0`, every picture of a recording becomes a frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from surgrec_shard.sampling import Sampler, picture_rate

from surgrec.recordings import Picture
from surgrec.recordings._packets import Packets
from surgrec.recordings._timeline import Timeline, VideoClock, make_timeline
from tests.support.clocks import X264, record_clock, stored_of
from tests.support.tool import QUICK, build_folder, read_report, run_here

slow = pytest.mark.slow


def steady(rate: float, seconds: float = 80) -> np.ndarray:
    return np.arange(round(rate * seconds)) / rate


def with_burst(times: np.ndarray, count: int, step_s: float = 0.001) -> np.ndarray:
    """Return times with additional pictures that follow each other closely, once in a minute."""
    bursts = [start + step_s * np.arange(1, count + 1) for start in times[:: len(times) // 6]]
    return np.sort(np.concatenate([times, *bursts]))


def caught_up(times: np.ndarray, stall_s: float) -> np.ndarray:
    """Return times of a recorder that stalls once in a minute, and then catches up."""
    late = np.ceil(times / 60) * 60
    is_stalled = (late - times < stall_s) & (late > times)
    return np.sort(np.where(is_stalled, late + 0.001 * (times - late), times))


RANDOM = np.random.default_rng(0)
JITTER = RANDOM.uniform(-0.012, 0.012, 2_400)
CLOCKS: dict[str, tuple[np.ndarray, float, float]] = {
    # Times of the pictures, the stated average rate, and the highest rate to expect
    **{f"{rate:g}": (steady(rate), rate, rate) for rate in (24, 25, 29.97, 50, 59.94, 60)},
    **{f"{rate:g} in ms": (steady(rate).round(3), rate, rate) for rate in (24, 29.97, 59.94)},
    "stated 24.9": (steady(25), 24.9, 25),
    "stated 23": (steady(25), 23, 25),
    "stated 26.5": (steady(25), 26.5, 25),
    "stated 1000": (steady(25), 1000, 25),
    "25 stated as 24.9 in ms": (steady(25).round(3), 24.9, 25),
    "5, then 25": (np.append(steady(5, 60), 60 + steady(25, 60)), 15, 25),
    "1, then a burst at 30 for half a second": (
        np.append(steady(1, 40), 40 + steady(30, 0.5)),
        1,
        14,
    ),
    "jitter": (np.sort(steady(30) + JITTER), 30, 30),
    "jitter in ms": (np.sort(steady(30) + JITTER).round(3), 30, 30),
    "dropped": (np.delete(steady(25), RANDOM.choice(2_000, 140, replace=False)), 23.25, 25),
    "pairs at one time": (np.repeat(steady(12.5), 2), 25, 25),
    "each tenth twice": (np.sort(np.append(steady(25), steady(2.5))), 27.5, 27.5),
    "bursts of 3": (with_burst(steady(25), 3), 25, 28),
    "bursts of 20": (with_burst(steady(25), 20), 25.3, 46),
    "bursts of 200": (with_burst(steady(25), 200), 28, 226),
    "stalls of 1 s": (caught_up(steady(25), 1.0), 25, 49),
}


def timeline_of(times: np.ndarray, average: float) -> Timeline:
    count = len(times)
    packets = Packets(
        times_s=times,
        order_s=times,
        positions=np.arange(count, dtype=np.int64) * 100,
        sizes=np.full(count, 100, dtype=np.int64),
        are_keys=np.arange(count) % 25 == 0,
    )
    rate = Fraction(average).limit_denominator(1001)
    return make_timeline(packets, average_rate=rate, nominal_rate=rate)


QUICK_CLOCKS = ("25", "29.97", "24 in ms", "stated 23", "5, then 25", "jitter in ms", "dropped") + (
    "pairs at one time",
    "bursts of 3",
    "bursts of 20",
    "stalls of 1 s",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK_CLOCKS else slow) for name in CLOCKS],
)
def test_every_picture_becomes_a_frame_near_its_time(name: str) -> None:
    times, average, highest = CLOCKS[name]
    timeline = timeline_of(times, average)
    assert 0.97 * highest <= timeline.rate <= 1.03 * highest

    clock, sampler = VideoClock(timeline), Sampler(timeline=timeline, rate=timeline.rate)
    pictures = [
        Picture(time_s=clock.time_of(float(time)), data=str(number).encode(), is_trusted=True)
        for number, time in enumerate(times)
    ]
    frames = list(sampler.frames(pictures))
    assert [int(frame.data) for frame in frames] == list(range(len(times)))
    assert not sampler.missing
    firsts = np.array([frame.first for frame in frames]) / float(timeline.rate)
    late_s = np.abs(firsts - (times - times[0]))
    assert late_s.max() < (1.0 if "burst" in name or "stall" in name else 0.15)
    # Frames catch up behind a burst, which is some seconds before this picture.
    assert late_s[times <= 75][-1] < 2.5 / average or "then a burst" in name


@pytest.mark.parametrize("step_s", [1e-5, 0.004])
def test_a_burst_of_nearly_equal_times_has_a_usable_rate(step_s: float) -> None:
    times = np.concatenate([steady(25, 8), 8 + step_s * np.arange(20), 8.04 + steady(25, 8)])
    timeline = timeline_of(times, 25)
    assert 40 < timeline.rate < 60
    frames = Sampler(timeline=timeline, rate=timeline.rate).frames(
        Picture(time_s=float(time), data=b"", is_trusted=True) for time in times
    )
    late_s = np.array([float(frame.first / timeline.rate) for frame in frames]) - times
    assert len(late_s) == len(times)
    assert np.abs(late_s[times > 10]).max() < 0.05


def test_a_clock_that_runs_wild_has_a_rate_of_1000() -> None:
    times = np.append(steady(25, 20), 20 + np.arange(3000) * 1e-5)
    timeline = timeline_of(times, 25)
    assert timeline.rate == 1000
    assert timeline.burst_rate == pytest.approx(1e5, rel=0.3)


@slow
@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".mp4", ".ts", ".avi"])
@pytest.mark.parametrize("rate", [24, 29.97, 50, 59.94])
def test_every_picture_of_a_file_is_kept(suffix: str, rate: float, tmp_path: Path) -> None:
    stored = stored_of(record_clock(tmp_path / f"a{suffix}", seconds=6, rate=rate), 0)
    assert stored.facts.fps == pytest.approx(rate, rel=0.02)
    assert stored.pictures == pytest.approx(6 * rate, abs=1)
    assert stored.largest_error_s < 0.1


def test_a_build_keeps_the_pictures_of_a_burst_and_tells_it(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    burst = "if(between(N,50,59),2+(N-50)/1000,if(gte(N,60),N-9,N)/25)/TB"
    video = record_clock(
        tmp_path / "videos" / "burst.mkv",
        seconds=4,
        filters=f",settb=1/1000,setpts='{burst}'",
        arguments=(*X264, "-bf", "0", "-enc_time_base", "1/1000", "-vsync", "passthrough"),
    )
    assert stored_of(video, 0).pictures == 100
    corpus = tmp_path / "corpus"
    run = run_here(*build_folder(tmp_path / "videos"), "--out", corpus, *QUICK, "--encode.fps", "0")
    assert run.returncode == 0, run.stderr
    row = read_report(tmp_path / "corpus.private")["burst.mkv"]
    assert "pictures per second: the rate is" in row["notes"]


@pytest.mark.parametrize("filters", ["", ",setpts=PTS+7.013/TB"])
def test_frames_of_a_steady_recording_show_the_nearest_picture(
    filters: str, tmp_path: Path
) -> None:
    video = record_clock(tmp_path / "a.mkv", seconds=4, filters=filters)
    stored = stored_of(video, 7.0)
    assert stored.facts.timeline.is_steady
    assert stored.pictures == len(stored.late_s) == 28
    # Pictures are 0.04 s apart, and the clock shows 1/100 s.
    assert stored.largest_error_s <= 0.021


def test_frames_of_an_unsteady_recording_show_the_nearer_of_two_pictures(tmp_path: Path) -> None:
    # At 11 pictures per second, the lead of the mean rate would pass over nearer pictures.
    slower = "setpts='if(lt(N,50),N/25,2+(N-50)/11)/TB'"
    video = record_clock(
        tmp_path / "a.mkv",
        seconds=4,
        before=f"settb=1/1000,{slower},",
        arguments=(*X264, "-enc_time_base", "1/1000", "-vsync", "passthrough"),
    )
    stored = stored_of(video, 7.0)
    assert not stored.facts.timeline.is_steady
    assert stored.largest_error_s <= 0.04


def test_a_low_rate_reads_two_pictures_per_frame_of_a_steady_recording() -> None:
    timeline = timeline_of(steady(25), 25)
    assert timeline.is_steady
    assert picture_rate(timeline, Fraction(6)) == 6
    assert picture_rate(timeline, Fraction(5)) == 10
    assert picture_rate(timeline_of(steady(25)[[0, *range(2, 100)]], 25), Fraction(6)) == 12
