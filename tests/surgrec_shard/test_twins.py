"""Copies of a video in another quality are told, and kept."""

from pathlib import Path

import pytest

from tests.support.tool import QUICK, build_folder, run_here
from tests.support.videos import make_video


@pytest.mark.slow
def test_copies_of_other_quality_are_told_and_kept(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name, seconds, size, rate in (
        ("op1_HD.mp4", 4, "192x128", 10),
        ("op1-sd.avi", 4, "96x64", 10),
        ("HD/op2.mp4", 3, "192x128", 10),
        ("SD/op2.mp4", 3, "96x64", 10),
        ("op3_1080p.mp4", 3, "192x128", 12),
        ("op3_540p.mp4", 5, "96x64", 12),
        ("op4_left.mp4", 3, "96x64", 14),
        ("op4_right.mp4", 3, "128x64", 14),
    ):
        make_video(videos / name, seconds=float(seconds), size=size, rate=rate)

    built = run_here(*build_folder(videos), "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 0, built.stderr
    assert "4 videos may be copies of each other, by name and length" in built.stderr
    (path,) = (tmp_path / "corpus.private").glob("videos-*.csv")
    told = {}
    for line in path.read_text().splitlines()[1:]:
        name = str(Path(line.split(",")[0]).relative_to(videos))
        told[name] = line.partition("twin ")[2][:1]
        assert ",packed," in line
    assert told["op1_HD.mp4"] == told["op1-sd.avi"] != ""
    assert told["HD/op2.mp4"] == told["SD/op2.mp4"] not in ("", told["op1_HD.mp4"])
    assert [name for name, number in told.items() if not number] == [
        "op3_1080p.mp4",
        "op3_540p.mp4",
        "op4_left.mp4",
        "op4_right.mp4",
    ]
