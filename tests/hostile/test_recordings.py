"""Hostile recordings: metadata, references to other files, broken containers, absurd numbers.

One build gets all of them beside a good video, which must be packed. Each hostile one is named with
its reason or stored at its true times.
"""

import functools
import random
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import run_command
from tests.support.clocks import record_clock
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report

SECONDS = 4.0
SECONDS_OF_BUILD = 900.0
"""Longest time of the build of all recordings; the machine may be busy."""
CANARY = "patient-0815"
Check = Callable[[dict[str, str], list[dict[str, object]]], None]
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25")


# Recordings


@functools.cache
def clock(suffix: str, *arguments: str, rate: float = 25, seconds: float = SECONDS) -> bytes:
    """Return the bytes of a recording of a clock."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clock{suffix}"
        return record_clock(path, seconds=seconds, rate=rate, arguments=arguments).read_bytes()


def rendered(suffix: str, *arguments: str) -> bytes:
    """Return what ffmpeg writes with these arguments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        ffmpeg(*arguments, path)
        return path.read_bytes()


def tagged(suffix: str, **tags: str) -> bytes:
    """Return a recording with metadata."""
    words = [word for name, value in tags.items() for word in ("-metadata", f"{name}={value}")]
    return clock(suffix, *words)


def replaced(data: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    assert old in data, old
    return data.replace(old, new, count)


def box_edit(name: bytes, offset: int, new: bytes, suffix: str = ".mp4", *arguments: str) -> bytes:
    """Return an mp4 with bytes changed behind the name of its first box of a kind."""
    data = bytearray(clock(suffix, *arguments))
    at = data.index(name) + 4 + offset
    data[at : at + len(new)] = new
    return bytes(data)


def box(name: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + name + body


# Outcomes


def whole(row: dict[str, str], clips: list[dict[str, object]]) -> None:
    """Check that all of the clock is stored."""
    assert row["status"] == "packed", row
    seconds = sum(float(str(clip["duration_s"])) for clip in clips)
    assert abs(seconds - SECONDS) < 0.3, seconds


def told(row: dict[str, str], clips: list[dict[str, object]]) -> None:
    """Check that the recording is named with a reason."""
    assert row["status"] != "packed", "it was packed"
    assert row["detail"]


def short(row: dict[str, str], clips: list[dict[str, object]]) -> None:
    """Check that no picture is stored over a long time. Each may be shown for a second."""
    seconds = sum(float(str(clip["duration_s"])) for clip in clips)
    assert seconds < 150, seconds
    assert row["status"] == "packed" or row["detail"]


@dataclass(frozen=True)
class Hostile:
    """One hostile recording."""

    name: str
    """Unique in this family; also the name of its file."""
    data: Callable[[], bytes]
    check: Check
    suffix: str = ".mp4"

    @property
    def file(self) -> str:
        return f"{self.name}{self.suffix}"


def text(content: str) -> Callable[[], bytes]:
    return content.encode


def still(size: str, *arguments: str, suffix: str = ".mp4") -> Callable[[], bytes]:
    source = ("-f", "lavfi", "-i", f"color=gray:size={size}:rate=5:duration=4")
    return lambda: rendered(suffix, *source, "-pix_fmt", "yuv420p", *arguments)


def timed(expression: str, suffix: str = ".mkv") -> Callable[[], bytes]:
    """Return a recording whose times are an expression of ffmpeg's setpts."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=4")
    passed = ("-vf", f"setpts='{expression}'", "-fps_mode", "passthrough", *X264, "-bf", "0")
    return lambda: rendered(suffix, *source, *passed)


def deep(name: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(name, data)
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + data


def tracks(count: int) -> bytes:
    source = ("-f", "lavfi", "-i", "testsrc2=size=32x32:rate=5:duration=4")
    maps = [word for _ in range(count) for word in ("-map", "0")]
    return rendered(".mkv", *source, *maps, "-c:v", "mpeg4")


def external(kind: bytes, content: bytes) -> Callable[[], bytes]:
    """Return a mov whose media lie in another file."""

    def make() -> bytes:
        data = clock(".mov")
        at = data.index(b"dref") - 4
        old = data[at : at + struct.unpack(">I", data[at : at + 4])[0]]
        entry = box(kind, b"\0\0\0\0", content)
        new = box(b"dref", b"\0\0\0\0\0\0\0\1", entry)
        sizes = [data.rindex(name, 0, at) - 4 for name in (b"dinf", b"minf", b"mdia", b"trak")]
        edited = bytearray(data)
        for size in (*sizes, data.index(b"moov") - 4):
            length = struct.unpack(">I", edited[size : size + 4])[0] + len(new) - len(old)
            edited[size : size + 4] = struct.pack(">I", length)
        return bytes(edited).replace(old, new)

    return make


def shuffled(suffix: str, block: int) -> Callable[[], bytes]:
    def make() -> bytes:
        data = clock(suffix)
        parts = [data[at : at + block] for at in range(0, len(data), block)]
        middle = parts[4:]
        random.Random(0).shuffle(middle)
        return b"".join(parts[:4] + middle)

    return make


def attachment() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "x.sh"
        script.write_text("#!/bin/sh\n")
        attach = ("-attach", str(script), "-metadata:s:t", "mimetype=text/plain")
        return clock(".mkv", *attach)


def chapters() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        marks = [f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={n}\nEND={n + 1}\n" for n in range(3000)]
        meta, video = Path(folder) / "meta", Path(folder) / "video.mkv"
        meta.write_text(";FFMETADATA1\n" + "".join(marks))
        video.write_bytes(clock(".mkv"))
        return rendered(
            ".mkv", "-i", str(video), "-i", str(meta), "-map_metadata", "1", "-c", "copy"
        )


DURATION = b"00:00:04.000000000"


def duration_tag(value: bytes) -> Callable[[], bytes]:
    return lambda: replaced(clock(".mkv"), DURATION, value.ljust(18, b"\0"), 9)


NO_FRAGMENT = b"\0\0\1\0moof\0\0\0\x10mfhd" + bytes(240)


def behind_larger_stream(rate: str, seconds: float) -> Callable[[], bytes]:
    """Return the maker of a recording whose first video stream is another one."""

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "clock.mkv"
            video.write_bytes(clock(".mkv"))
            larger = (
                "-f",
                "lavfi",
                "-t",
                str(seconds),
                "-i",
                f"color=red:size=400x300:rate={rate}",
            )
            return rendered(".mkv", *larger, "-i", str(video), "-map", "0", "-map", "1")

    return make


def fragmented() -> bytes:
    return clock(".mp4", "-movflags", "+frag_keyframe+empty_moov")


def backward_fragments() -> bytes:
    """Return an mp4 whose fragments lie in reverse order."""
    data = fragmented().partition(b"mfra")[0][:-4]
    starts = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)]
    ends = [*starts[1:], len(data)]
    fragments = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return data[: starts[0]] + b"".join(reversed(fragments))


def twice(*suffixes: str) -> Callable[[], bytes]:
    """Return the maker of recordings of 2 s, one behind the other in a file."""
    return lambda: b"".join(clock(suffix, seconds=SECONDS / 2) for suffix in suffixes)


def nameless_fragments() -> bytes:
    return replaced(fragmented(), b"mdat", bytes(4), 9)


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n"
KINDS = [
    # Metadata
    Hostile("duration_tag_is_a_number", duration_tag(b"4.000"), whole, ".mkv"),
    Hostile("duration_tag_is_a_word", duration_tag(b"four seconds"), whole, ".mkv"),
    Hostile("duration_tag_is_not_finite", duration_tag(b"nan:inf:1e400"), whole, ".mkv"),
    Hostile("duration_tag_is_negative", duration_tag(b"-9:-9:-9"), whole, ".mkv"),
    Hostile("duration_tag_is_a_day", duration_tag(b"24:00:00.0"), whole, ".mkv"),
    Hostile("duration_tag_is_not_text", duration_tag(b"\xff\xfe\x80:\x01"), whole, ".mkv"),
    Hostile("title_of_a_megabyte", lambda: tagged(".mkv", title="x" * 100_000), whole, ".mkv"),
    Hostile("title_with_lines", lambda: tagged(".mkv", title="a\nframe:0 pts:5\nb"), whole, ".mkv"),
    Hostile("title_with_escapes", lambda: tagged(".mp4", title="\x1b[2J\x1b]0;x\x07"), whole),
    Hostile("title_like_packets", lambda: tagged(".mkv", title="packet|stream_index=0"), whole),
    Hostile("rotate_tag_is_a_word", lambda: tagged(".mkv", rotate="sideways"), whole, ".mkv"),
    Hostile("an_attached_script", attachment, whole, ".mkv"),
    Hostile("three_thousand_chapters", chapters, whole, ".mkv"),
    Hostile("tag_of_the_time_of_pictures", lambda: tagged(".mkv", surgrec="1"), whole, ".mkv"),
    # References to other files
    Hostile("concat_script", text("ffconcat version 1.0\nfile ../other.mp4\n"), told),
    Hostile("concat_script_of_a_device", text("ffconcat version 1.0\nfile /dev/zero\n"), told),
    Hostile("hls_of_a_file", text(HLS.format("../other.mp4")), told),
    Hostile("hls_of_an_address", text(HLS.format("http://127.0.0.1:9/x.ts")), told),
    Hostile("hls_of_a_text", text(HLS.format("../canary.txt")), told, ".ts"),
    Hostile("dash_manifest", text("<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash'/>"), told),
    Hostile("session_description", text("v=0\nm=video 5004 RTP/AVP 96\n"), told),
    Hostile("web_page", text("<html><video src='../other.mp4'></html>"), told),
    Hostile("subtitles", text("1\n00:00:00,000 --> 00:00:04,000\nname\n"), told, ".mkv"),
    Hostile("windows_playlist", text("<asx version='3.0'><ref href='../other.mp4'/></asx>"), told),
    Hostile("media_in_a_file", external(b"url ", b"file:../other.mp4\0"), told, ".mov"),
    Hostile("media_at_an_address", external(b"url ", b"http://127.0.0.1:9/x\0"), told, ".mov"),
    Hostile("media_in_an_alias", external(b"alis", bytes(150) + b"other.mp4"), told, ".mov"),
    # Other kinds of file under the name of a video
    Hostile("a_picture", lambda: still("64x64", "-frames:v", "1", suffix=".png")(), told),
    Hostile("an_animation", lambda: rendered(".gif", "-f", "lavfi", "-i", "testsrc2=d=4"), told),
    Hostile("sound", lambda: rendered(".wav", "-f", "lavfi", "-i", "sine=d=4"), told),
    Hostile("an_archive", lambda: b"PK\3\4" + bytes(5000), told),
    Hostile("a_program", lambda: Path("/bin/true").read_bytes(), told),
    Hostile("noise", lambda: random.Random(0).randbytes(200_000), told),
    # Broken containers
    Hostile("boxes_in_boxes", lambda: deep(b"moov", 5000), told),
    Hostile("box_without_end", lambda: box_edit(b"moov", -8, b"\xff\xff\xff\xff"), whole),
    Hostile("box_of_no_size", lambda: box_edit(b"trak", -8, bytes(4)), whole),
    Hostile("samples_without_number", lambda: box_edit(b"stsz", 8, b"\x7f\xff\xff\xff"), told),
    Hostile("samples_of_one_size", lambda: box_edit(b"stsz", 4, b"\0\0\0\1\x7f\xff\xff\xff"), told),
    Hostile("times_without_number", lambda: box_edit(b"stts", 8, b"\x7f\xff\xff\xff"), short),
    Hostile("pictures_of_a_day", lambda: box_edit(b"stts", 12, b"\x41\0\0\0"), short),
    Hostile("unit_of_time_is_zero", lambda: box_edit(b"mdhd", 12, bytes(4)), short),
    Hostile("unit_of_time_is_tiny", lambda: box_edit(b"mdhd", 12, b"\xff\xff\xff\xff"), short),
    Hostile("offsets_behind_the_end", lambda: box_edit(b"stco", 8, b"\x7f\0\0\0"), told),
    Hostile("edit_list_of_a_year", lambda: box_edit(b"elst", 8, b"\x7f\xff\xff\xff"), whole),
    Hostile("fragments_whose_data_have_no_name", nameless_fragments, whole),
    Hostile("two_hundred_broken_fragments", lambda: fragmented() + 200 * NO_FRAGMENT, whole),
    Hostile("fragments_in_reverse_order", backward_fragments, whole),
    Hostile("an_mp4_behind_an_mp4", twice(".mp4", ".mp4"), whole),
    Hostile("an_flv_behind_an_mov", twice(".mov", ".flv"), whole, ".mov"),
    Hostile("an_asf_behind_an_asf", twice(".wmv", ".wmv"), whole, ".wmv"),
    Hostile("an_mxf_behind_an_mxf", twice(".mxf", ".mxf"), whole, ".mxf"),
    Hostile(
        "foreign_media_behind_a_video",
        lambda: clock(".mp4") + external(b"url ", b"file:../other.mp4\0")(),
        whole,
    ),
    Hostile("a_playlist_behind_a_video", lambda: clock(".flv") + HLS.encode(), whole, ".flv"),
    Hostile("shuffled_transport_stream", shuffled(".ts", 188 * 8), short, ".ts"),
    Hostile("shuffled_program_stream", shuffled(".mpg", 2048), short, ".mpg"),
    Hostile("shuffled_tags", shuffled(".flv", 4096), short, ".flv"),
    Hostile("null_packets", lambda: (b"\x47\x1f\xff\x10" + bytes(184)) * 2000, told, ".ts"),
    Hostile(
        "avi_of_no_rate",
        lambda: replaced(clock(".avi"), struct.pack("<II", 1, 25), bytes(8)),
        short,
        ".avi",
    ),
    Hostile(
        "avi_of_an_absurd_rate",
        lambda: replaced(clock(".avi"), struct.pack("<II", 1, 25), b"\1\0\0\0\xff\xff\xff\x7f"),
        short,
        ".avi",
    ),
    Hostile(
        "matroska_unit_is_zero",
        lambda: replaced(clock(".mkv"), b"\x2a\xd7\xb1\x83\x0f\x42\x40", b"\x2a\xd7\xb1\x83\0\0\0"),
        short,
        ".mkv",
    ),
    Hostile(
        "matroska_unit_is_large",
        lambda: replaced(
            clock(".mkv"), b"\x2a\xd7\xb1\x83\x0f\x42\x40", b"\x2a\xd7\xb1\x83\xff\xff\xff"
        ),
        short,
        ".mkv",
    ),
    Hostile("matroska_in_matroska", lambda: clock(".mkv")[:-2000] + clock(".mkv"), short, ".mkv"),
    # Sizes
    Hostile("two_hundred_streams", lambda: tracks(200), short, ".mkv"),
    Hostile("a_line", still("4096x16", "-c:v", "mpeg4"), short),
    Hostile("less_than_a_line", still("4096x8", "-c:v", "mpeg4"), told),
    Hostile(
        "pixels_60000_times_as_wide",
        still("64x64", "-vf", "setsar=60000/1", "-c:v", "mjpeg", suffix=".mov"),
        short,
        ".mov",
    ),
    Hostile(
        "a_picture_of_256_megapixels",
        still("16000x16000", "-frames:v", "2", "-c:v", "mjpeg", suffix=".mov"),
        told,
        ".mov",
    ),
    Hostile(
        "size_in_the_container_only", lambda: box_edit(b"avc1", 24, b"\xff\xff\xff\xff"), short
    ),
    # Streams
    Hostile("slides_before_the_video", behind_larger_stream("1/2", SECONDS), whole, ".mkv"),
    Hostile("one_second_of_a_larger_stream", behind_larger_stream("25", 1), whole, ".mkv"),
    # Times
    Hostile("jumps_of_29_hours", timed("PTS+floor(T*7)*104400/TB"), short, ".mkv"),
    Hostile("steps_back_and_forth", timed("if(mod(N,2),N,N+9000)/25/TB", ".flv"), short, ".flv"),
    Hostile("one_picture_an_hour", timed("N*3600/TB"), short, ".mkv"),
    Hostile("pictures_at_one_time", timed("if(lt(N,2),N,2)/25/TB"), told, ".mkv"),
    Hostile("a_hundred_thousand_pictures_a_second", timed("N/100000/TB", ".mp4"), told),
    Hostile("pictures_that_last_longer_and_longer", timed("pow(1.15,N)/TB"), short, ".mkv"),
    Hostile("a_clock_before_zero", timed("PTS-2/TB"), short, ".mkv"),
    Hostile("one_picture_only", timed("if(lt(N,1),0,NAN)"), told, ".mkv"),
]


@dataclass(frozen=True)
class Built:
    """The end of a build of all hostile recordings."""

    report: dict[str, dict[str, str]]
    clips: dict[str, list[dict[str, object]]]
    """Rows of the index, by video."""

    def check(self, file: str, check: Check) -> None:
        row = self.report[file]
        check(row, self.clips.get(row["corpus_video"], []))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build all hostile recordings beside a good one, with no other file that they lead to."""
    folder = tmp_path_factory.mktemp("hostile") / "input"
    videos = folder / "videos"
    videos.mkdir(parents=True)
    (videos / "good.mp4").write_bytes(clock(".mp4", rate=20))
    for kind in KINDS:
        (videos / kind.file).write_bytes(kind.data())
    contents = {path.read_bytes() for path in videos.iterdir()}
    assert len(contents) == 1 + len(KINDS), "two kinds have the same input"
    (folder / "other.mp4").write_bytes(clock(".mp4", rate=16))
    (folder / "canary.txt").write_text(CANARY)

    words = (*build_folder(videos), "--out", folder / "corpus", "--workers", 2, *QUICK)
    run = run_command(("surgrec-shard", *words), folder, {}, seconds=SECONDS_OF_BUILD)
    assert run.status == 3, run.errors
    assert "Traceback" not in run.errors + run.out, run.errors
    assert CANARY not in run.errors + run.out

    clips: dict[str, list[dict[str, object]]] = {}
    for clip in parquet.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist():
        clips.setdefault(clip["video"], []).append(clip)
    return Built(read_report(folder / "corpus.private"), clips)


@pytest.mark.slow
def test_a_hostile_recording_is_stored_right_or_named(kind: Hostile, built: Built) -> None:
    built.check(kind.file, kind.check)
    assert CANARY not in built.report[kind.file]["detail"]


@pytest.mark.slow
def test_hostile_recordings_cost_no_other_video(built: Built) -> None:
    built.check("good.mp4", whole)
    assert sorted(built.report) == sorted(["good.mp4", *(kind.file for kind in KINDS)])
