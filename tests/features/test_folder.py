"""Features of a folder of video files, without a corpus."""

import os
import re
import resource
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from surgrec.commands.features import features
from surgrec.errors import MachineError, ManifestError, SampleError
from surgrec.features import EncoderChoice, Features, extract, read_features
from surgrec.features._videos import Piece
from surgrec.features.corpora import CorpusVideos
from surgrec.features.folder import VideoFile, VideoFolder
from surgrec.recordings import process
from surgrec.terminal import SOME_FAILED
from tests.features.conftest import CONFIG, content
from tests.support.clocks import overwrite
from tests.support.tool import build_folder, ffmpeg, ffprobe, refusal, run_here, surgrec_here
from tests.support.videos import make_video

MPEG4 = ("-c:v", "mpeg4", "-q:v", "2")
FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov", "-c:v", "libx264")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 6 s in three containers, a short one, a truncated one, and a text file."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "case 1/a.mp4", seconds=6)
    make_video(folder / "b.avi", seconds=6, arguments=MPEG4)
    make_video(folder / "c.MKV", seconds=6)
    make_video(folder / "short.mp4", seconds=0.5)
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.mp4").write_bytes((folder / "case 1/a.mp4").read_bytes()[:9000])
    (folder / "notes.txt").write_text("ignored")
    (folder / "unknown.bin").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "folder"
    status = features([str(folder)], encoder=run_dir, out=out, stride_s=0.5, batch=8, device="cpu")
    assert status == SOME_FAILED
    return out


VARIABLE = ("-vf", "select='lt(t,4)+not(mod(n,12))'", "-vsync", "vfr", "-c:v", "libx264")
INTERLACED = ("-flags", "+ilme+ildct", "-c:v", "mpeg2video", "-q:v", "2")
SAME_SIZE = ("--encode.crf", "10", "--encode.preset", "ultrafast", "--encode.min_clip_s", "2")


def clock(path: Path, *, seconds: float, arguments: Sequence[str] = ()) -> Path:
    """Render a square video with the time of each picture burnt in as 16 stripes, in 0.01 s."""
    stripes = "geq=lum='if(bitand(round(T*100),pow(2,floor(X*16/W))),235,16)':cb=128:cr=128"
    chosen = [word for word in arguments]
    if "-vf" in chosen:
        chosen[chosen.index("-vf") + 1] = f"{stripes},{chosen[chosen.index('-vf') + 1]}"
    else:
        chosen += ["-vf", stripes]
    options = ("-g", "25", "-bf", "0", *chosen)
    return make_video(
        path, seconds=seconds, rate=25, size="64x64", pattern="color=gray", arguments=options
    )


def burnt_s(frames: torch.Tensor) -> np.ndarray:
    """Return the time that is burnt into each frame, seconds."""
    bits = frames[:, 1, 16:48].float().mean(1).reshape(len(frames), 16, -1).mean(2) > 128
    return np.asarray((bits * (2 ** torch.arange(16))).sum(1) / 100)


def first_picture_s(whole: Path, cut: Path) -> float:
    """Return the time in the whole stream of the first picture of its cut copy, seconds."""

    def first(path: Path) -> float:
        output = ffprobe(path, "-select_streams", "v", "-show_entries", "packet=pts_time")
        return min(float(packet["pts_time"]) for packet in output["packets"])

    return first(cut) - first(whole)


def turned(path: Path, *, size: str, arguments: Sequence[str] = ()) -> Path:
    """Render a video whose container tells players to turn it by a quarter."""
    make_video(path, seconds=6, size=size, rate=16, arguments=arguments)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def same_in_both(folder: Path, kind: str) -> Path:
    """Render a video of 6 s at 16 pictures per second, in a folder of its own."""
    path = folder / "videos" / "a.mkv"
    if kind == "turned":
        path.parent.mkdir()
        return turned(path.with_suffix(".mp4"), size="128x64")
    if kind == "two streams":
        large = make_video(folder / "large.mp4", seconds=6, size="128x64", rate=16)
        preview = ["-f", "lavfi", "-t", "6", "-i", "color=red:size=32x32:rate=1"]
        path.parent.mkdir()
        ffmpeg(*preview, "-i", large, "-map", "0", "-map", "1", "-c:v:1", "copy", path)
        return path
    if kind == "interlaced in parts":
        path.parent.mkdir()
        waves = (
            "color=size=128x4:rate={},geq=lum='128+100*sin((X+{}*N)/12)':cb=128:cr=128,"
            "scale=128:208:flags=neighbor"
        )
        still, combed = waves.format(16, 6), waves.format(32, 3) + ",tinterlace=interleave_top"
        sources = [
            w for source in (still, combed) for w in ("-f", "lavfi", "-t", "4", "-i", source)
        ]
        ffmpeg(*sources, "-filter_complex", "concat,setfield=prog", "-pix_fmt", "yuv420p", path)
        return path
    arguments = {
        "plain": (),
        "interlaced": ("-vf", "tinterlace=interleave_top", *INTERLACED),
        "wide pixels": ("-vf", "setsar=3/2"),
    }[kind]
    rate = 32 if kind == "interlaced" else 16
    return make_video(path, seconds=6, size="128x64", rate=rate, arguments=arguments)


