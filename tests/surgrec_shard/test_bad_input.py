"""Bad input is refused in one sentence, or skipped with a reason. No good video is lost."""

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.support.tool import (
    QUICK,
    build_folder,
    digests,
    ffprobe,
    read_report,
    refusal,
    run_here,
    run_tool,
    write_csv,
)
from tests.support.videos import make_video

SOURCE = ("--source", "lap", "--domain", "laparoscopy")
REASONS = {
    "audio.mp4": "no_video",
    "concat.mp4": "unreadable",
    "cut.mp4": "truncated",
    "cut-faststart.mp4": "truncated",
    "empty.mp4": "empty",
    "folder.mp4": "unreadable",
    "good.mp4": "packed",
    "missing.mp4": "missing",
    "pipe.mp4": "unreadable",
    "playlist.mp4": "unreadable",
    "same.mp4": "duplicate",
    "short.mp4": "too_short",
    "text.mp4": "unreadable",
    "unnamed": "packed",
    "zeros.mp4": "unreadable",
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two good videos and many bad files named like videos, with a manifest."""
    folder = tmp_path_factory.mktemp("mixed")
    good = make_video(folder / "good.mp4", seconds=4)
    make_video(folder / "other.mp4", seconds=4, pattern="testsrc").rename(folder / "unnamed")
    make_video(folder / "short.mp4", seconds=0.8)
    make_video(
        folder / "audio.mp4",
        inputs=("-f", "lavfi", "-t", "4", "-i", "sine"),
        arguments=("-map", "1"),
    )
    long = make_video(folder / "long.mp4", seconds=12)
    assert b"moov" in long.read_bytes()[-20_000:]
    (folder / "cut.mp4").write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    fast = make_video(folder / "fast.mp4", seconds=12, arguments=("-movflags", "faststart"))
    (folder / "cut-faststart.mp4").write_bytes(fast.read_bytes()[: fast.stat().st_size // 2])
    long.unlink()
    fast.unlink()
    (folder / "same.mp4").write_bytes(good.read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "zeros.mp4").write_bytes(bytes(5000))
    (folder / "text.mp4").write_text("This is not a video.\n")
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")  # reading it would never end
    (folder / "playlist.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{folder}/pipe.mp4\n#EXT-X-ENDLIST\n"
    )
    (folder / "concat.mp4").write_text("ffconcat version 1.0\nfile pipe.mp4\n")
    rows = [
        {
            "path": name,
            "source": "lap",
            "domain": "laparoscopy",
            "case": f"case of {name}",
            "split": "train",
        }
        for name in REASONS
    ]
    write_csv(folder / "videos.csv", rows)
    return folder


def test_good_videos_are_kept_and_bad_ones_listed_with_their_reasons(
    mixed: Path, tmp_path: Path
) -> None:
    built = run_tool(
        "build", "--manifest", mixed / "videos.csv", "--out", tmp_path / "corpus", *QUICK
    )
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: row["status"] for name, row in report.items()} == REASONS
    for name, row in report.items():
        if row["status"] != "packed":
            assert row["detail"], name
            assert f"{mixed / name}: {row['detail']}" in built.stderr
    assert all(
        "copy the file again" in report[name]["detail"] for name in ("cut.mp4", "cut-faststart.mp4")
    )
    assert "cannot read the file as a video" in report["text.mp4"]["detail"]
    assert "Traceback" not in built.stderr
    index = parquet.read_table(tmp_path / "corpus" / "lap" / "index.parquet").to_pydict()
    kept = {report[name]["corpus_video"] for name in ("good.mp4", "unnamed")}
    assert set(index["video"]) == kept
    assert len(index["key"]) == 4
    dropped = parquet.read_table(tmp_path / "corpus" / "lap" / "dropped.parquet").to_pylist()
    assert sorted(row["reason"] for row in dropped) == sorted(
        reason
        for name, reason in REASONS.items()
        if report[name]["corpus_video"] and reason not in ("packed", "missing")
    )


@pytest.mark.parametrize("name", ["playlist.mp4", "concat.mp4"])
def test_the_playlists_of_this_test_are_real_traps(mixed: Path, name: str) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["ffprobe", "-v", "quiet", str(mixed / name)], timeout=0.8, check=False)


def test_a_folder_of_bad_videos_alone_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv"):
        (folder / name).write_text(name)
    run = run_here("build", "--videos", folder, *SOURCE, "--out", tmp_path / "corpus")
    assert "none of 2 videos can be used" in refusal(run)
    assert read_report(tmp_path / "corpus.private").keys() == {"a.mp4", "b.mkv"}
    assert not digests(tmp_path / "corpus")


def test_a_damaged_place_that_the_decoder_skips_is_reported(tmp_path: Path) -> None:
    video = make_video(
        tmp_path / "videos" / "one.mkv", seconds=4, rate=25, arguments=("-c:v", "mpeg4")
    )
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    video.write_bytes(data)
    make_video(tmp_path / "videos" / "two.mkv", seconds=4, rate=25)
    built = run_here(
        "build", "--videos", tmp_path / "videos", *SOURCE, "--out", tmp_path / "corpus", *QUICK
    )
    assert built.returncode == 0, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert int(report["one.mkv"]["damaged_places"]) > 0
    assert report["two.mkv"]["damaged_places"] == "0"


ODD = {
    **{"theora.ogg": "libtheora", "vp8.ivf": "libvpx", "pictures.mjpeg": "mjpeg"},
    **{"book.m4b": "libx264", "raw.y4m": "wrapped_avframe", "joined.nut": "mpeg4"},
    **{"av1.obu": "libaom-av1"},
}


def test_a_folder_is_packed_or_told_file_by_file(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name, codec in ODD.items():
        arguments = ("-c:v", codec, *(("-cpu-used", "8") if codec == "libaom-av1" else ()))
        make_video(videos / name, seconds=4, rate=25, arguments=arguments)
    (videos / "notes.txt").write_text("notes")
    (videos / "data.bin").write_bytes(bytes(range(256)))
    built = run_here("build", "--videos", videos, *SOURCE, "--out", tmp_path / "corpus", *QUICK)
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: row["status"] for name, row in report.items()} == {
        **dict.fromkeys(ODD, "packed"),
        "data.bin": "unknown",
        "*.txt": "other_kind",
    }
    assert "no videos, by content: 1 .txt" in built.stderr
    index = parquet.read_table(tmp_path / "corpus/lap/index.parquet").to_pylist()
    lengths = {name: 0.0 for name in ODD}
    for row in index:
        name = next(name for name in ODD if report[name]["corpus_video"] == row["video"])
        lengths[name] += row["duration_s"]
    assert lengths == pytest.approx(dict.fromkeys(ODD, 4.0), abs=0.2)


def test_a_container_with_the_wrong_suffix_is_read(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.avi", seconds=4, arguments=("-c:v", "mpeg4")).rename(
        tmp_path / "videos" / "one.mp4"
    )
    built = run_here(
        "build", "--videos", tmp_path / "videos", *SOURCE, "--out", tmp_path / "corpus", *QUICK
    )
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--videos", "empty", *SOURCE), 1, "empty and its subfolders contain no video file"),
        (("--videos", "nowhere", *SOURCE), 1, "nowhere is not a folder"),
        (
            ("--videos", "empty", "--source", "lap"),
            1,
            "--videos needs --source NAME and --domain NAME",
        ),
        (
            ("--videos", "empty", *SOURCE, "--ignore_columns", "[x]"),
            1,
            "--ignore_columns needs --manifest",
        ),
        ((), 1, "give one of --manifest FILE, --videos FOLDER and --video_list FILE"),
        (("--manifest", "m.csv", "--videos", "empty"), 1, "give one of --manifest"),
        (
            ("--manifest", "m.csv", "--source", "lap"),
            1,
            "--source cannot be used here: with",
        ),
        (("--manifest", "nowhere.csv"), 1, "nowhere.csv does not exist"),
        (
            ("--manifest", "unknown.csv"),
            1,
            "unknown column 'surgeon' (did you mean 'source'?); rename it",
        ),
        (("--manifest", "m.csv", "--worker", "2"), 2, "did you mean '--workers'?"),
        (
            ("--manifest", "m.csv", "--encode.short_side", "128"),
            2,
            "did you mean '--encode.short_side_px'?",
        ),
        (("--manifest", "m.csv", "--encode.crf", "60"), 2, "crf is 60"),
        (("--manifest", "m.csv", "--workers", "-2"), 2, "workers is -2"),
        (("--manifest", "m.csv", "--out", "gs://bucket/corpus"), 1, "gs://bucket/corpus"),
    ],
)
def test_a_command_that_cannot_work_is_refused_in_one_sentence(
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.csv").write_text(
        "path,source,domain,case,split\na.mp4,lap,laparoscopy,one,train\n"
    )
    (tmp_path / "unknown.csv").write_text(
        "path,source,domain,case,split,surgeon\na.mp4,lap,laparoscopy,one,train,Y\n"
    )
    run = run_here("build", "--out", "corpus", *arguments)
    assert sentence in refusal(run, status)
    assert not (tmp_path / "corpus").exists()


def test_without_ffmpeg_the_build_says_what_to_install(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    run = run_tool(
        *("build", "--videos", tmp_path / "videos", *SOURCE, "--out", tmp_path / "corpus"),
        env={"PATH": "/nowhere"},
    )
    assert "ffmpeg is not installed; install ffmpeg" in refusal(run)


def test_metadata_of_the_manifest_reaches_the_clips(tmp_path: Path) -> None:
    make_video(tmp_path / "one.mp4", seconds=4)
    (tmp_path / "labels.csv").write_text(
        "task,start_s,end_s,value\nphase,0,3,access\nphase,3,5,closure\n"
    )
    (tmp_path / "videos.csv").write_text(
        "path;source;domain;case;split;procedure;view;license;labels;public;surgeon\n"
        "one.mp4;lap;laparoscopy;Case 7;val;nephrectomy;left;CC-BY-4.0;labels.csv;true;Dr. Who\n"
    )
    build = (
        "build",
        "--manifest",
        tmp_path / "videos.csv",
        "--ignore_columns",
        "[surgeon]",
        *QUICK,
    )
    assert run_here(*build, "--out", tmp_path / "corpus").returncode == 0
    rows = parquet.read_table(tmp_path / "corpus" / "lap" / "index.parquet").to_pylist()
    metadata = {
        "case": "Case 7",
        "split": "val",
        "procedure": "nephrectomy",
        "view": "left",
        "license": "CC-BY-4.0",
    }
    assert [{name: row[name] for name in metadata} for row in rows] == [metadata, metadata]
    labels = parquet.read_table(tmp_path / "corpus" / "lap" / "labels.parquet").to_pylist()
    assert [(row["start_s"], row["end_s"], row["value"]) for row in labels] == [
        (0.0, 3.0, "access"),
        (3.0, 4.0, "closure"),  # up to the end of the video
    ]
    assert {row["case"] for row in labels} == {"Case 7"}
    (shard,) = (tmp_path / "corpus" / "lap").glob("lap-val-*.tar")
    assert b"Who" not in shard.read_bytes()


def test_case_from_finds_the_case_in_the_path(tmp_path: Path) -> None:
    for name in ("p1/a.mp4", "p1/b.mp4", "p2/a.mp4"):
        make_video(
            tmp_path / "videos" / name, seconds=2, size=f"{64 + 2 * ord(name[1])}x{ord(name[3])}"
        )
    build = (
        "build",
        "--videos",
        tmp_path / "videos",
        *SOURCE,
        "--case_from",
        "^(p[0-9]+)/",
        *QUICK,
    )
    assert run_here(*build, "--public", "true", "--out", tmp_path / "corpus").returncode == 0
    cases = parquet.read_table(tmp_path / "corpus" / "lap" / "index.parquet")["case"].to_pylist()
    assert sorted(cases) == ["p1", "p1", "p2"]


def test_sources_that_differ_in_case_only_are_refused_over_builds(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", seconds=2)
    build = ("build", "--videos", tmp_path / "videos", "--out", tmp_path / "corpus", *QUICK)
    words = ("--domain", "laparoscopy", "--source")
    assert run_here(*build, *words, "S1").returncode == 0
    assert "has the source 'S1', which differs from 's1' only in upper and lower case" in refusal(
        run_here(*build, *words, "s1")
    )
    assert run_here(*build, *words, "S1").returncode == 0


def test_a_truncated_video_is_recognized_by_its_length(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", seconds=12, arguments=("-movflags", "faststart"))
    assert float(ffprobe(whole, "-show_format")["format"]["duration"]) == pytest.approx(12, abs=0.2)
    (tmp_path / "videos").mkdir()
    for name, share in (("little.mp4", 0.99), ("much.mp4", 0.5)):
        (tmp_path / "videos" / name).write_bytes(
            whole.read_bytes()[: int(whole.stat().st_size * share)]
        )
    built = run_here(
        "build", "--videos", tmp_path / "videos", *SOURCE, "--out", tmp_path / "corpus", *QUICK
    )
    assert built.returncode == 3, built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert report["much.mp4"]["status"] == "truncated"
    assert report["little.mp4"]["status"] == "packed"


def test_what_a_folder_search_leaves_out_is_told_everywhere(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    make_video(videos / "good.mp4", seconds=2)
    make_video(videos / "without-suffix", seconds=2, pattern="testsrc", arguments=("-f", "mpegts"))
    (videos / "case07").symlink_to(tmp_path / "unmounted")
    build = (*build_folder(videos), *QUICK, "--out", tmp_path / "corpus")
    built = run_here(*build)
    assert built.returncode == 3
    assert f"skipped {videos}/case07: the link leads to nothing" in built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert {name: row["status"] for name, row in report.items()} == {
        "good.mp4": "packed",
        "without-suffix": "packed",
        "case07": "missing",
    }
    assert run_here(*build).returncode == 3, "it is told again"

    # The folder comes back: its videos are taken.
    make_video(tmp_path / "unmounted" / "late.mp4", seconds=2, pattern="mandelbrot")
    built = run_here(*build)
    assert built.returncode == 0, built.stderr
    assert read_report(tmp_path / "corpus.private")["late.mp4"]["status"] == "packed"


def test_cases_and_videos_may_have_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"M\xfcller")
    make_video(tmp_path / "videos" / name / "op.mp4", seconds=2)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--case_from", "^([^/]+)/")
    for public in ("false", "true"):
        out = ("--out", tmp_path / public, "--public", public)
        assert run_here(*build, *out).returncode == 0
    table = parquet.read_table(tmp_path / "true" / "lap" / "index.parquet")
    assert table["case"].to_pylist() == ["M\\xfcller"]


def test_nul_bytes_in_a_manifest_are_named(tmp_path: Path) -> None:
    manifest = tmp_path / "videos.csv"
    manifest.write_bytes(b"path,source,domain,case,split\na\0.mp4,lap,open,,train\n")
    sentence = refusal(run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus"))
    assert f"{manifest}, line 2: the file has NUL bytes" in sentence


def test_a_header_of_a_list_of_videos_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label\nop1/a.mp4,3\n")
    words = ("--source", "lap", "--domain", "laparoscopy", "--case_from", "^(op.)/")
    run = run_here("build", "--video_list", tmp_path / "list.csv", "--out", tmp_path / "c", *words)
    assert "line 1: 'path,label' looks like a header" in refusal(run)
