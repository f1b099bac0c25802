"""Hostile privacy: names of patients in every field, and private folders that others prepared."""

import csv
import itertools
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from surgrec.recordings import find_program
from tests.hostile.harness import Kind, Run, run_command, try_kind
from tests.support.in_process import train
from tests.support.logged_runs import make_run
from tests.support.needs import missing
from tests.support.tool import command as shard_command
from tests.support.tool import run_here, surgrec_here

NAME = "Anna-Canary-1962"
SIZE = ("--encode.short_side_px", "64", "--encode.clip_s", "2", "--encode.min_clip_s", "1")
QUICK = (*SIZE, "--encode.preset", "ultrafast", "--workers", "1")
Make = Callable[[Path], Sequence[object]]
Right = Callable[[Path, Run], None]
_numbers = itertools.count()
Row = dict[str, str]
Place = Callable[[Path], Row]
"""Writes a video into an empty folder. Returns its row of a manifest."""
MAPPING = """
grammar: starts
time: start
unit: s
tracks: [{task: phase, column: phase}]
"""


# Inputs


def ffmpeg(*words: object) -> None:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def render(path: Path, *output: object, inputs: Sequence[object] = (), size: str = "96x64") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No two files have the same pictures.
    pattern = f"testsrc2=size={size}:rate=25,hue=h={7 * next(_numbers)}"
    source = ("-f", "lavfi", "-t", 2, "-i", pattern)
    ffmpeg(*source, *inputs, "-pix_fmt", "yuv420p", "-preset", "ultrafast", *output, path)
    return path


def build(folder: Path, *words: object) -> list[object]:
    where = ("--videos", folder / "videos", "--source", "lap", "--domain", "laparoscopy")
    return ["surgrec-shard", "build", *where, "--out", folder / "corpus", *QUICK, *words]


def tagged(suffix: str, *output: object, size: str = "96x64") -> Place:
    """Make a video with the name in a field of its container."""

    def make(folder: Path) -> Row:
        return {"path": render(folder / f"a.{suffix}", *output, size=size).name}

    return make


def edited(change: Callable[[bytes], bytes]) -> Place:
    """Make an mp4 whose bytes are changed."""

    def make(folder: Path) -> Row:
        path = render(folder / "a.mp4")
        path.write_bytes(change(path.read_bytes()))
        return {"path": path.name}

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


def pictures(kind: str, change: Callable[[bytes], bytes], name: str = "a") -> Place:
    """Make a folder of pictures, each of them with the name in it."""

    def make(folder: Path) -> Row:
        frames = folder / name
        frames.mkdir()
        codec = ("-q:v", 2) if kind == "jpg" else ()
        ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=8:duration=2", *codec,
               frames / f"{name}-%d.{kind}")  # fmt: skip
        for path in frames.iterdir():
            path.write_bytes(change(path.read_bytes()))
        return {"path": name, "fps": "8"}

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


def chapters(suffix: str, *words: object) -> Place:
    """Make a video whose chapter has the name."""

    def make(folder: Path) -> Row:
        (folder / "chapters.txt").write_text(
            f";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=1\ntitle={NAME}\n"
        )
        inputs = ("-i", folder / "chapters.txt")
        return {"path": render(folder / f"a.{suffix}", *words, inputs=inputs).name}

    return make


def subtitles(folder: Path) -> Row:
    (folder / "words.srt").write_text(f"1\n00:00:00,000 --> 00:00:02,000\n{NAME}\n")
    inputs = ("-i", folder / "words.srt", "-map", 0, "-map", 1)
    return {"path": render(folder / "a.mp4", "-c:s", "mov_text", inputs=inputs).name}


def attachment(folder: Path) -> Row:
    (folder / f"{NAME}.txt").write_text(NAME)
    words = ("-attach", folder / f"{NAME}.txt", "-metadata:s:t", "mimetype=text/plain")
    return {"path": render(folder / "a.mkv", *words).name}