def frames_of(path: Path, times: np.ndarray) -> torch.Tensor:
    """Return the frames of a video file at these times."""
    return one_piece(VideoFile(path).pieces(times))


def one_piece(pieces: list[Piece]) -> torch.Tensor:
    (piece,) = pieces
    assert isinstance(piece.frames, torch.Tensor), piece.frames
    return piece.frames


def values_of(features: Features, video: str) -> torch.Tensor:
    """Return the features of one video."""
    rows = [row for row, window in enumerate(features.rows) if window.video == video]
    return features.values[rows]


def test_videos_of_any_container_have_features_under_their_names(out: Path) -> None:
    result = read_features(out)
    assert sorted({row.video for row in result.rows}) == ["b.avi", "c.MKV", "case 1/a.mp4"]
    assert {row.case for row in result.rows} == {row.video for row in result.rows}
    assert [row.start_s for row in result.rows if row.video == "c.MKV"] == [
        0.5 * number for number in range(11)
    ]
    assert torch.equal(
        values_of(result, "c.MKV"), values_of(result, "case 1/a.mp4")
    )  # the same frames
    torch.testing.assert_close(
        values_of(result, "b.avi"), values_of(result, "c.MKV"), atol=0.2, rtol=0
    )
    names = content(out).keys()
    assert len([name for name in names if name.startswith("videos/")]) == 7
    assert not any("a.mp4" in name for name in names)
    inside = [path.read_bytes() for path in out.glob("videos/*.safetensors")]
    assert not any(
        word in data
        for data in inside
        for word in (b"a.mp4", b"b.avi", b"MKV", str(out.parent.parent).encode())
    )


def test_an_unreadable_file_is_counted_with_its_reason(out: Path) -> None:
    result = read_features(out)
    assert [(window.video, window.start_s) for window in result.failed] == [
        ("cut.mp4", None),
        ("text.mp4", None),
        ("unknown.bin", None),
    ]
    assert "bytes of the mp4 are missing" in result.failed[0].reason
    assert "ffmpeg cannot read the file as a video" in result.failed[1].reason
    assert "neither a video that can be read" in result.failed[2].reason
    counts = result.facts["counts"]
    assert (
        counts["videos"],
        counts["videos_failed"],
        counts["videos_too_short"],
        counts["windows"],
    ) == (7, 3, 1, 33)


def test_a_renamed_video_is_reused_and_the_table_has_the_new_name(
    folder: Path, run_dir: Path, out: Path, tmp_path: Path
) -> None:
    renamed, again = (
        Path(shutil.copytree(folder, tmp_path / "videos")),
        Path(shutil.copytree(out, tmp_path / "out")),
    )
    (renamed / "b.avi").rename(renamed / "z.avi")
    for name in ("text.mp4", "cut.mp4", "unknown.bin"):
        (renamed / name).unlink()
    shutil.copy(renamed / "c.MKV", renamed / "d.mkv")  # the same bytes share a file
    assert all(
        video.reused
        for video in extract([str(renamed)], EncoderChoice(path=run_dir), CONFIG, again)
    )
    before, after = read_features(out), read_features(again)
    assert torch.equal(values_of(after, "z.avi"), values_of(before, "b.avi"))
    assert torch.equal(values_of(after, "d.mkv"), values_of(after, "c.MKV"))
    assert after.facts["data"]["digest"] != before.facts["data"]["digest"]
    assert not after.failed


def test_frames_on_screen_are_scaled_as_in_a_corpus(folder: Path, tmp_path: Path) -> None:
    large = make_video(tmp_path / "large.mp4", seconds=1, size="960x540")
    assert frames_of(large, np.array([0.0, 0.5])).shape == (2, 3, 256, 256)
    frames = frames_of(folder / "case 1/a.mp4", np.array([0.0, 0.1, 0.15, 5.95, 6.0]))
    assert frames.shape == (5, 3, 64, 64)
    assert torch.equal(frames[1], frames[2])
    assert not torch.equal(frames[0], frames[1])
    assert torch.equal(frames[3], frames[4])


