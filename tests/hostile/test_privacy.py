"""Hostile privacy: names of patients in every field, and private folders that others prepared."""

import csv
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from surgrec.recordings import find_program
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.logged_runs import make_run
from tests.support.needs import missing
from tests.support.tool import command as shard_command

NAME = "Anna-Canary-1962"
SIZE = ("--encode.short_side_px", "64", "--encode.clip_s", "2", "--encode.min_clip_s", "1")
QUICK = (*SIZE, "--encode.preset", "ultrafast", "--workers", "1")
Make = Callable[[Path], Sequence[object]]
Right = Callable[[Path, Run], None]


# Inputs


def ffmpeg(*words: object) -> None:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def render(path: Path, *output: object, inputs: Sequence[object] = (), size: str = "96x64") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = ("-f", "lavfi", "-t", 2, "-i", f"testsrc2=size={size}:rate=25")
    ffmpeg(*source, *inputs, "-pix_fmt", "yuv420p", "-preset", "ultrafast", *output, path)
    return path


def build(folder: Path, *words: object) -> list[object]:
    where = ("--videos", folder / "videos", "--source", "lap", "--domain", "laparoscopy")
    return ["surgrec-shard", "build", *where, "--out", folder / "corpus", *QUICK, *words]


def tagged(suffix: str, *output: object, size: str = "96x64") -> Make:
    """Make a video with the name in a field of its container."""

    def make(folder: Path) -> Sequence[object]:
        render(folder / "videos" / f"a.{suffix}", *output, size=size)
        return build(folder)

    return make


def edited(change: Callable[[bytes], bytes]) -> Make:
    """Make an mp4 whose bytes are changed."""

    def make(folder: Path) -> Sequence[object]:
        path = render(folder / "videos" / "a.mp4")
        path.write_bytes(change(path.read_bytes()))
        return build(folder)

    return make


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data) + 8, kind) + data


def manifest(folder: Path, row: dict[str, str], *words: object) -> list[object]:
    """Return a build of one video with the name in a row of its manifest."""
    render(folder / "a.mp4")
    row = {"path": "a.mp4", "source": "lap", "domain": "other", "case": "1", "split": "train"} | row
    with (folder / "videos.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerow(row)
    where = ("--manifest", folder / "videos.csv", "--out", folder / "corpus")
    return ["surgrec-shard", "build", *where, *QUICK, *words]


def pictures(kind: str, change: Callable[[bytes], bytes], name: str = "a") -> Make:
    """Make a folder of pictures, each of them with the name in it."""

    def make(folder: Path) -> Sequence[object]:
        frames = folder / name
        frames.mkdir()
        codec = ("-q:v", 2) if kind == "jpg" else ()
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=8:duration=2", *codec,
               frames / f"{name}-%d.{kind}")  # fmt: skip
        for path in frames.iterdir():
            path.write_bytes(change(path.read_bytes()))
        return manifest(folder, {"path": name, "fps": "8"})

    return make


def segment(marker: int, content: bytes) -> Callable[[bytes], bytes]:
    """Add a segment to the beginning of a JPEG."""
    added = struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
    return lambda data: data[:2] + added + data[2:]


def exif(tag: int) -> bytes:
    """EXIF data with the name in one tag."""
    entry = struct.pack(">HHHII", 1, tag, 2, len(NAME) + 1, 26)
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + entry + bytes(4) + NAME.encode() + b"\0"


