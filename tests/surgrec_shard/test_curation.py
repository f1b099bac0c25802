"""Curation drops black, white, constant, frozen and blurred stretches, each with its reason."""

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.curation import CurateSettings, Curation, Curator
from surgrec_shard.curation import _frame_queue as frame_queue
from surgrec_shard.sampling import Frames

from surgrec.errors import ConfigError
from tests.support.tool import (
    QUICK,
    build_folder,
    digests,
    ffmpeg,
    read_report,
    refusal,
    run_here,
    write_csv,
)

ALL = ("black", "white", "constant", "frozen", "blurred")
EVERYTHING = tuple(word for reason in ALL for word in (f"--curate.{reason}", "true"))
WIDTH, HEIGHT, RATE = 64, 48, 8
FORMAT = FrameFormat(width=WIDTH, height=HEIGHT, rate=Fraction(RATE), colors=())
STRETCHES = {
    "black": (4, 8),
    "frozen": (12, 16),
    "constant": (16, 19),
    "blurred": (23, 27),
    "white": (27, 30),
}
"""Seconds of `make_mixed`."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mixed(tmp_path_factory.mktemp("videos") / "mixed.mp4")


def test_stretches_are_dropped_with_their_reason_and_second(mixed: Path, tmp_path: Path) -> None:
    run = build(mixed, tmp_path, *EVERYTHING)
    assert run.returncode == 0, run.stderr
    assert dropped(tmp_path) == [(start, end, reason) for reason, (start, end) in STRETCHES.items()]
    clips = clip_times(tmp_path)
    assert [start for start, _ in clips] == [0, 2, 8, 10, 19, 21]
    assert all(length == 2.0 for _, length in clips)
    assert read_report(tmp_path / "private")["mixed.mp4"]["status"] == "packed"


def test_nothing_is_dropped_by_default(mixed: Path, tmp_path: Path) -> None:
    assert build(mixed, tmp_path).returncode == 0
    assert dropped(tmp_path) == []
    assert sum(length for _, length in clip_times(tmp_path)) == pytest.approx(30)


def test_each_clip_tells_its_blur_brightness_and_motion(mixed: Path, tmp_path: Path) -> None:
    assert build(mixed, tmp_path).returncode == 0
    measured = measures(tmp_path)
    assert measured[4]["brightness"] == measured[6]["brightness"] == 0.0
    assert measured[28]["brightness"] == 1.0
    assert measured[14]["motion"] < 0.001 < 0.01 < measured[0]["motion"]
    assert measured[0]["blur"] < 0.65 <= measured[24]["blur"]
    assert 0.2 < measured[0]["brightness"] < 0.9

    # Another license packs the stored clips again, with the measures of the first build.
    again = build(mixed, tmp_path, "--license", "CC0-1.0")
    assert "0 videos encoded, 15 stored clips reused" in again.stderr
    assert measures(tmp_path) == measured


def test_videos_of_other_splits_are_stored_whole(mixed: Path, tmp_path: Path) -> None:
    assert build(mixed, tmp_path, *EVERYTHING, "--split", "test").returncode == 0
    assert dropped(tmp_path) == []


def test_splits_and_the_shortest_stretch_are_a_choice(mixed: Path, tmp_path: Path) -> None:
    choice = ("--split", "test", "--curate.splits", "[train, test]", "--curate.min_drop_s", "3.5")
    run = build(mixed, tmp_path, *EVERYTHING, *choice)
    assert run.returncode == 0, run.stderr
    assert [reason for *_, reason in dropped(tmp_path)] == ["black", "frozen", "blurred"]


def test_a_video_of_which_nothing_is_left_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    ffmpeg("-f", "lavfi", "-i", "color=black:s=64x48:r=8:d=6", folder / "dark.mp4")
    make_scene(folder / "good.mp4", seconds=4)
    run = build_all(folder, tmp_path, "--curate.black", "true")
    assert run.returncode == 3
    assert "curation drops 6.0 s black, which leaves no 1 s in a row" in run.stderr
    assert read_report(tmp_path / "private")["dark.mp4"]["status"] == "curated:black"
    assert dropped(tmp_path) == [(0, 0, "curated:black")]


def test_a_corpus_is_not_mixed_from_two_curations(tmp_path: Path) -> None:
    video = make_scene(tmp_path / "videos" / "scene.mp4", seconds=2)
    assert build(video, tmp_path).returncode == 0
    told = refusal(build(video, tmp_path, "--curate.black", "true"))
    assert "other settings: curate.black None (now True)" in told
    again = tmp_path / "again"
    assert build(video, again, "--curate.black", "true").returncode == 0
    assert "curate.black True (now None)" in refusal(build(video, again))


def test_curation_changes_the_digest_only_if_it_is_on() -> None:
    digests = [
        CurateSettings(**changed).digest_with("encoding")  # type: ignore[arg-type]
        for changed in ({}, {"black": True}, {"black": True, "min_drop_s": 5.0}, {"white": True})
    ]
    assert digests[0] == "encoding"
    assert len(set(digests)) == 4
    assert CurateSettings(black=True).digest_with("other") not in digests


@pytest.mark.parametrize(
    "wrong", [{"min_drop_s": 0.5}, {"blur_limit": 1.1}, {"black_level": float("nan")}]
)
def test_impossible_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CurateSettings(**wrong)  # type: ignore[arg-type]


def test_listed_stretches_are_dropped_in_every_split(tmp_path: Path) -> None:
    listed = "start_s,end_s,reason\n2.5,4,outside\n9.95,11,\n3,6.05,outside\n"
    manifest = make_listed(tmp_path, listed)
    assert build_manifest(manifest).returncode == 0
    assert dropped(tmp_path) == [
        (2.5, 4.0, "listed:outside"),
        (4.0, 6.125, "listed:outside"),
        (10.0, 11.0, "listed"),
    ]
    assert clip_times(tmp_path) == [(0, 2.5), (6.125, 2.0), (8.125, 1.875), (11, 1)]

    # The same list encodes nothing again; another one does.
    assert "0 videos encoded" in build_manifest(manifest).stderr
    manifest = make_listed(tmp_path, "start_s;end_s\n0;5\n")
    run = build_manifest(manifest)
    assert "1 video encoded" in run.stderr
    assert dropped(tmp_path) == [(0, 5, "listed")]


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (
            "start_s,end_s\n1,2\n5,4\n",
            "drop.csv, line 3: the stretch ends at 4 s, but starts at 5 s",
        ),
        ("start_s,end_s\n-1,2\n", "drop.csv, line 2: start_s is '-1', not a number of seconds"),
        ("start_s,end_s\n1,nan\n", "drop.csv, line 2: end_s is 'nan', not a number of seconds"),
        ("start_s,end_s,reason\n1,2,Mr Smith\n", "line 2: the reason 'Mr Smith' is not one word"),
        ("from,to\n1,2\n", "drop.csv has no column"),
    ],
)
def test_a_list_with_a_fault_is_refused(listed: str, told: str, tmp_path: Path) -> None:
    assert told in refusal(build_manifest(make_listed(tmp_path, listed)))


def test_a_list_of_another_unit_leaves_the_video_out(tmp_path: Path) -> None:
    run = build_manifest(make_listed(tmp_path, "start_s,end_s\n1,2\n250,500\n"))
    assert run.returncode == 1
    told = "the stretch from 250 to 500 s ends after the video, which lasts 12.0 s"
    assert told in run.stderr
    assert not (tmp_path / "corpus" / "corpus.json").exists()


def test_a_changed_list_of_another_unit_loses_no_stored_video(tmp_path: Path) -> None:
    assert build_manifest(make_listed(tmp_path, "start_s,end_s\n1,2\n")).returncode == 0
    before = digests(tmp_path / "corpus")
    told = refusal(build_manifest(make_listed(tmp_path, "start_s,end_s\n1000,2000\n")))
    assert "ends after the video" in told
    assert "the corpus already has this video" in told
    assert digests(tmp_path / "corpus") == before


def test_a_video_that_moves_to_another_split_is_encoded_anew(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    graph = "[0:v]trim=0:3[a];[1:v]trim=0:4[b];[a][b]concat=n=2:v=1"
    inputs = (
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=8",
        "-f",
        "lavfi",
        "-i",
        "color=black:s=64x48:r=8",
    )
    folder.mkdir()
    ffmpeg(*inputs, "-filter_complex", graph, folder / "half.mp4")
    assert build_all(folder, tmp_path, "--curate.black", "true").returncode == 0
    assert dropped(tmp_path) == [(3, 7, "black")]
    run = build_all(folder, tmp_path, "--curate.black", "true", "--split", "test")
    assert run.returncode == 0, run.stderr
    assert dropped(tmp_path) == []
    assert sum(length for _, length in clip_times(tmp_path)) == 7


def test_a_span_is_judged_like_the_whole_video(tmp_path: Path) -> None:
    pictures = [*scene(11), *black(37), *scene(30), *black(50), *scene(8)]
    whole = curate(pictures, tmp_path)
    span = curate(pictures, tmp_path, first=7 * RATE)
    assert whole.stretches == [(2.0, 6.0, "black"), (10.0, 16.0, "black")]
    assert span.stretches == whole.stretches[1:]
    assert span.kept == [number for number in whole.kept if number >= 7 * RATE]


def test_every_frame_is_kept_once_or_dropped_and_encoders_start_anew(tmp_path: Path) -> None:
    found = curate([*scene(16), *black(40), *scene(16), *black(16), *scene(5)], tmp_path)
    assert found.stretches == [(2.0, 7.0, "black")]
    assert found.kept == [*range(16), *range(56, 93)]
    assert found.starts == [0, 56]


def test_a_held_picture_is_divided_where_blocks_end(tmp_path: Path) -> None:
    held = [Frames(data=picture(0), first=0, count=100, starts=True)]
    settings = CurateSettings(frozen=True, min_drop_s=4.0)
    with Curator(Curation(settings=settings), FORMAT, tmp_path) as curator:
        assert list(curator.kept(held)) == []
    assert [(row.start_s, row.end_s) for row in curator.dropped] == [(0.0, 12.5)]


def test_a_long_stretch_does_not_wait_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, append = 0, frame_queue.FrameQueue.append

    def counted(queue: frame_queue.FrameQueue, frames: Frames) -> None:
        nonlocal most
        append(queue, frames)
        most = max(most, len(queue._frames))

    monkeypatch.setattr(frame_queue.FrameQueue, "append", counted)
    monkeypatch.setattr(frame_queue, "_MEMORY_BYTES", 10_000)  # the rest waits in a file
    found = curate([*scene(8), *black(800), *scene(8), *black(16), *scene(8)], tmp_path)
    assert found.kept == [*range(8), *range(808, 840)]
    assert most <= 4 * RATE
    assert list(tmp_path.iterdir()) == []


class Curated:
    """What a curator did with pictures."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.starts: list[int] = []
        self.stretches: list[tuple[float, float, str]] = []


