"""Features of a folder of video files, without a corpus."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from surgrec.commands.features import features
from surgrec.errors import ManifestError, SampleError
from surgrec.features import EncoderChoice, Features, extract, read_features
from surgrec.features._folder import VideoFile, VideoFolder, stored_size
from surgrec.terminal import SOME_FAILED
from tests.features.conftest import CONFIG, content
from tests.support.videos import make_video

MPEG4 = ("-c:v", "mpeg4", "-q:v", "2")


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
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features") / "folder"
    status = features([str(folder)], encoder=run_dir, out=out, stride_s=0.5, batch=8, device="cpu")
    assert status == SOME_FAILED
    return out


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
    assert len([name for name in names if name.startswith("videos/")]) == 6
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
    ]
    assert all(window.reason.startswith("it is not a readable video (") for window in result.failed)
    counts = result.facts["counts"]
    assert (
        counts["videos"],
        counts["videos_failed"],
        counts["videos_too_short"],
        counts["windows"],
    ) == (6, 2, 1, 33)


def test_a_renamed_video_is_reused_and_the_table_has_the_new_name(
    folder: Path, run_dir: Path, out: Path, tmp_path: Path
) -> None:
    renamed, again = (
        Path(shutil.copytree(folder, tmp_path / "videos")),
        Path(shutil.copytree(out, tmp_path / "out")),
    )
    (renamed / "b.avi").rename(renamed / "z.avi")
    for name in ("text.mp4", "cut.mp4"):
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
    (group,) = VideoFile(large).decode(np.array([0.0, 0.5]))
    assert isinstance(group.frames, torch.Tensor)
    assert group.frames.shape == (2, 3, 256, 256)
    (group,) = VideoFile(folder / "case 1/a.mp4").decode(np.array([0.0, 0.1, 0.15, 5.95, 6.0]))
    assert isinstance(group.frames, torch.Tensor)
    assert group.frames.shape == (5, 3, 64, 64)
    assert torch.equal(group.frames[1], group.frames[2])
    assert not torch.equal(group.frames[0], group.frames[1])
    assert torch.equal(group.frames[3], group.frames[4])


@pytest.mark.parametrize(
    ("height", "width", "aspect", "stored"),
    [
        (1080, 1920, 1.0, (256, 456)),
        (1920, 1080, 1.0, (456, 256)),
        (576, 720, 64 / 45, (256, 456)),  # PAL in 16:9
        (144, 176, 128 / 117, (144, 192)),
        (201, 200, 1.0, (200, 200)),
    ],
)
def test_large_videos_get_the_size_of_stored_clips_with_square_pixels(
    height: int, width: int, aspect: float, stored: tuple[int, int]
) -> None:
    assert stored_size(height, width, aspect) == stored


def test_a_container_without_an_index_gives_no_frame_of_another_time(
    tmp_path: Path,
) -> None:
    """In an MPEG stream FFmpeg may seek past the requested time without an error."""
    stream, copied = (
        make_video(tmp_path / "stream.ts", seconds=12, size="320x240"),
        tmp_path / "copied.mkv",
    )
    with pytest.raises(
        SampleError, match=r"the frame at 6\.000 s cannot be found in this container.* -c copy"
    ):
        _ = VideoFile(stream).spans
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", stream, "-c", "copy", copied], check=True
    )
    assert VideoFile(copied).spans == ((0.0, 12.0),)
    times = np.arange(0.0, 12.0, 0.3)
    (right,) = VideoFile(copied).decode(times)
    assert isinstance(right.frames, torch.Tensor)
    groups = VideoFile(stream).decode(times)
    assert sorted(index for group in groups for index in group.indices) == list(range(40))
    for group in groups:
        if isinstance(group.frames, torch.Tensor):
            assert torch.equal(group.frames, right.frames[group.indices])
    assert any("cannot be found in this container" in str(group.frames) for group in groups)


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
