"""One long video uses the idle workers of a build, and its clips are those of one worker."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from surgrec_shard.encode import EncodedVideo, encode_video

from surgrec.errors import StorageError
from surgrec.recordings.decoders import Decoders
from tests.support.clocks import overwrite
from tests.support.small_disk import small_disk
from tests.support.tool import QUICK, command, digests, fixed_key, run_here
from tests.support.videos import TINY_ENCODING, make_video

X264 = ("-c:v", "libx264", "-bf", "2", "-g", "20")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_clips_are_those_of_one_decoder(is_damaged: bool, tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=9, arguments=X264)
    if is_damaged:
        overwrite(video, start=0.6, end=0.63)
    one = encode_video(video, TINY_ENCODING, tmp_path / "one")
    several = encode_video(
        video, TINY_ENCODING, tmp_path / "several", decoders=Decoders(3, span_s=2.0)
    )
    assert (several.clips, several.dropped) == (one.clips, one.dropped)
    assert files_of(several) == files_of(one)
    assert (several.complaints > 0) == is_damaged
    assert (several.decoders > 1) != is_damaged
    is_told = any("decoded anew by one decoder" in note for note in several.notes)
    assert is_told == is_damaged


def test_a_disk_full_of_waiting_pictures_is_one_sentence(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=9, arguments=X264)
    one = encode_video(video, TINY_ENCODING, tmp_path / "one")
    kilobytes = sum(-(-len(data) // 4096) * 4 for data in files_of(one))

    folder = tmp_path / "disk" / "clips"
    with small_disk(tmp_path / "disk", 2 * kilobytes + 24) as grow:
        with pytest.raises(StorageError) as caught:
            encode_video(video, TINY_ENCODING, folder, decoders=Decoders(3, span_s=2.0))
        assert str(caught.value) == (
            f"the disk of {tmp_path}/disk is full; free disk space, or give --work a folder on "
            "another disk, and run the same command again"
        )
        assert not list((tmp_path / "disk").iterdir())

        # One decoder stores no waiting pictures; several work with more space.
        alone = encode_video(video, TINY_ENCODING, folder, decoders=Decoders(1, span_s=2.0))
        assert files_of(alone) == files_of(one)
        shutil.rmtree(folder)
        grow()
        several = encode_video(video, TINY_ENCODING, folder, decoders=Decoders(3, span_s=2.0))
        assert several.decoders > 1
        assert files_of(several) == files_of(one)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a video of four minutes, and a damaged one."""
    folder = tmp_path_factory.mktemp("long")
    sound = make_video(folder / "sound.mp4", seconds=240, rate=25, arguments=X264)
    damaged = Path(shutil.copy(sound, folder / "damaged.mp4"))
    overwrite(damaged, start=0.8, end=0.801)
    return folder


def build(videos: Path, folder: Path, workers: int) -> list[object]:
    """Return the command that builds the folder of videos."""
    return [
        *("build", "--videos", videos, "--source", "long", "--domain", "laparoscopy"),
        *("--out", folder / "corpus", "--private", fixed_key(folder / "private")),
        *("--workers", workers, *QUICK),
    ]


@pytest.mark.slow
def test_a_corpus_is_the_same_with_any_number_of_workers(videos: Path, tmp_path: Path) -> None:
    for workers in (1, 4):
        built = run_here(*build(videos, tmp_path / str(workers), workers))
        assert built.returncode == 0, built.stderr
        several = "2 videos encoded (1 by several decoders)"
        assert (several in " ".join(built.stderr.split())) == (workers > 1)
    assert digests(tmp_path / "4" / "corpus") == digests(tmp_path / "1" / "corpus")


@pytest.mark.slow
def test_a_killed_build_of_a_long_video_resumes(videos: Path, tmp_path: Path) -> None:
    assert run_here(*build(videos, tmp_path / "whole", 1)).returncode == 0
    again = build(videos, tmp_path / "killed", 4)
    work = tmp_path / "killed" / "private"
    with subprocess.Popen(command(*again), stderr=subprocess.DEVNULL) as process:
        while len(list(work.rglob("*.partial-*/*.mp4"))) < 8:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)

    assert run_here(*again).returncode == 0
    assert digests(tmp_path / "killed" / "corpus") == digests(tmp_path / "whole" / "corpus")
    assert not list(work.rglob("*.partial-*"))


def files_of(encoded: EncodedVideo) -> list[bytes]:
    return [(encoded.folder / clip.file).read_bytes() for clip in encoded.clips]