def chunk(kind: bytes, content: bytes) -> Callable[[bytes], bytes]:
    """Add a chunk behind the header of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    added = struct.pack(">I", len(content)) + kind + content + checksum
    return lambda data: data[:33] + added + data[33:]


def chapters(folder: Path) -> Sequence[object]:
    (folder / "chapters.txt").write_text(
        f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle={NAME}\n"
    )
    words = ("-i", folder / "chapters.txt", "-map_chapters", 1)
    render(folder / "videos" / "a.mp4", inputs=words[:2])
    render(folder / "videos" / "b.mkv", *words[2:], inputs=words[:2])
    return build(folder)


def subtitles(folder: Path) -> Sequence[object]:
    (folder / "words.srt").write_text(f"1\n00:00:00,000 --> 00:00:02,000\n{NAME}\n")
    inputs = ("-i", folder / "words.srt", "-map", 0, "-map", 1)
    render(folder / "videos" / "a.mp4", "-c:s", "mov_text", inputs=inputs)
    return build(folder)


def attachment(folder: Path) -> Sequence[object]:
    (folder / f"{NAME}.txt").write_text(NAME)
    words = ("-attach", folder / f"{NAME}.txt", "-metadata:s:t", "mimetype=text/plain")
    render(folder / "videos" / "a.mkv", *words)
    return build(folder)


def cover(folder: Path) -> Sequence[object]:
    render(folder / "cover.png", "-frames:v", 1)
    inputs = ("-i", folder / "cover.png", "-map", 0, "-map", 1)
    words = ("-disposition:v:1", "attached_pic", "-c:v:1", "copy", "-metadata:s:v:1")
    render(folder / "videos" / "a.mp4", *words, f"title={NAME}", inputs=inputs)
    return build(folder)


def sound(folder: Path) -> Sequence[object]:
    inputs = ("-f", "lavfi", "-t", 2, "-i", "sine", "-metadata:s:a", f"title={NAME}")
    render(folder / "videos" / "a.mp4", inputs=inputs)
    return build(folder)


def labels_file(folder: Path) -> Sequence[object]:
    (folder / f"{NAME}.csv").write_text("task,start_s,end_s,value\nphase,0,1,access\n")
    return manifest(folder, {"labels": f"{NAME}.csv"})


def in_paths(folder: Path) -> Sequence[object]:
    render(folder / NAME / "a.mp4")
    return manifest(folder, {"path": f"{NAME}/a.mp4"}, "--private", folder / f"{NAME}.private")


def failing(folder: Path) -> Sequence[object]:
    render(folder / "videos" / "good.mp4")
    (folder / "videos" / f"{NAME}.mp4").write_text(f"no video of {NAME}")
    return build(folder)


def broken_link(folder: Path) -> Sequence[object]:
    render(folder / "videos" / "good.mp4")
    (folder / "videos" / NAME).symlink_to(folder / "none" / NAME)
    return build(folder)


def spied(folder: Path) -> Sequence[object]:
    for name in ("ffmpeg", "ffprobe"):
        spy = folder / "bin" / name
        spy.parent.mkdir(exist_ok=True)
        real = shutil.which(name)
        spy.write_text(f'#!/bin/sh\necho "$0 $*" >> {folder}/seen\nexec {real} "$@"\n')
        spy.chmod(0o755)
    render(folder / "videos" / NAME / f"{NAME}.mp4")
    os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"  # the test sets it back
    find_program.cache_clear()
    return build(folder)


def script(text: str) -> Make:
    """Make a script that leads to another file, whose name ends in .mp4."""

    def make(folder: Path) -> Sequence[object]:
        render(folder / "secret.mp4", size="128x96")
        render(folder / "videos" / "good.mp4")
        (folder / "videos" / "evil.mp4").write_text(
            text.replace("SECRET", str(folder / "secret.mp4"))
        )
        return build(folder)

    return make


def private(prepare: Callable[[Path], object]) -> Make:
    """Make a build whose private folder another user has prepared."""

    def make(folder: Path) -> Sequence[object]:
        render(folder / "videos" / "a.mp4")
        (folder / "private").mkdir(mode=0o700)
        key = folder / "private" / "key"
        key.write_text("ab" * 32)
        key.chmod(0o600)
        victim = folder / "victim"
        victim.write_text("cd" * 32)
        victim.chmod(0o600)
        prepare(folder / "private")
        return build(folder, "--private", folder / "private")

    return make


def another_users(name: str) -> Callable[[Path], None]:
    def prepare(private: Path) -> None:
        if os.geteuid():
            missing("giving a file to another user needs root")
        path = private / name
        if not path.exists():
            path.write_text("")
            path.chmod(0o600)
        os.chown(path, 65534, 65534)

    return prepare


def linked(name: str) -> Callable[[Path], None]:
    def prepare(private: Path) -> None:
        (private / name).unlink(missing_ok=True)
        (private / name).symlink_to(private.parent / "victim")

    return prepare


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(private: Path) -> None:
        (private / name).unlink(missing_ok=True)
        make(private / name)

    return prepare


def written(name: str, content: bytes) -> Callable[[Path], None]:
    def prepare(private: Path) -> None:
        path = private / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)

    return prepare


def folder_of_another_user(private: Path) -> None:
    another_users("")(private)


def link_of_another_user(private: Path) -> None:
    if os.geteuid():
        missing("giving a link to another user needs root")
    private.rename(private.with_name("real"))
    private.symlink_to(private.with_name("real"))
    os.chown(private, 65534, 65534, follow_symlinks=False)


def a_report(folder: Path) -> Sequence[object]:
    """Make a report of a run on a private corpus whose case and file have the name."""
    (folder / "labels.csv").write_text("task,start_s,end_s,value\nphase,0,1,access\n")
    command = manifest(folder, {"case": NAME, "labels": "labels.csv"})
    subprocess.run(shard_command(*command[1:]), check=True)
    make_run(folder / "run", folder / "corpus", None, steps=3)
    return ["surgrec", "report", folder / "run", "--out", folder / "report.html"]


# Results


def spellings() -> list[bytes]:
    return [NAME.encode(), NAME.encode("utf-16-le"), NAME.encode("utf-16-be")]


def corpus_is_silent(folder: Path, run: Run) -> None:
    """Check that no file of the corpus has the name, and that a clip has one bare stream."""
    tars = 0
    for path in (folder / "corpus").rglob("*"):
        data = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            data.append(path.read_bytes())
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            data.append(repr((table.to_pylist(), table.schema.metadata)).encode())
        if path.suffix == ".tar":
            tars += 1
            check_tar(path)
        assert not any(word in part for part in data for word in spellings()), path
    assert tars, "a clip was packed"


def check_tar(path: Path) -> None:
    with tarfile.open(path) as tar:
        for member in tar:
            assert (member.uid, member.gid, member.mtime, member.mode) == (0, 0, 0, 0o444)
            assert (member.uname, member.gname, member.pax_headers) == ("", "", {})
            if member.name.endswith(".mp4"):
                file = tar.extractfile(member)
                assert file is not None
                kinds = probe(file.read())
                assert kinds == ["video"]


def probe(mp4: bytes) -> list[str]:
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "json", "-"]
    output = subprocess.run(command, input=mp4, capture_output=True, check=True).stdout
    return [stream["codec_type"] for stream in json.loads(output)["streams"]]


def named_in_private_only(folder: Path, run: Run) -> None:
    corpus_is_silent(folder, run)
    assert run.status == 3
    assert NAME in next(folder.rglob("videos-*.csv")).read_text()


def processes_are_silent(folder: Path, run: Run) -> None:
    corpus_is_silent(folder, run)
    find_program.cache_clear()
    seen = (folder / "seen").read_text()
    assert "/proc/self/fd/" in seen
    assert NAME not in seen


def secret_is_left_out(folder: Path, run: Run) -> None:
    assert run.status == 3
    rows = parquet.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist()
    assert {(row["native_width"], row["native_height"]) for row in rows} == {(96, 64)}


def victim_is_untouched(folder: Path, run: Run) -> None:
    assert (folder / "victim").read_text() == "cd" * 32
    corpus_is_silent(folder, run)


def everything_private_is_closed(folder: Path, run: Run) -> None:
    corpus_is_silent(folder, run)
    for path in [folder / "corpus.private", *(folder / "corpus.private").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def report_is_silent(folder: Path, run: Run) -> None:
    page = (folder / "report.html").read_bytes()
    assert not any(word in page for word in spellings())


TITLE = ("-metadata", f"title={NAME}")
KINDS = [
    *(
        Kind(name=f"a name in {place} does not reach the corpus", make=make, right=corpus_is_silent)
        for place, make in {
            "the title of an mp4": tagged("mp4", *TITLE),
            "the comment of an mp4": tagged("mp4", "-metadata", f"comment={NAME}"),
            "the place of an mp4": tagged("mp4", "-metadata", f"location=+48+011/{NAME}"),
            "the track of an mp4": tagged("mp4", "-metadata:s:v", f"handler_name={NAME}"),
            "a QuickTime key": tagged(
                "mov", "-movflags", "use_metadata_tags", "-metadata", f"com.hospital.patient={NAME}"
            ),
            "a reel name": tagged(
                "mov", "-timecode", "01:02:03:04", "-metadata:s:v", f"reel_name={NAME}"
            ),
            "a fragmented mp4": tagged("mp4", "-movflags", "frag_keyframe+empty_moov", *TITLE),
            "the title of an mkv": tagged("mkv", *TITLE),
            "a tag of an mkv stream": tagged("mkv", "-metadata:s:v", f"PATIENT={NAME}"),
            "the information of an avi": tagged("avi", "-c:v", "mpeg4", *TITLE),
            "the description of a wmv": tagged("wmv", *TITLE),
            "the service of a ts": tagged("ts", "-metadata", f"service_name={NAME}"),
            "the provider of a ts": tagged("ts", "-metadata", f"service_provider={NAME}"),
            "the metadata of an flv": tagged("flv", *TITLE),
            "the comments of an ogv": tagged("ogv", "-c:v", "libtheora", *TITLE),
            "a webm": tagged("webm", "-c:v", "libvpx", *TITLE),
            "a 3gp": tagged("3gp", "-c:v", "mpeg4", *TITLE),
            "a nut": tagged("nut", "-c:v", "mpeg4", *TITLE),
            "an mxf": tagged("mxf", "-c:v", "mpeg2video", "-metadata", f"company_name={NAME}"),
            "the user data of H.264": tagged(
                "mp4",
                "-bsf:v",
                f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+{NAME}",
            ),
            "a box behind the video": edited(lambda data: data + box(b"free", NAME.encode())),
            "an XMP box": edited(lambda data: data + box(b"uuid", b"x" * 16 + NAME.encode())),
            "a box in UTF-16": edited(lambda data: data + box(b"skip", NAME.encode("utf-16-le"))),
            "chapters": chapters,
            "subtitles": subtitles,
            "an attachment": attachment,
            "a cover picture": cover,
            "a sound track": sound,
            "the name of the labels": labels_file,
            "paths and the private folder": in_paths,
            "the case": lambda folder: manifest(folder, {"case": NAME}),
            "the artist of a JPEG": pictures("jpg", segment(0xE1, exif(0x13B))),
            "the place of a JPEG": pictures("jpg", segment(0xE1, exif(0x1B))),
            "the comment of a JPEG": pictures("jpg", segment(0xFE, NAME.encode())),
            "the color profile of a JPEG": pictures(
                "jpg", segment(0xE2, b"ICC_PROFILE\0\1\1" + NAME.encode())
            ),
            "XMP of a JPEG": pictures(
                "jpg", segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NAME.encode())
            ),
            "bytes behind a JPEG": pictures("jpg", lambda data: data + NAME.encode()),
            "a text of a PNG": pictures("png", chunk(b"tEXt", b"Patient\0" + NAME.encode())),
            "EXIF of a PNG": pictures("png", chunk(b"eXIf", exif(0x13B)[6:])),
            "bytes behind a BMP": pictures("bmp", lambda data: data + NAME.encode()),
            "names of pictures": pictures("jpg", lambda data: data, NAME),
            "an ignored column": lambda folder: manifest(
                folder, {"surgeon": NAME}, "--ignore_columns", "[surgeon]"
            ),
            "the work folder": lambda folder: manifest(folder, {}, "--work", folder / NAME),
        }.items()
    ),
    Kind(name="a bad video is named in private only", make=failing, right=named_in_private_only),
    Kind(
        name="a broken link is named in private only", make=broken_link, right=named_in_private_only
    ),
    Kind(name="a list of processes is silent", make=spied, right=processes_are_silent),
    Kind(name="a report of a private corpus is silent", make=a_report, right=report_is_silent),
    Kind(
        name="all private files are closed to others",
        make=tagged("mp4"),
        right=everything_private_is_closed,
    ),
    *(
        Kind(name=f"{what} does not open another file", make=script(text), right=secret_is_left_out)
        for what, text in {
            "a concat script": "ffconcat version 1.0\nfile SECRET\n",
            "an HLS playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nSECRET\n",
            "an SDP description": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
            "a DASH manifest": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
            "<Period><AdaptationSet><BaseURL>SECRET</BaseURL></AdaptationSet></Period></MPD>",
            "a reference movie": "RTSPtext\r\nrtsp://SECRET",
            "an ASF redirector": "[Reference]\nRef1=SECRET\n",
        }.items()
    ),
    *(
        Kind(name=f"a private folder is refused if {what}", make=private(prepare))
        for what, prepare in {
            "all can write": lambda private: private.chmod(0o777),
            "the group can write": lambda private: private.chmod(0o770),
            "others can read": lambda private: private.chmod(0o755),
            "its key can be read": lambda private: (private / "key").chmod(0o644),
            "its key can be written": lambda private: (private / "key").chmod(0o602),
            "another user owns it": folder_of_another_user,
            "another user owns its key": another_users("key"),
            "another user owns its hashes": another_users("hashes.jsonl"),
            "another user's link leads to it": link_of_another_user,
            "its key is a link": linked("key"),
            "its hashes are a link": linked("hashes.jsonl"),
            "its list is a link": linked("videos-lap.partial"),
            "its lock is a link": linked("lock"),
            "its groups are a file": written("groups", b""),
            "its key is a pipe": replaced("key", lambda path: os.mkfifo(path, 0o600)),
            "its key is a folder": replaced("key", lambda path: path.mkdir(mode=0o700)),
            "its key is short": written("key", b"ab"),
            "its key is binary": written("key", bytes(range(256))),
        }.items()
    ),
    Kind(
        name="hashes of another program are ignored",
        make=private(written("hashes.jsonl", b'{"file": 3}\n[1]\nnull\n{"file": "x"}\n\xff\xfe\n')),
        right=victim_is_untouched,
    ),
    Kind(
        name="pending videos of an unknown source are ignored",
        make=private(written("pending/lap.json", b"[" * 100_000)),
        right=victim_is_untouched,
    ),
    Kind(
        name="a half-written key of a killed build is replaced",
        make=private(linked("key.partial")),
        right=victim_is_untouched,
    ),
]


@pytest.mark.slow
def test_names_stay_private_and_private_folders_are_trusted_with_reason(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    run = try_kind(kind, tmp_path)
    victim = tmp_path / "input" / "victim"
    if victim.exists():
        assert victim.read_text() == "cd" * 32
    assert not any(word in run.out.encode() for word in spellings())