def cover(folder: Path) -> Row:
    picture = render(folder / "cover.png", "-frames:v", 1)
    picture.write_bytes(chunk(b"tEXt", b"Title\0" + NAME.encode())(picture.read_bytes()))
    inputs = ("-i", folder / "cover.png", "-map", 0, "-map", 1)
    words = ("-disposition:v:1", "attached_pic", "-c:v:1", "copy", "-metadata:s:v:1")
    return {"path": render(folder / "a.mp4", *words, f"title={NAME}", inputs=inputs).name}


def sound(folder: Path) -> Row:
    inputs = ("-f", "lavfi", "-t", 2, "-i", "sine", "-metadata:s:a", f"title={NAME}")
    return {"path": render(folder / "a.mp4", inputs=inputs).name}


def beside(column: str, suffix: str, text: str) -> Place:
    """Make a video and a file with the name, which a column of the manifest names."""

    def make(folder: Path) -> Row:
        (folder / f"{NAME}.{suffix}").write_text(text)
        return {"path": render(folder / "a.mp4").name, column: f"{NAME}.{suffix}"}

    return make


def mapped_labels(folder: Path) -> Row:
    """Make labels whose table has the name in a column that the mapping does not use."""
    (folder / f"{NAME}.tsv").write_text(f"surgeon\tstart\tphase\n{NAME}\t0\taccess\n")
    (folder / f"{NAME}.yaml").write_text(MAPPING)
    files = {"labels": f"{NAME}.tsv", "mapping": f"{NAME}.yaml"}
    return {"path": render(folder / "a.mp4").name, **files}


def with_cells(**cells: str) -> Place:
    """Make a video with the name in cells of its row."""
    return lambda folder: {"path": render(folder / "a.mp4").name, **cells}


def in_paths(folder: Path) -> Row:
    render(folder / NAME / f"{NAME}.mp4")
    return {"path": f"{NAME}/{NAME}.mp4"}


def video_list(folder: Path) -> Sequence[object]:
    render(folder / NAME / "a b.mp4")
    (folder / f"{NAME}.txt").write_text(f'"{NAME}/a b.mp4" 0 1 access\n')
    words = ("--video_list", folder / f"{NAME}.txt", "--source", "lap", "--domain", "laparoscopy")
    return ["surgrec-shard", "build", *words, "--case_from", "^([^/]+)/",
            "--out", folder / "corpus", *QUICK]  # fmt: skip


def flat_dump(folder: Path) -> Sequence[object]:
    (folder / "videos").mkdir()
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=8:duration=2", "-q:v", 2,
           folder / "videos" / f"{NAME}_%d.jpg")  # fmt: skip
    return build(folder, "--frame_fps", 8, "--frames_from", r"(?P<case>.+)_(?P<frame>\d+)\.jpg$")


def failing(folder: Path) -> Sequence[object]:
    render(folder / "videos" / "good.mp4")
    (folder / "videos" / f"{NAME}.mp4").write_text(f"no video of {NAME}")
    return build(folder)


def archives(folder: Path) -> Sequence[object]:
    """Make a tar, which is read in place, and a compressed zip, which is not."""
    render(folder / "videos" / "good.mp4")
    render(folder / NAME / f"{NAME}.mp4")
    for kind in ("tar", "zip"):
        shutil.make_archive(str(folder / "videos" / NAME), kind, folder, NAME)
    return build(folder)


def excluded(folder: Path) -> Sequence[object]:
    render(folder / "videos" / "good.mp4")
    render(folder / "videos" / NAME / "b.mp4")
    return build(folder, "--exclude", NAME)


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
    files_are_silent(folder / "corpus")
    tars = list((folder / "corpus").rglob("*.tar"))
    assert tars, "a clip was packed"
    for path in tars:
        check_tar(path)


def files_are_silent(folder: Path) -> int:
    """Check that no file of a folder has the name. Return the number of files."""
    files = 0
    for path in folder.rglob("*"):
        data = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            files += 1
            data.append(path.read_bytes())
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
            data.append(repr((table.to_pylist(), table.schema.metadata)).encode())
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data += [archive.read(member) for member in archive.infolist()]
        assert not any(word in part for part in data for word in spellings()), path
    return files


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