@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_frames_are_the_same_for_any_chunks(folder: Path, size: int) -> None:
    path, needed = folder / "case 1/a.mp4", np.arange(40) * 0.125
    overlapping = [needed[max(0, first - 5) : first + size] for first in range(0, 40, size)]
    found = [
        one_piece(pieces) for pieces in VideoFile(path).pieces_in_order(needed, iter(overlapping))
    ]
    whole = frames_of(path, needed)
    for first, frames in zip(range(0, 40, size), found, strict=True):
        assert torch.equal(frames, whole[max(0, first - 5) : first + size])


@pytest.mark.parametrize("kind", ["mp4", "stream without an index", "cut", "late", "variable"])
def test_frames_show_the_moment_that_was_asked_for(tmp_path: Path, kind: str) -> None:
    """The time of each frame is burnt into it. Time zero is the first picture of the stream."""
    path, first_s = clock(tmp_path / "clock.mp4", seconds=12), 0.0
    copy = ("-nostdin", "-y", "-v", "error")
    if kind == "stream without an index":
        subprocess.run(["ffmpeg", *copy, "-i", path, "-c", "copy", tmp_path / "c.ts"], check=True)
        path = tmp_path / "c.ts"
    elif kind == "cut":
        # The first packets lack their keyframe.
        subprocess.run(["ffmpeg", *copy, "-i", path, "-c", "copy", tmp_path / "c.ts"], check=True)
        path, data = tmp_path / "cut.ts", (tmp_path / "c.ts").read_bytes()
        path.write_bytes(data[len(data) // 3 // 188 * 188 :])
        first_s = first_picture_s(tmp_path / "c.ts", path)
    elif kind == "late":
        shifted = ["-output_ts_offset", "30", "-c", "copy", tmp_path / "c.mkv"]
        subprocess.run(["ffmpeg", *copy, "-i", path, *shifted], check=True)
        path = tmp_path / "c.mkv"
    elif kind == "variable":
        path = clock(tmp_path / "v.mkv", seconds=12, arguments=VARIABLE)

    video = VideoFile(path)
    (start_s, end_s), *more = video.spans
    assert (start_s, more) == (0.0, [])
    times = np.arange(2.0, end_s - 0.5, 0.3)
    shown_s = burnt_s(frames_of(path, times)) - first_s
    late_s = times - shown_s
    longest_s = 0.51 if kind == "variable" else 0.041
    assert late_s.min() > -0.015
    assert late_s.max() < longest_s


@pytest.mark.parametrize(
    "kind",
    [
        *("plain", "turned", "two streams", "interlaced", "wide pixels"),
        pytest.param("interlaced in parts", marks=pytest.mark.slow),
    ],
)
def test_a_folder_and_a_corpus_show_the_same_pictures(tmp_path: Path, kind: str) -> None:
    path = same_in_both(tmp_path, kind)
    built = run_here(*build_folder(path.parent), *SAME_SIZE, "--out", tmp_path / "corpus")
    assert built.returncode == 0, built.stderr
    corpora = CorpusVideos([str(tmp_path / "corpus")])
    times = np.arange(8, 32) / 8
    stored = torch.cat(
        [
            piece.frames
            for piece in corpora.open(corpora.entries[0]).pieces(times)
            if isinstance(piece.frames, torch.Tensor)
        ]
    )
    shown = frames_of(path, times)
    assert shown.shape == stored.shape
    differences = (shown.float() - stored.float()).abs().mean(dim=(1, 2, 3))
    assert differences.mean() < 4, "the codec alone changes pixels"
    assert (stored[0].float() - stored[-1].float()).abs().mean() > 12


@pytest.mark.parametrize("kind", ["plain", "turned"])
def test_features_of_a_video_agree_between_a_folder_and_a_corpus(
    run_dir: Path, tmp_path: Path, kind: str
) -> None:
    path = same_in_both(tmp_path, kind)
    built = run_here(*build_folder(path.parent), *SAME_SIZE, "--out", tmp_path / "corpus")
    assert built.returncode == 0, built.stderr
    choice = EncoderChoice(path=run_dir)
    for data, out in ((path.parent, "a"), (tmp_path / "corpus", "b")):
        list(extract([str(data)], choice, CONFIG, tmp_path / out))
    ours, theirs = (read_features(tmp_path / out).values for out in ("a", "b"))
    assert ours.shape == theirs.shape

    # All features share a large mean, which would hide differences.
    ours, theirs = (F.normalize(values - ours.mean(0)) for values in (ours, theirs))
    similarity = ours @ theirs.T
    assert similarity.diagonal().mean() > 0.95
    assert similarity.argmax(1).tolist() == list(range(len(ours)))


def test_a_turned_video_with_wide_pixels_has_its_central_square(tmp_path: Path) -> None:
    path = turned(tmp_path / "a.mp4", size="192x96", arguments=("-vf", "setsar=2/1"))
    assert frames_of(path, np.array([1.0])).shape == (1, 3, 96, 96)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "hls.mp4",
            ["#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:6,", "{other}", "#EXT-X-ENDLIST"],
        ),
        ("concat.mp4", ["ffconcat version 1.0", "file {other}"]),
        ("dash.mkv", ["<MPD><Period><BaseURL>{other}</BaseURL></Period></MPD>"]),
    ],
)
def test_a_script_that_is_named_like_a_video_shows_no_other_file(
    tmp_path: Path, name: str, lines: list[str]
) -> None:
    other = make_video(tmp_path / "other" / "patient.mp4", seconds=6)
    script = tmp_path / "videos" / name
    script.parent.mkdir()
    script.write_text("\n".join(line.format(other=other) for line in lines) + "\n")
    with pytest.raises(SampleError, match="ffmpeg cannot read the file as a video"):
        _ = VideoFile(script).spans


