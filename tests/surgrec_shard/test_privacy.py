"""A corpus contains nothing that could identify a patient."""

import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import surgrec_shard.video_tasks
from surgrec_shard.private import PrivateFolder

from surgrec.errors import StorageError
from surgrec.storage import open_store
from tests.support.tool import (
    QUICK,
    build_folder,
    ffmpeg,
    ffprobe,
    refusal,
    run_here,
    run_tool,
    write_csv,
)
from tests.support.videos import make_video
from tests.surgrec_shard.conftest import everything

PATIENT = "Anna-Musterfrau-1962"
TITLE, TRACK, SUBTITLE, CHAPTER = (
    "title-of-patient-4711",
    "track-of-patient-4712",
    "subtitle-4713",
    "chapter-4714",
)
CAPTION = b"PATIENT-0815"
TIMECODE = "01:02:03:04"


@pytest.fixture(scope="module")
def revealing_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a video with the patient's name in every field of its container and codec."""
    folder = tmp_path_factory.mktemp(PATIENT)
    silent = make_video(
        folder / "silent.h264", seconds=6, rate=25, arguments=("-bf", "0", "-c:v", "libx264")
    )
    captioned = folder / "captioned.h264"
    captioned.write_bytes(with_captions(silent.read_bytes()))
    (folder / "words.srt").write_text(f"1\n00:00:00,000 --> 00:00:05,000\n{SUBTITLE}\n")
    (folder / "words.txt").write_text(
        f";FFMETADATA1\ntitle={TITLE}\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=5\ntitle={CHAPTER}\n"
    )
    video = folder / f"{PATIENT}.mp4"
    ffmpeg(
        *("-framerate", 25, "-i", captioned, "-f", "lavfi", "-t", 6, "-i", "anoisesrc=seed=1"),
        *(
            "-i",
            folder / "words.srt",
            "-i",
            folder / "words.txt",
            "-map",
            0,
            "-map",
            1,
            "-map",
            2,
            "-map_metadata",
            3,
        ),
        *(
            "-map_chapters",
            3,
            "-metadata:s:v",
            f"title={TRACK}",
            "-metadata:s:v",
            f"handler_name={TRACK}",
        ),
        *("-timecode", TIMECODE, "-c:v", "copy", "-c:a", "aac", "-c:s", "mov_text", video),
    )
    return video