ROW = {"source": "lap", "domain": "other", "split": "train"}
FILE_COLUMNS = ("path", "labels", "mapping", "drop")
TITLE = ("-metadata", f"title={NAME}")
PLACES: dict[str, Place] = {
    "the title of an mp4": tagged("mp4", *TITLE),
    "the comment of an mp4": tagged("mp4", "-metadata", f"comment={NAME}"),
    "the place of an mp4": tagged("mp4", "-metadata", f"location=+48+011/{NAME}"),
    "the track of an mp4": tagged("mp4", "-metadata:s:v", f"handler_name={NAME}"),
    "a QuickTime key": tagged(
        "mov", "-movflags", "use_metadata_tags", "-metadata", f"com.hospital.patient={NAME}"
    ),
    "a reel name": tagged("mov", "-timecode", "01:02:03:04", "-metadata:s:v", f"reel_name={NAME}"),
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
    "chapters of an mp4": chapters("mp4"),
    "chapters of an mkv": chapters("mkv", "-map_chapters", 1),
    "subtitles": subtitles,
    "an attachment": attachment,
    "a cover picture": cover,
    "a sound track": sound,
    "the name of the labels": beside(
        "labels", "csv", "task,start_s,end_s,value\nphase,0,1,access\n"
    ),
    "the name of the list of stretches": beside("drop", "csv", "start_s,end_s\n0,0.5\n"),
    "labels with a mapping": mapped_labels,
    "paths": in_paths,
    "the case": with_cells(case=NAME),
    "the patient": with_cells(case="1", patient=NAME),
    "a video with masks": with_cells(case=NAME, mask="0,0,20,10;60,40,36,24"),
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
    "an ignored column": with_cells(surgeon=NAME),
}
"""Where a name is in a video of one manifest."""
KINDS = [
    Kind(name="a video list with names is silent", make=video_list, right=corpus_is_silent),
    Kind(name="a dump of pictures with names is silent", make=flat_dump, right=corpus_is_silent),
    Kind(name="an excluded folder is silent", make=excluded, right=corpus_is_silent),
    Kind(name="archives are named in private only", make=archives, right=named_in_private_only),
    Kind(name="a bad video is named in private only", make=failing, right=named_in_private_only),
    Kind(
        name="a broken link is named in private only", make=broken_link, right=named_in_private_only
    ),
    Kind(name="a list of processes is silent", make=spied, right=processes_are_silent),
    Kind(name="a report of a private corpus is silent", make=a_report, right=report_is_silent),
    Kind(
        name="all private files are closed to others",
        make=lambda folder: manifest(folder, {}),
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


@dataclass(frozen=True)
class Hospital:
    """A corpus of all places of a name, and the folder of what is made of it."""

    folder: Path
    corpus: Path
    build: Run


def has_name(folder: Path, row: Row) -> bool:
    """Return whether the name is in a row, in a path, or in the bytes of a video."""
    path = folder / row["path"]
    files = [path] if path.is_file() else path.iterdir()
    words = [*row.values(), *(str(each.relative_to(folder)) for each in folder.rglob("*"))]
    parts = [file.read_bytes() for file in files] + [word.encode() for word in words]
    return any(spelling in part for spelling in spellings() for part in parts)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """Build one corpus of videos that have the name in one place each."""
    folder = tmp_path_factory.mktemp("hospital") / "input"
    lines = []
    for number, (place, make) in enumerate(PLACES.items()):
        (folder / str(number)).mkdir(parents=True)
        row = make(folder / str(number))
        assert has_name(folder / str(number), row), place
        if "labels" not in row:
            phase = "access" if number % 3 else "closure"
            (folder / str(number) / "phases.csv").write_text(
                f"task,start_s,end_s,value\nphase,0,2,{phase}\n"
            )
            row = {**row, "labels": "phases.csv"}
        files = {key: f"{number}/{row[key]}" for key in FILE_COLUMNS if key in row}
        lines.append(json.dumps({**ROW, "case": str(number), **row, **files}))
    (folder / f"{NAME}.jsonl").write_text("\n".join(lines) + "\n")

    words = ("--manifest", folder / f"{NAME}.jsonl", "--out", folder / "corpus", *QUICK)
    private = ("--private", folder / f"{NAME}.private", "--work", folder / f"{NAME}.work")
    others = ("--ignore_columns", "[surgeon]", "--curate.crop", "border", "--workers", 2)
    build = run_command(("surgrec-shard", "build", *words, *private, *others), folder, {}, 300)
    assert build.status in (0, 3), build.errors
    return Hospital(folder, folder / "corpus", build)


@pytest.mark.slow
def test_a_name_in_any_place_of_a_video_does_not_reach_the_corpus(hospital: Hospital) -> None:
    corpus_is_silent(hospital.folder, hospital.build)
    rows = parquet.read_table(hospital.corpus / "lap" / "index.parquet").to_pylist()
    assert len({row["video"] for row in rows}) == len(PLACES)
    assert NAME in next(hospital.folder.glob("*.private/videos-*.csv")).read_text()


def write_split(corpus: Path, path: Path) -> Path:
    """Write an evaluation split whose test part is every second case."""
    rows = parquet.read_table(corpus / "lap" / "index.parquet").to_pylist()
    cases = sorted({row["case"] for row in rows})
    parts = {"train": cases[::2], "test": cases[1::2]}
    rules = {part: {"sources": ["lap"], "cases": names} for part, names in parts.items()}
    path.write_text(json.dumps({"name": "halves", **rules}))
    return path


@pytest.mark.slow
def test_nothing_that_is_made_of_a_corpus_names_a_patient(hospital: Hospital) -> None:
    corpus, made = hospital.corpus, hospital.folder / "made"
    run_dir, encoder = made / "run", made / "run" / "encoder.safetensors"
    train("jepa", corpus, run_dir, "--save_every", 1, "--mixture.min_duration_s", 2)
    split, first = write_split(corpus, made / "split.yaml"), hospital.folder / "0"
    evaluate = ("evaluate", corpus, "--encoder", encoder, "--task", "phase", "--split", split)
    may_overlap = ("--allow_pretraining_overlap", "true", "--out", made / "evaluation")
    runs = [
        run_here("info", corpus),
        run_here("verify", corpus),
        run_here("dedup", corpus, "--out", made / "copies.parquet"),
        run_here("export", corpus, "--format", "energon"),
        run_here("export", corpus, "--format", "wids"),
        run_here("provenance", corpus, "--html", made / "page.html"),
        run_here("provenance", corpus, "--json", "true"),
        surgrec_here("features", corpus, "--encoder", encoder, "--out", made / "features"),
        run_here("labels", first / "phases.csv", "--video", next(first.glob("a.*"))),
        surgrec_here(*evaluate, *may_overlap),
        surgrec_here("report", run_dir, "--out", made / "report.html"),
        surgrec_here("export", run_dir, "--format", "vjepa", "--out", made / "encoder.pt"),
        surgrec_here("export", run_dir, "--format", "hf", "--out", made / "hf"),
        surgrec_here("mix", corpus, "--run", run_dir, "--mixture.min_duration_s", 2, "--json"),
        surgrec_here("order", corpus, "--mixture.min_duration_s", 2, "--global_batch", 4),
    ]
    said = [run.stdout + run.stderr for run in runs]
    assert not [run.stderr for run in runs if run.returncode not in (0, 3)]
    said.append(hospital.build.out)
    assert not any(word in text.encode() for word in spellings() for text in said)

    for path in ("checkpoints", "metrics.jsonl", "encoder.safetensors"):
        assert (run_dir / path).exists()
    for path in ("evaluation/evaluation.json", "encoder.pt", "hf/model.safetensors"):
        assert (made / path).exists()
    assert files_are_silent(made) > 10
    assert files_are_silent(corpus) > 3


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