def test_a_file_that_cannot_be_opened_costs_one_video(
    folder: Path, run_dir: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(folder / "c.MKV", videos / "good.mkv")
    (videos / "gone.mp4").symlink_to(tmp_path / "nothing")
    os.mkfifo(videos / "pipe.mp4")
    (videos / "empty.mp4").touch()
    status = features([str(videos)], encoder=run_dir, out=tmp_path / "out", device="cpu")
    assert status == SOME_FAILED
    result = read_features(tmp_path / "out")
    assert {row.video for row in result.rows} == {"good.mkv"}
    assert {window.video: window.reason for window in result.failed} == {
        "empty.mp4": "the file is empty",
        "gone.mp4": "the file does not exist",
        "pipe.mp4": "the path is not a regular file",
    }


@pytest.mark.parametrize("program", ["ffmpeg", "ffprobe"])
@pytest.mark.parametrize(
    "script", ["kill -KILL $$", "echo '[error] Cannot allocate memory' >&2; exit 1"]
)
def test_a_video_for_which_ffmpeg_lacks_memory_is_left_out_and_tried_again(
    program: str,
    script: str,
    folder: Path,
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = tmp_path / program
    find = process.find_program
    wide = f'case "$(readlink $file)" in *wide*) {script};; esac'
    file = 'for word; do case "$word" in file:*) file="${word#file:}";; esac; done'
    failing.write_text(f'#!/bin/sh\n{file}\n{wide}\nexec {find(program)} "$@"\n')
    failing.chmod(0o755)
    videos = tmp_path / "videos"
    for name in ("wide.mp4", "small.mp4"):
        videos.mkdir(exist_ok=True)
        shutil.copy(folder / "case 1" / "a.mp4", videos / name)
    with (videos / "wide.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")  # files of equal bytes share their features

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(
            process, "find_program", lambda name: str(failing) if name == program else find(name)
        )
        status = features([str(videos)], encoder=run_dir, out=out, device="cpu")
    assert status == SOME_FAILED
    result = read_features(out)
    assert {row.video for row in result.rows} == {"small.mp4"}
    assert {window.video for window in result.failed} == {"wide.mp4"}
    assert all("ran out of memory" in window.reason for window in result.failed)
    assert features([str(videos)], encoder=run_dir, out=out, device="cpu") == 0
    assert not read_features(out).failed


def test_a_lack_of_open_files_is_no_unreadable_video(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(MachineError, match="Too many open files"):
            VideoFile(folder / "b.avi")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_video_with_too_few_frames_is_left_out_or_counted(run_dir: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "capsule.mp4", seconds=6, rate=2)
    make_video(tmp_path / "videos" / "normal.mp4", seconds=6)
    choice, videos = EncoderChoice(path=run_dir), str(tmp_path / "videos")
    list(extract([videos], choice, CONFIG, tmp_path / "out"))
    (failed,) = read_features(tmp_path / "out").failed
    assert (failed.video, failed.start_s) == ("capsule.mp4", None)
    assert "it has 2 frames per second, but a window has 4" in failed.reason

    allowed = replace(CONFIG, allow_repeated_frames=True)
    list(extract([videos], choice, allowed, tmp_path / "out"))
    result = read_features(tmp_path / "out")
    assert {row.video for row in result.rows} == {"capsule.mp4", "normal.mp4"}
    assert result.facts["counts"]["videos_with_repeated_frames"] == {"videos": 1}


def test_a_damaged_stretch_leaves_its_windows_out(run_dir: Path, tmp_path: Path) -> None:
    path = clock(tmp_path / "videos" / "a.mkv", seconds=12)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(data)

    times = np.arange(0.5, 11.5, 0.25)
    pieces = VideoFile(path).pieces(times)
    assert any(isinstance(piece.frames, SampleError) for piece in pieces)
    for piece in pieces:
        if isinstance(piece.frames, torch.Tensor):
            late_s = np.abs(times[piece.indices] - burnt_s(piece.frames))
            assert np.median(late_s) < 0.1
    choice = EncoderChoice(path=run_dir)
    (extracted,) = extract([str(path.parent)], choice, CONFIG, tmp_path / "out")
    assert extracted.windows > 3

    # Every window has a feature, a failure, or a gap that names it.
    facts = read_features(tmp_path / "out").facts
    (gap,) = facts["gaps"]
    assert (gap["source"], gap["video"], gap["windows"]) == ("videos", "a.mkv", extracted.in_gaps)
    assert 3 < gap["start_s"] < 5 < gap["end_s"] <= 9
    assert facts["counts"]["windows_in_gaps"] == extracted.in_gaps > 0
    assert extracted.windows + extracted.failed + extracted.in_gaps == 23


def test_an_end_that_cannot_be_read_is_a_failure_with_its_reason(
    run_dir: Path, tmp_path: Path
) -> None:
    path = clock(tmp_path / "videos" / "a.mp4", seconds=12, arguments=FRAGMENTED)
    overwrite(path, start=0.5, end=1.0, seed=0)
    (extracted,) = extract(
        [str(path.parent)], EncoderChoice(path=run_dir), CONFIG, tmp_path / "out"
    )
    (failed,) = read_features(tmp_path / "out").failed
    assert failed.start_s is not None
    assert 4 < failed.start_s < 8
    assert re.fullmatch(r"the last 0\.\d MB of the file \(\d\d%\) cannot be read", failed.reason)
    assert extracted.windows > 5


def test_a_folder_without_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=f"{tmp_path} and its subfolders contain no video file"):
        VideoFolder(tmp_path)


def test_a_folder_and_a_file_may_have_names_that_are_not_utf8(
    run_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"F\xe4lle")
    make_video(folder / os.fsdecode(b"M\xfcller.mp4"), seconds=5)
    (folder / os.fsdecode(b"kaputt\xff.mp4")).write_text("no video")
    status = features([str(folder)], encoder=run_dir, out=tmp_path / "out", device="cpu")
    assert status == SOME_FAILED
    result = read_features(tmp_path / "out")
    assert {row.video for row in result.rows} == {"M\\xfcller.mp4"}
    assert [window.video for window in result.failed] == ["kaputt\\xff.mp4"]


def test_videos_that_are_given_as_pictures_have_features(run_dir: Path, tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    for name in ("op1", "op2"):
        (videos / name).mkdir(parents=True)
        source = ("-f", "lavfi", "-i", f"testsrc2=s=96x64:r=8:d={3 + int(name[-1])}")
        ffmpeg(*source, videos / name / "p%d.jpg")
    words = ("features", videos, "--encoder", run_dir, "--out", out, "--device", "cpu")
    run = surgrec_here(*words, "--frame_fps", 8)
    assert run.returncode == 0, run.stderr
    found = read_features(out)
    assert {row.video for row in found.rows} == {"op1", "op2"}
    told = refusal(surgrec_here(*words, "--frames_from", "(?P<frame>[0-9]+)"))
    assert "frames_from needs frame_fps" in told


def test_videos_in_an_archive_have_the_features_of_their_files(
    folder: Path, run_dir: Path, out: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "videos.tar", "w") as archive:
        archive.add(folder / "b.avi", "day/b.avi")
    words = ("--encoder", run_dir, "--out", tmp_path / "out", "--device", "cpu")
    run = surgrec_here("features", tmp_path / "videos.tar", *words, "--stride_s", 0.5, "--batch", 8)
    assert run.returncode == 0, run.stderr
    found = values_of(read_features(tmp_path / "out"), "day/b.avi")
    assert torch.equal(found, values_of(read_features(out), "b.avi"))