@pytest.fixture(scope="module")
def built(revealing_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a corpus and private folder built from that and a damaged video."""
    folder = tmp_path_factory.mktemp("built")
    (revealing_video.parent / f"broken-{PATIENT}.mp4").write_text("no video")
    rows = [
        {"path": path, "source": "lap", "domain": "laparoscopy", "case": PATIENT, "split": "train"}
        for path in sorted(revealing_video.parent.glob("*.mp4"))
    ]
    manifest = write_csv(revealing_video.parent / "videos.csv", rows)
    build = ("build", "--manifest", manifest, *QUICK, "--private", folder / "private")
    run = run_tool(*build, "--out", folder / "corpus")
    assert run.returncode == 3, run.stderr
    assert run_tool(*build, "--public", "true", "--out", folder / "public").returncode == 3
    return folder


def test_nothing_that_names_the_patient_is_in_the_corpus(
    revealing_video: Path, built: Path
) -> None:
    sound = packets(revealing_video, "a:0")
    words = [
        PATIENT,
        TITLE,
        TRACK,
        SUBTITLE,
        CHAPTER,
        str(built),
        str(revealing_video.parent),
        "broken",
        "silent",
    ]
    needles = [encode for word in words for encode in spellings(word)] + [b"GA94", *sound]
    original = revealing_video.read_bytes()
    hidden = [TITLE.encode(), TRACK.encode(), SUBTITLE.encode(), CHAPTER.encode(), b"GA94", *sound]
    assert all(needle in original for needle in hidden), "the video contains all of it"
    assert CAPTION in captions(original)
    assert {stream["codec_type"] for stream in streams(revealing_video)} == {
        "video",
        "audio",
        "subtitle",
        "data",
    }

    content = everything(built / "corpus")
    assert len(content) > 10_000
    assert not [needle for needle in needles if needle in content]
    assert not [
        needle for needle in needles if needle.lower() in content.lower() and needle.isascii()
    ]


def test_the_stored_clips_have_a_video_stream_and_nothing_else(built: Path, tmp_path: Path) -> None:
    clips = unpack(built / "corpus", tmp_path)
    assert len(clips) == 3
    for clip in clips:
        (stream,) = streams(clip)
        assert stream["codec_type"] == "video"
        assert stream.get("tags", {}).get("timecode") is None
        assert captions(clip.read_bytes()) == b""
        output = ffprobe(clip, "-show_chapters", "-show_format")
        assert not output["chapters"]
        assert set(output["format"]["tags"]) == {
            "major_brand",
            "minor_version",
            "compatible_brands",
        }


def test_the_case_appears_only_where_the_source_is_public(built: Path) -> None:
    assert PATIENT.encode() in everything(built / "public")
    pseudonym = set(
        parquet.read_table(built / "corpus" / "lap" / "index.parquet")["case"].to_pylist()
    )
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in pseudonym)
    assert set(
        parquet.read_table(built / "public" / "lap" / "index.parquet")["case"].to_pylist()
    ) == {PATIENT}


def test_a_failed_video_is_counted_but_not_named(built: Path) -> None:
    dropped = parquet.read_table(built / "corpus" / "lap" / "dropped.parquet").to_pylist()
    assert [row["reason"] for row in dropped] == ["unreadable"]
    assert re.fullmatch("[0-9a-f]{12}", dropped[0]["video"])
    assert PATIENT in (built / "private" / "videos-lap.csv").read_text(), (
        "the private list names it"
    )


def test_only_its_owner_can_open_the_private_folder(built: Path) -> None:
    assert stat.S_IMODE((built / "private").stat().st_mode) == 0o700
    assert stat.S_IMODE((built / "private" / "key").stat().st_mode) == 0o600


def test_files_that_show_paths_stay_in_the_private_folder(
    revealing_video: Path, tmp_path: Path
) -> None:
    build = (
        "build",
        "--manifest",
        revealing_video.parent / "videos.csv",
        *QUICK,
        "--out",
        tmp_path / "corpus",
    )
    assert (
        run_here(*build, "--private", tmp_path / "private", "--work", tmp_path / "work").returncode
        == 3
    )
    assert PATIENT.encode() in everything(tmp_path / "private")
    assert PATIENT.encode() not in everything(tmp_path / "work")


def test_private_folders_inside_the_corpus_or_among_the_videos_are_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    build = (
        *build_folder(tmp_path / "videos"),
        *QUICK,
    )
    out = tmp_path / "corpus"
    for flag in ("--private", "--work"):
        folder = out / "inside"
        sentence = refusal(run_here(*build, "--out", out, flag, folder))
        assert f"{flag} {folder} lies inside the corpus {out}" in sentence
    assert "lies inside --videos" in refusal(
        run_here(*build, "--out", tmp_path / "videos" / "corpus")
    )
    assert not out.exists()


def test_a_damaged_key_is_refused_rather_than_replaced(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    private = tmp_path / "private"
    private.mkdir()
    for damage in ("", "abc", "not a key", "é" * 64):
        (private / "key").write_text(damage)
        (private / "key").chmod(0o600)
        private.chmod(0o700)
        build = (
            *build_folder(tmp_path / "videos"),
            *QUICK,
        )
        sentence = refusal(run_here(*build, "--out", tmp_path / "corpus", "--private", private))
        assert f"{private / 'key'} does not contain a key" in sentence
        assert (private / "key").read_text() == damage


def test_a_private_folder_that_others_can_open_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "key").write_text("ab" * 32)
    (private / "key").chmod(0o600)
    private.chmod(0o777)
    sentence = refusal(run_here(*a_build(tmp_path), "--private", private))
    assert f"{private} is open to other users (mode 0777)" in sentence
    assert f"run: chmod -R go= {private}" in sentence

    # The remedy works, unless a file in it belongs to another user.
    private.chmod(0o700)
    PrivateFolder(private)
    (private / "key").chmod(0o644)
    with pytest.raises(StorageError, match=f"{private}/key is open to other users"):
        PrivateFolder(private)


def test_an_empty_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o755)
    PrivateFolder(tmp_path / "private")
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another user needs root")
def test_a_private_folder_or_key_of_another_user_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private"
    PrivateFolder(private)
    for path in (private, private / "key"):
        os.chown(path, 65534, 65534)
        with pytest.raises(StorageError, match=f"{path} belongs to nobody, but this process runs"):
            PrivateFolder(private)
        os.chown(path, 0, 0)
    PrivateFolder(private)

    # A link of this user is fine: the folder may be on another disk.
    (tmp_path / "link").symlink_to(private)
    assert PrivateFolder(tmp_path / "link").case_name("s", "c") == PrivateFolder(private).case_name(
        "s", "c"
    )
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(StorageError, match="belongs to nobody"):
        PrivateFolder(tmp_path / "link")


@pytest.mark.parametrize("name", ["key", "key.partial", "hashes.jsonl", "videos-lap.partial"])
def test_links_in_a_private_folder_are_not_followed(name: str, tmp_path: Path) -> None:
    private, victim = tmp_path / "private", tmp_path / "victim"
    private.mkdir(mode=0o700)
    victim.write_text("ab" * 32)
    victim.chmod(0o600)
    (private / name).symlink_to(victim)
    built = run_here(*a_build(tmp_path), "--private", private)
    assert victim.read_text() == "ab" * 32
    if name != "key.partial":  # removed before it is written
        assert f"{private / name} is a link or not a regular file; remove it" in refusal(built)


def test_a_pipe_in_place_of_the_key_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "private" / "key", 0o600)
    with pytest.raises(StorageError, match="key is a link or not a regular file"):
        PrivateFolder(tmp_path / "private")


def test_unfinished_clips_are_closed_to_other_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    pack_group = surgrec_shard.video_tasks.pack_group

    def look(*arguments: Any, **options: Any) -> Any:
        for path in (tmp_path / "work").glob("*/videos/*/*/*.mp4"):
            folders = (tmp_path / "work", path.parents[3])
            seen.append(all(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in folders))
        return pack_group(*arguments, **options)

    monkeypatch.setattr("surgrec_shard.video_tasks.pack_group", look)
    assert run_here(*a_build(tmp_path), "--work", tmp_path / "work").returncode == 0
    assert seen
    assert all(seen)


def test_a_shared_work_folder_is_left_as_it_is_and_used_by_two_keys(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o1777)
    folders = {PrivateFolder(tmp_path / name).folder_in(work) for name in ("a", "b")}
    assert len(folders) == 2
    assert stat.S_IMODE(work.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            "/unmounted/scratch",
            "is a link to /unmounted/scratch, where no folder is; mount or create",
        ),
        ("work", "is a link to work, where no folder is"),
        (None, "is not a folder; move it away"),
    ],
)
def test_a_folder_whose_place_is_taken_is_refused_by_its_cause(
    tmp_path: Path, target: str | None, words: str
) -> None:
    private = PrivateFolder(tmp_path / "private")
    place = tmp_path / "work"
    if target is None:
        place.write_text("x", encoding="utf-8")
    else:
        place.symlink_to(target)
    makers: list[Callable[[], object]] = [
        lambda: private.folder_in(place),
        lambda: private.folder_in(place / "inner"),
        lambda: PrivateFolder(place),
        lambda: PrivateFolder(place / "inner"),
        lambda: open_store(str(place)).write("a", b"a"),
        lambda: open_store(str(place / "inner")).write("a", b"a"),
    ]
    for make in makers:
        with pytest.raises(StorageError) as refused:
            make()
        assert f"{place} {words}" in str(refused.value)


def test_no_list_of_processes_shows_a_path_of_a_video(tmp_path: Path) -> None:
    for name in ("ffmpeg", "ffprobe"):
        spy = tmp_path / "bin" / name
        spy.parent.mkdir(exist_ok=True)
        spy.write_text(
            f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/seen\nexec {shutil.which(name)} "$@"\n'
        )
        spy.chmod(0o755)
    make_video(tmp_path / PATIENT / f"{PATIENT}.mp4", seconds=2)
    (tmp_path / PATIENT / "damaged.mp4").write_bytes(b"no video")
    built = run_tool(
        *(*build_folder(tmp_path / PATIENT), *QUICK, "--out", tmp_path / "corpus"),
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    )
    assert built.returncode == 3, built.stderr
    seen = (tmp_path / "seen").read_text()
    assert "/proc/self/fd/" in seen
    assert PATIENT not in seen


def a_build(folder: Path) -> tuple[object, ...]:
    """Return the words that build one small video into `folder/corpus`."""
    if not (folder / "videos").exists():
        make_video(folder / "videos" / "one.mp4", seconds=2)
    return (*build_folder(folder / "videos"), *QUICK, "--out", folder / "corpus")


def spellings(word: str) -> list[bytes]:
    """Return a word in the encodings that containers use."""
    return [word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be")]


def unpack(corpus: Path, folder: Path) -> list[Path]:
    """Write the mp4 files of a corpus to a folder."""
    for shard in corpus.rglob("*.tar"):
        with tarfile.open(shard) as tar:
            tar.extractall(folder, filter="data")
    return sorted(folder.glob("*.mp4"))


def streams(path: Path) -> list[dict[str, str]]:
    streams: list[dict[str, str]] = ffprobe(path, "-show_streams")["streams"]
    return streams


def packets(path: Path, stream: str) -> list[bytes]:
    """Return the bytes of some packets of a stream, at the positions that ffprobe reports."""
    packets = ffprobe(path, "-select_streams", stream, "-show_entries", "packet=pos,size")[
        "packets"
    ]
    data = path.read_bytes()
    cut = [data[int(packet["pos"]) :][: int(packet["size"])][8:40] for packet in packets[5:100:10]]
    assert len(cut) > 5
    assert all(len(part) == 32 for part in cut)
    return cut


def with_captions(stream: bytes) -> bytes:
    """Return an H.264 byte stream with CEA-608 captions before each picture, as from broadcast.

    Source: ATSC A/53 part 4, section 6.2.3; ITU-T H.264, annex D.
    """
    units = [unit for unit in re.split(rb"\x00\x00\x00?\x01", stream) if unit]
    out, shown = b"", 0
    for unit in units:
        if unit[0] & 31 in (1, 5):
            pair = CAPTION[2 * shown % len(CAPTION) :][:2]
            words = b"\xfc" + pair
            payload = b"\xb5\x00\x31GA94\x03\x41\xff" + words + b"\xff"
            out += b"\x00\x00\x00\x01\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
            shown += 1
        out += b"\x00\x00\x00\x01" + unit
    return out


def captions(data: bytes) -> bytes:
    """Return the text of all captions in a file."""
    return b"".join(re.findall(rb"GA94\x03.\xff\xfc(..)", data, re.DOTALL))