def curate(pictures: list[bytes], folder: Path, first: int = 0) -> Curated:
    frames = (
        Frames(data=data, first=number, count=1, starts=number == first)
        for number, data in enumerate(pictures)
        if number >= first
    )
    found = Curated()
    curation = Curation(settings=CurateSettings(black=True))
    with Curator(curation, FORMAT, folder) as curator:
        for part in curator.kept(frames):
            assert part.data == pictures[part.first], "each frame keeps its picture"
            found.kept.append(part.first)
            found.starts += [part.first] if part.starts else []
    found.stretches = [(row.start_s, row.end_s, row.reason) for row in curator.dropped]
    return found


def picture(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    return random.integers(30, 220, WIDTH * HEIGHT * 3 // 2, dtype=np.uint8).tobytes()


def scene(frames: int) -> Iterator[bytes]:
    return (picture(number) for number in range(frames))


def black(frames: int) -> list[bytes]:
    luma, chroma = WIDTH * HEIGHT, WIDTH * HEIGHT // 2
    return [bytes([16]) * luma + bytes([128]) * chroma] * frames


def make_scene(path: Path, *, seconds: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    source = f"mandelbrot=size=128x96:rate=10:start_scale=2,noise=alls=8:allf=t,trim=0:{seconds}"
    ffmpeg("-f", "lavfi", "-i", source, "-crf", "12", "-preset", "veryfast", path)
    return path


def make_mixed(path: Path) -> Path:
    """Render 30 s: scenes of 4 s, and between them the stretches of `STRETCHES`."""
    scenes = make_scene(path.with_name("scenes.mkv"), seconds=16)
    one = "s=128x96:r=10,format=yuv420p"
    graph = f"""
        [0:v]format=yuv420p,split=5[a][b][c][d][e];
        [a]trim=0:4,setpts=PTS-STARTPTS[scene1]; color=black:d=4:{one}[black];
        [b]trim=4:8,setpts=PTS-STARTPTS[scene2];
        [c]trim=8:8.1,setpts=PTS-STARTPTS,tpad=stop_mode=clone:stop_duration=3.9[frozen];
        color=0x2040c0:d=3:{one}[constant];
        [d]trim=8:12,setpts=PTS-STARTPTS[scene3];
        [e]trim=12:16,setpts=PTS-STARTPTS,gblur=sigma=8[blurred]; color=white:d=3:{one}[white];
        [scene1][black][scene2][frozen][constant][scene3][blurred][white]concat=n=8:v=1[out]
    """
    options = ("-map", "[out]", "-r", "10", "-crf", "12", "-preset", "veryfast")
    ffmpeg("-i", scenes, "-filter_complex", graph, *options, path)
    scenes.unlink()
    return path


def build(video: Path, folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    return build_all(video.parent, folder, *options)


def build_all(videos: Path, folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    places = ("--out", folder / "corpus", "--private", folder / "private")
    size = ("--encode.short_side_px", "96")
    return run_here(*build_folder(videos), *places, *QUICK, *size, *options)


def make_listed(folder: Path, listed: str) -> Path:
    """Write a manifest of one test video of 12 s with a list of stretches."""
    if not (folder / "op.mp4").exists():
        ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=8:d=12", folder / "op.mp4")
    (folder / "drop.csv").write_text(listed)
    row = {"path": "op.mp4", "source": "lap", "domain": "laparoscopy", "case": "1"}
    return write_csv(folder / "videos.csv", [{**row, "split": "test", "drop": "drop.csv"}])


def build_manifest(manifest: Path) -> "subprocess.CompletedProcess[str]":
    folder = manifest.parent
    places = ("--out", folder / "corpus", "--private", folder / "private")
    return run_here("build", "--manifest", manifest, *places, *QUICK)


def dropped(folder: Path) -> list[tuple[float, float, str]]:
    rows = pq.read_table(folder / "corpus" / "lap" / "dropped.parquet").to_pylist()
    return sorted((row["start_s"], row["end_s"], row["reason"]) for row in rows)


def measures(folder: Path) -> dict[float, dict[str, float]]:
    """Return the measures of each clip by its start, seconds."""
    columns = ["start_s", "blur", "brightness", "motion"]
    table = pq.read_table(folder / "corpus" / "lap" / "index.parquet", columns=columns)
    return {row["start_s"]: row for row in table.to_pylist()}


def clip_times(folder: Path) -> list[tuple[float, float]]:
    table = pq.read_table(folder / "corpus" / "lap" / "index.parquet")
    return sorted(zip(table["start_s"].to_pylist(), table["duration_s"].to_pylist(), strict=True))
