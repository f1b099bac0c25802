"""A folder of pictures becomes clips as a video of them would."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from tests.support.tool import QUICK, ffmpeg, read_report, run_here, write_csv


def make_pictures(folder: Path, seconds: int, rate: int = 8, kind: str = "jpg") -> Path:
    """Write pictures `p0.jpg`, `p1.jpg`, ... with distinct content."""
    folder.mkdir(parents=True)
    source = ("-f", "lavfi", "-i", f"testsrc2=size=96x64:rate={rate}:duration={seconds}")
    ffmpeg(*source, "-q:v", 2, "-start_number", 0, folder / f"p%d.{kind}")
    return folder


def row(path: str, **values: str) -> dict[str, str]:
    plain = {"source": "lap", "domain": "laparoscopy", "case": path, "split": "train", "fps": ""}
    return {"path": path, **plain, **values}


def clips_of(corpus: Path, name: str) -> list[dict[str, Any]]:
    video = read_report(corpus.with_name(f"{corpus.name}.private"))[name]["corpus_video"]
    rows = parquet.read_table(corpus / "lap" / "index.parquet").to_pylist()
    return sorted(
        (row for row in rows if row["video"] == video), key=lambda clip: float(clip["start_s"])
    )


def test_a_manifest_lists_folders_of_pictures_beside_videos(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "frames", seconds=6)
    for number in range(16, 33):
        (folder / f"p{number}.jpg").unlink()
    (folder / "p44.jpg").write_bytes(b"")
    ffmpeg("-framerate", 8, "-i", folder / "p%d.jpg", "-c", "copy", tmp_path / "video.mkv")
    manifest = write_csv(tmp_path / "m.csv", [row("frames", fps="8"), row("video.mkv")])
    corpus = tmp_path / "corpus"

    built = run_here("build", "--manifest", manifest, "--out", corpus, *QUICK)
    assert built.returncode == 0, built.stderr
    clips = clips_of(corpus, "frames")
    assert [(clip["start_s"], clip["duration_s"]) for clip in clips] == [(0, 2), (4.125, 1.875)]
    (of_video,) = clips_of(corpus, "video.mkv")
    assert clips[0]["native_fps"] == of_video["native_fps"] == 8
    dropped = parquet.read_table(corpus / "lap" / "dropped.parquet").to_pylist()
    assert [(each["start_s"], each["end_s"], each["reason"]) for each in dropped] == [
        (2, 4.125, "gap")
    ]
    notes = read_report(tmp_path / "corpus.private")["frames"]["notes"]
    assert "17 pictures missing, by the numbers (15 to 33)" in notes
    assert "1 picture left out (p44.jpg: the file is empty)" in notes

    # The same folder again costs nothing; another rate is another video.
    again = run_here("build", "--manifest", manifest, "--out", corpus, *QUICK)
    assert "0 videos encoded" in again.stderr
    write_csv(manifest, [row("frames", fps="4"), row("video.mkv")])
    other = run_here("build", "--manifest", manifest, "--out", corpus, *QUICK)
    assert "other bytes now" in other.stderr


def test_a_folder_without_a_rate_is_left_out_with_the_remedy(tmp_path: Path) -> None:
    make_pictures(tmp_path / "frames", seconds=2)
    make_pictures(tmp_path / "good", seconds=2)
    (tmp_path / "empty").mkdir()
    rows = [row("frames"), row("good", fps="8"), row("good/p0.jpg", fps="8"), row("empty", fps="8")]
    manifest = write_csv(tmp_path / "m.csv", rows)

    built = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert report["good"]["status"] == "packed"
    assert "give the rate in the column fps" in report["frames"]["detail"]
    assert "it is not a folder of pictures" in report["p0.jpg"]["detail"]
    assert "has no jpg, png or bmp pictures" in report["empty"]["detail"]


@pytest.mark.parametrize("fps", ["fast", "0", "-1", "nan", "1e9", "1/0"])
def test_a_rate_of_pictures_is_a_positive_number(fps: str, tmp_path: Path) -> None:
    manifest = write_csv(tmp_path / "m.csv", [row("frames", fps=fps)])
    built = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 1
    assert f"m.csv, line 2: fps is {fps!r}; give the rate of a folder of pictures" in built.stderr


FOLDER = ("--source", "lap", "--domain", "laparoscopy", *QUICK)


def test_each_folder_of_pictures_is_a_video(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    make_pictures(videos / "c1" / "left", seconds=2)
    make_pictures(videos / "c1" / "right", seconds=3)
    make_pictures(videos / "c2" / "trash", seconds=4)
    for name in ("notes.txt", "other.mp4", "c1/left/thumb.png"):
        (videos / name).write_bytes((videos / "c1" / "left" / "p0.jpg").read_bytes())

    words = ("--frame_fps", 8, "--exclude", "['trash', 'thumb.png']")
    names = ("--case_from", "^([^/]+)/", "--view_from", "/(left|right)$")
    out = ("--out", tmp_path / "corpus")
    built = run_here("build", "--videos", videos, *words, *names, *out, *FOLDER)
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: row["status"] for name, row in report.items()} == {
        "left": "packed",
        "right": "packed",
        "other.mp4": "no_picture",
        "trash": "excluded",
        "thumb.png": "excluded",
        "*.txt": "other_kind",
    }
    assert report["*.txt"]["detail"] == "1 file .txt, by content no picture"
    assert report["trash"]["detail"] == "32 files that --exclude 'trash' matches: 32 .jpg"
    assert "no pictures: 1 .txt" in built.stderr
    rows = parquet.read_table(tmp_path / "corpus" / "lap" / "index.parquet").to_pylist()
    assert {(row["view"], row["duration_s"]) for row in rows} == {
        ("left", 2),
        ("right", 2),
        ("right", 1),
    }
    assert len({row["case"] for row in rows}) == 1

    # On purpose: nothing is missing.
    (videos / "other.mp4").unlink()
    assert run_here("build", "--videos", videos, *words, *names, *out, *FOLDER).returncode == 0


def test_a_flat_dump_is_divided_by_an_expression(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    for name, seconds in (("c1_v1", 2), ("c1_v2", 3), ("c2_v1", 4)):
        for path in make_pictures(tmp_path / name, seconds).iterdir():
            path.rename(dump / f"{name}_{path.stem[1:]}_x2.jpg")
    (dump / "cover.jpg").write_bytes((dump / "c1_v1_0_x2.jpg").read_bytes())

    expression = r"^(?P<case>c\d)_(?P<video>v\d)_(?P<frame>\d+)_x2"
    words = ("--videos", dump, "--frame_fps", 8, "--frames_from", expression)
    built = run_here("build", *words, "--out", tmp_path / "corpus", *FOLDER)
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: (row["case"], row["status"]) for name, row in report.items()} == {
        "c1_v1_0_x2.jpg": ("c1", "packed"),
        "c1_v2_0_x2.jpg": ("c1", "packed"),
        "c2_v1_0_x2.jpg": ("c2", "packed"),
        "cover.jpg": ("", "not_matched"),
    }
    assert "1 picture that frames_from" in report["cover.jpg"]["detail"]
    rows = parquet.read_table(tmp_path / "corpus" / "lap" / "index.parquet").to_pylist()
    assert sorted(row["duration_s"] for row in rows) == [1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frames_from", r"(?P<frame>\d+)"), "--frames_from needs --frame_fps"),
        (("--frame_fps", 8, "--frames_from", r"(?P<case>\d+)"), "no group for the number of a pic"),
        (("--frame_fps", 8, "--frames_from", "(?P<frame>p)"), "finds the number 'p' in f/p0.jpg"),
        (("--frame_fps", 8, "--frames_from", "(?P<frame>x)"), "contain no picture of a video"),
        (("--frame_fps", 0.001), "frame_fps is 0.001; give 0.01 or more"),
        (("--frame_fps", 8, "--include", "*.mp4"), "--include '*.mp4' matches none of 8 files"),
        (("--frame_fps", 8, "--view_from", "(left)"), "view_from '(left)' finds no view in f"),
        (
            (
                "--frame_fps",
                8,
                "--case_from",
                "(f)",
                "--frames_from",
                r"(?P<case>f).*(?P<frame>\d)",
            ),
            "frames_from finds the case already; remove --case_from",
        ),
        ((), "contain no video file (no videos, by content: 8 .jpg)"),
    ],
)
def test_options_of_pictures_that_do_not_fit_are_refused(
    words: tuple[object, ...], message: str, tmp_path: Path
) -> None:
    make_pictures(tmp_path / "videos" / "f", seconds=1)
    built = run_here(
        "build", "--videos", tmp_path / "videos", *words, "--out", tmp_path / "corpus", *FOLDER
    )
    assert built.returncode == 1
    assert message in built.stderr
