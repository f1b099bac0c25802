"""Videos and pictures in archives are built in place, as the same files in a folder would be."""

import csv
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.tool import (
    QUICK,
    build_folder,
    digests,
    fixed_key,
    read_report,
    run_here,
    write_csv,
)
from tests.support.videos import make_video
from tests.surgrec_shard.conftest import everything
from tests.surgrec_shard.test_picture_builds import make_pictures


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return three files with different bytes and one picture."""
    folder = tmp_path_factory.mktemp("videos")
    first = make_video(folder / "op1.mp4", seconds=4)
    for number in (2, 3):
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        (folder / f"op{number}.mp4").write_bytes(first.read_bytes() + box)
    return sorted(folder.iterdir())


def pack(folder: Path, videos: list[Path]) -> Path:
    """Put the first video into a tar archive, and the others into a zip archive."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "a.tar", "w") as tar:
        tar.add(videos[0], "day/op1.mp4")
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        for video in videos[1:]:
            archive.write(video, video.name)
    return folder


def test_archives_build_the_corpus_of_their_files_and_can_be_removed(
    tmp_path: Path, videos: list[Path]
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for video in videos:
        (plain / video.name).symlink_to(video)
    of_files = run_here(
        *build_folder(plain),
        *("--out", tmp_path / "files", "--private", fixed_key(tmp_path / "files.key"), *QUICK),
    )
    assert of_files.returncode == 0, of_files.stderr

    # The first two, then a third one is added to the archive.
    packed, corpus, private = pack(tmp_path / "packed", videos[:2]), tmp_path / "c", tmp_path / "k"
    words = (*build_folder(packed), "--out", corpus, "--private", fixed_key(private), *QUICK)
    assert run_here(*words).returncode == 0
    pack(packed, videos)
    built = run_here(*words)
    assert built.returncode == 0, built.stderr
    assert "1 video encoded" in built.stderr
    assert digests(corpus) == digests(tmp_path / "files")
    assert {row["path"] for row in read_report(private).values()} == {
        str(packed / name) for name in ("a.tar/day/op1.mp4", "b.zip/op2.mp4", "b.zip/op3.mp4")
    }
    assert "0 videos encoded" in run_here(*words).stderr

    # A member is removed by its path; nothing of its name is left.
    removed = run_here(
        "remove", corpus, "--private", private, "--video", packed / "b.zip" / "op2.mp4"
    )
    assert removed.returncode == 0, removed.stderr
    assert b"op2.mp4" not in everything(corpus) + everything(private)
    assert b"op3.mp4" in everything(private)


def test_a_manifest_names_files_in_archives(tmp_path: Path, videos: list[Path]) -> None:
    packed = pack(tmp_path / "packed", videos[:2])
    with zipfile.ZipFile(packed / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(videos[2], "op3.mp4")
    plain = {"source": "lap", "domain": "laparoscopy", "split": "train"}
    paths = ("a.tar/day/op1.mp4", "b.zip/op2.mp4", "c.zip/op3.mp4", "a.tar/none.mp4")
    manifest = write_csv(
        packed / "m.csv", [{"path": path, "case": path[0], **plain} for path in paths]
    )
    private = tmp_path / "private"
    out = ("--out", tmp_path / "corpus", "--private", private)
    built = run_here("build", "--manifest", manifest, *out, *QUICK)
    assert built.returncode == 3, built.stderr
    report = read_report(private)
    statuses = {name: row["status"] for name, row in report.items()}
    assert statuses == {
        **{"op1.mp4": "packed", "op2.mp4": "packed"},
        **{"op3.mp4": "archive", "none.mp4": "archive"},
    }
    assert "pack the archive without compression (zip -0)" in report["op3.mp4"]["detail"]
    assert "has no file of this name" in report["none.mp4"]["detail"]


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_DEFLATED, pytest.param(zipfile.ZIP_STORED, marks=pytest.mark.slow)],
)
def test_pictures_in_an_archive_build_the_video_of_their_folder(
    tmp_path: Path, compression: int
) -> None:
    pictures = make_pictures(tmp_path / "plain" / "op", seconds=3)
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "f.zip", "w", compression) as archive:
        for picture in sorted(pictures.iterdir()):
            archive.write(picture, f"op/{picture.name}")
    plain = {"source": "lap", "domain": "laparoscopy", "case": "", "split": "train"}
    row = {"path": "packed/f.zip/op", "fps": "8", **plain}
    manifest = write_csv(tmp_path / "m.csv", [row])

    corpora = []
    for name, words in {
        "plain": (*build_folder(tmp_path / "plain"), "--frame_fps", 8),
        "packed": (*build_folder(tmp_path / "packed"), "--frame_fps", 8),
        "listed": ("build", "--manifest", manifest),
    }.items():
        corpora.append(tmp_path / f"corpus-{name}")
        private = fixed_key(tmp_path / f"key-{name}")
        built = run_here(*words, "--out", corpora[-1], "--private", private, *QUICK)
        assert built.returncode == 0, built.stderr
    assert digests(corpora[0]) == digests(corpora[1]) == digests(corpora[2])


def test_a_damaged_picture_costs_one_frame_in_an_archive_too(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "plain" / "op", seconds=3)
    packed = tmp_path / "packed" / "f.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for picture in sorted(pictures.iterdir()):
            archive.write(picture, f"op/{picture.name}")
        damaged = archive.getinfo("op/p9.jpg").header_offset
    data = bytearray(packed.read_bytes())
    data[damaged + 60 : damaged + 200] = b"\xff" * 140
    packed.write_bytes(data)
    (pictures / "p9.jpg").write_bytes(b"")

    corpora = []
    for name in ("plain", "packed"):
        private = fixed_key(tmp_path / f"key-{name}")
        corpora.append(tmp_path / f"corpus-{name}")
        words = (*build_folder(tmp_path / name), "--frame_fps", 8, "--out", corpora[-1])
        built = run_here(*words, "--private", private, *QUICK)
        assert built.returncode == 0, built.stderr
        (row,) = read_report(private).values()
        assert row["status"] == "packed"
        assert "1 picture left out (p9.jpg: " in row["notes"]
    assert "damaged in its archive" in row["notes"]
    assert digests(corpora[0]) == digests(corpora[1])


def test_the_report_tells_a_packed_video_and_the_fault_of_its_archive(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "plain", seconds=3)
    packed = tmp_path / "packed" / "f.tar"
    packed.parent.mkdir()
    with tarfile.open(packed, "w") as tar:
        for number in range(24):
            tar.add(pictures / f"p{number}.jpg", f"p{number}.jpg")
    with tarfile.open(packed) as tar:
        last = tar.getmembers()[-1]
    packed.write_bytes(packed.read_bytes()[: last.offset_data + 100])

    private = tmp_path / "private"
    words = (*build_folder(packed.parent), "--frame_fps", 8, "--out", tmp_path / "corpus")
    built = run_here(*words, "--private", private, *QUICK)
    assert built.returncode == 3, built.stderr
    (report,) = private.glob("videos-*.csv")
    with report.open(newline="") as file:
        rows = [(row["path"], row["status"]) for row in csv.DictReader(file)]
    assert rows == [(str(packed), "packed"), (str(packed), "archive")]
    notes = report.read_text()
    assert "p23.jpg: its archive ends before it does" in notes
    assert "the pictures are in a damaged archive (its end is missing)" in notes
