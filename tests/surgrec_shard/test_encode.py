"""Clips of a video have exact lengths and times. They are upright, small, and decode fast."""

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from surgrec_shard import encode
from surgrec_shard.encode import EncodedVideo, EncodeSettings, encode_video

from surgrec.errors import ConfigError
from surgrec.recordings import BadVideoError
from tests.support.tool import ffmpeg, ffprobe
from tests.support.videos import make_video

SETTINGS = EncodeSettings(
    short_side_px=64, fps=8.0, clip_s=4.0, min_clip_s=2.0, preset="ultrafast", crf=1
)
RISE = 18.0
"""Rise of the brightness of `make_clock`, levels per second."""


@pytest.mark.parametrize(
    ("rate", "fps"),
    [
        ("25", 0.0),
        ("25", 8.0),
        ("30000/1001", 0.0),
        ("30000/1001", 8.0),
        ("24", 0.0),
        ("15", 8.0),
        ("5", 8.0),
        ("variable", 8.0),
    ],
)
def test_clips_have_exactly_the_frames_and_times_that_the_index_says(
    rate: str, fps: float, tmp_path: Path
) -> None:
    video = make_clock(tmp_path / "clock.mkv", seconds=11, rate=rate)
    encoded = encode_video(video, replace(SETTINGS, fps=fps), tmp_path / "spool" / "clock")
    numerator, _, denominator = rate.partition("/")
    if rate != "variable":
        native = float(numerator) / float(denominator or 1)
        assert encoded.native_fps == pytest.approx(native)
        assert encoded.fps == pytest.approx(min(native, fps or native))
    assert [round(clip.start_s) for clip in encoded.clips] == [0, 4, 8]
    assert not encoded.dropped
    for clip in encoded.clips:
        path = encoded.folder / clip.file
        assert clip.duration_s == pytest.approx(clip.num_frames / encoded.fps, abs=1e-5)
        assert_quick_to_decode(path, clip.num_frames, gop=8)
        times = clip.start_s + np.arange(clip.num_frames) / encoded.fps
        shown = (brightness(path) - brightness(encoded.folder / "000000.mp4")[0]) / RISE
        late = 0.75 / min(encoded.fps, encoded.native_fps) + (4 / 25 if rate == "variable" else 0.0)
        assert np.abs(shown - times).max() < late, "each frame shows its own time"


def test_no_time_is_lost_or_doubled_between_clips(tmp_path: Path) -> None:
    video = make_clock(tmp_path / "clock.mkv", seconds=9, rate="30000/1001")
    encoded = encode_video(
        video, replace(SETTINGS, fps=0.0, clip_s=1.0, min_clip_s=0.5), tmp_path / "spool" / "clock"
    )
    ends = [clip.start_s + clip.duration_s for clip in encoded.clips]
    assert [clip.start_s for clip in encoded.clips[1:]] == pytest.approx(ends[:-1], abs=1e-5)
    assert sum(clip.num_frames for clip in encoded.clips) == len(brightness(video)) == 270


@pytest.mark.parametrize(("gop", "b_frames"), [(8, 0), (5, 0), (12, 2)])
def test_the_gop_is_as_set(gop: int, b_frames: int, tmp_path: Path) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=4, rate=25)
    settings = replace(
        SETTINGS, gop=gop, b_frames=b_frames, tune="none", preset="fast", crf=23, fps=25.0
    )
    encoded = encode_video(video, settings, tmp_path / "spool" / "one")
    types = picture_types(encoded.folder / encoded.clips[0].file)
    assert [index for index, kind in enumerate(types) if kind == "I"] == list(range(0, 100, gop))
    assert ("B" in types) == (b_frames > 0)


@pytest.mark.parametrize(("rate", "b_frames"), [("10", 0), ("30000/1001", 2)])
def test_a_short_rest_is_joined_to_the_clip_before_it(
    rate: str, b_frames: int, tmp_path: Path
) -> None:
    video = make_clock(tmp_path / "one.mkv", seconds=9.5, rate=rate)
    settings = replace(SETTINGS, fps=0.0, b_frames=b_frames)
    encoded = encode_video(video, settings, tmp_path / "spool" / "one")
    assert not encoded.dropped
    first, last = encoded.clips
    assert last.start_s == pytest.approx(first.duration_s)
    assert last.start_s + last.duration_s == pytest.approx(9.5, abs=0.04)
    assert {path.name for path in encoded.folder.glob("*.mp4")} == {first.file, last.file}

    # Every frame is there, at a constant rate, and shows its own time.
    path = encoded.folder / last.file
    shown = (brightness(path) - brightness(encoded.folder / first.file)[0]) / RISE
    assert len(shown) == last.num_frames
    assert np.abs(shown - last.start_s - np.arange(len(shown)) / encoded.fps).max() < 0.1
    times = ffprobe(path, "-show_entries", "frame=pts_time")["frames"]
    moments = np.array([float(frame["pts_time"]) for frame in times])
    assert moments == pytest.approx(np.arange(len(shown)) / encoded.fps, abs=1e-4)


def test_a_short_stretch_before_a_gap_is_left_out_and_told(tmp_path: Path) -> None:
    keep = "select='lt(t,1)+gt(t,4)'"
    video = make_video(
        tmp_path / "one.mkv", seconds=9, rate=10, arguments=("-vf", keep, "-fps_mode", "vfr")
    )
    encoded = encode_video(video, SETTINGS, tmp_path / "spool" / "one")
    assert [stretch.reason for stretch in encoded.dropped] == ["short_tail", "gap"]


def test_a_video_shorter_than_the_shortest_clip_is_bad(tmp_path: Path) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=1.5)
    with pytest.raises(BadVideoError, match=r"lasts 1\.5 s, but the shortest clip is 2 s") as error:
        encode_video(video, SETTINGS, tmp_path / "spool" / "one")
    assert error.value.reason == "too_short"
    assert not list((tmp_path / "spool").iterdir())


def test_a_refusal_tells_which_of_several_streams_was_taken(tmp_path: Path) -> None:
    video = make_video(
        tmp_path / "two.mp4", seconds=1.5, arguments=("-map", "0", "-map", "0", "-s:v:1", "48x32")
    )
    told = r"shortest clip is 2 s; .* \(2 video streams \(96 x 64, 48 x 32\): number 1 is taken\)"
    with pytest.raises(BadVideoError, match=told) as error:
        encode_video(video, SETTINGS, tmp_path / "spool" / "two")
    assert error.value.reason == "too_short"


def test_a_finished_video_is_read_back_and_not_encoded_again(tmp_path: Path) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=4)
    first = encode_video(video, SETTINGS, tmp_path / "spool" / "one")
    video.unlink()
    assert encode_video(video, SETTINGS, tmp_path / "spool" / "one") == first


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ("640x360", (456, 256)),
        ("360x640", (256, 456)),
        ("256x256", (256, 256)),
        ("180x120", (180, 120)),
    ],
)
def test_the_shorter_side_is_256_and_smaller_videos_keep_their_size(
    size: str, stored: tuple[int, int], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=4, size=size)
    encoded = encode_video(video, replace(SETTINGS, short_side_px=256), tmp_path / "spool" / "one")
    assert (encoded.width, encoded.height) == stored == frame_size(encoded)
    assert f"{encoded.native_width}x{encoded.native_height}" == size


def test_odd_sizes_become_even_ones(tmp_path: Path) -> None:
    video = tmp_path / "odd.mkv"
    ffmpeg(
        "-f",
        "lavfi",
        "-t",
        4,
        "-i",
        "mandelbrot=size=101x67:rate=10",
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "yuv444p",
        video,
    )
    encoded = encode_video(video, replace(SETTINGS, short_side_px=256), tmp_path / "spool" / "odd")
    assert (encoded.native_width, encoded.native_height) == (101, 67)
    assert frame_size(encoded) == (encoded.width, encoded.height)
    assert abs(encoded.width - 101) <= 1
    assert abs(encoded.height - 67) <= 1


def test_pixels_are_stored_square(tmp_path: Path) -> None:
    video = make_video(
        tmp_path / "wide.mp4", seconds=4, size="72x80", arguments=("-vf", "setsar=2/1")
    )
    encoded = encode_video(video, SETTINGS, tmp_path / "spool" / "wide")
    assert (encoded.native_width, encoded.native_height) == (144, 80)
    assert frame_size(encoded) == (116, 64)
    stream = ffprobe(encoded.folder / encoded.clips[0].file, "-show_streams")["streams"][0]
    assert stream["sample_aspect_ratio"] == "1:1"


def test_a_rotated_video_is_stored_upright(tmp_path: Path) -> None:
    sideways = make_video(
        tmp_path / "one.mp4",
        seconds=4,
        size="128x96",
        arguments=("-vf", "drawbox=w=64:h=96:t=fill:c=white,format=gray"),
    )
    data = bytearray(sideways.read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[matrix : matrix + 36])[:2] == (1 << 16, 0)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    sideways.write_bytes(data)
    encoded = encode_video(sideways, SETTINGS, tmp_path / "spool" / "one")
    assert (encoded.native_width, encoded.native_height) == (96, 128)
    assert frame_size(encoded) == (encoded.width, encoded.height) == (64, 86)
    frame = frames(encoded.folder / encoded.clips[0].file, 64, 86)[0]
    assert frame[:40].mean() > 200, "what was left is now on top"
    assert frame[46:].mean() < 170
    assert (
        "side_data_list"
        not in ffprobe(encoded.folder / encoded.clips[0].file, "-show_streams")["streams"][0]
    )


def test_interlaced_video_is_stored_without_combs(tmp_path: Path) -> None:
    video = tmp_path / "interlaced.mpg"
    stripes = "color=size=128x96:rate=50,geq=lum='128+100*sin((X+4*N)/6)':cb=128:cr=128"
    ffmpeg(
        *("-f", "lavfi", "-t", 5, "-i", f"{stripes},tinterlace=interleave_top,fieldorder=tff"),
        *("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", 2, video),
    )
    encoded = encode_video(video, replace(SETTINGS, short_side_px=96), tmp_path / "spool" / "one")
    stored = frames(encoded.folder / encoded.clips[0].file, 128, 96)
    assert combing(stored) < 0.5 * combing(frames(video, 128, 96))


def test_a_change_of_size_in_the_middle_keeps_time_and_size(tmp_path: Path) -> None:
    for number, size in enumerate(("96x64", "192x128")):
        ffmpeg(
            *(
                "-f",
                "lavfi",
                "-t",
                4,
                "-i",
                f"testsrc2=size={size}:rate=25",
                "-output_ts_offset",
                4 * number,
            ),
            *("-c:v", "mpeg2video", tmp_path / f"{number}.ts"),
        )
    video = tmp_path / "both.ts"
    video.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    encoded = encode_video(video, SETTINGS, tmp_path / "spool" / "both")
    assert [(clip.start_s, clip.num_frames) for clip in encoded.clips] == [(0.0, 32), (4.0, 32)]
    assert frame_size(encoded) == (96, 64)


def test_a_sound_track_longer_than_the_picture_is_not_a_truncated_video(tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-t", "30", "-i", "sine")
    for container in ("mp4", "mkv"):
        video = make_video(
            tmp_path / f"one.{container}",
            seconds=4,
            inputs=sound,
            arguments=("-map", "0", "-map", "1"),
        )
        encoded = encode_video(video, SETTINGS, tmp_path / "spool" / container)
        assert [clip.num_frames for clip in encoded.clips] == [32]


def test_the_whole_picture_is_taken_not_the_cover(tmp_path: Path) -> None:
    make_video(tmp_path / "cover.png", seconds=0.1, size="320x320", arguments=("-frames:v", "1"))
    video = make_video(
        tmp_path / "one.mp4",
        seconds=4,
        inputs=("-i", str(tmp_path / "cover.png")),
        arguments=(
            "-map",
            "1",
            "-map",
            "0",
            "-c:v:0",
            "png",
            "-c:v:1",
            "libx264",
            "-disposition:v:0",
            "attached_pic",
        ),
    )
    assert frame_size(encode_video(video, SETTINGS, tmp_path / "spool" / "one")) == (96, 64)


def test_bytes_do_not_depend_on_the_instruction_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "one.mp4", seconds=4, size="192x128", rate=25)
    settings = replace(SETTINGS, short_side_px=128, fps=0.0, crf=23, preset="medium")
    encoding = encode.encoder_options

    def with_old_instructions(settings: EncodeSettings) -> list[str]:
        words = encoding(settings)
        index = words.index("-x264-params") + 1
        return [*words[:index], f"{words[index]}:asm=SSE2", *words[index + 1 :]]

    folders = [tmp_path / "spool" / name for name in ("new", "old")]
    encode_video(video, settings, folders[0])
    monkeypatch.setattr(encode, "encoder_options", with_old_instructions)
    encode_video(video, settings, folders[1])
    clips = [[path.read_bytes() for path in sorted(folder.glob("*.mp4"))] for folder in folders]
    assert clips[0] == clips[1]


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ({"short_side_px": 255}, "255"),
        ({"fps": -1.0}, "-1"),
        ({"fps": float("nan")}, "nan"),
        ({"clip_s": float("inf")}, "inf"),
        ({"min_clip_s": 17.0}, "17"),
        ({"crf": 52}, "52"),
        ({"gop": 0}, "gop is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float], value: str) -> None:
    with pytest.raises(ConfigError, match=value):
        EncodeSettings(**wrong)  # type: ignore[arg-type]


def make_clock(path: Path, *, seconds: float, rate: str) -> Path:
    """Render a gray video that brightens with time. `variable`: drop 3 of 4 frames in half 2."""
    source = f"color=black:size=32x32:rate={25 if rate == 'variable' else rate}"
    drop = ["select='lt(t,4)+not(mod(n,4))'"] if rate == "variable" else []
    filters = ",".join([*drop, f"geq=lum='16+{RISE}*T+X/32':cb=128:cr=128"])
    ffmpeg(
        *(
            "-f",
            "lavfi",
            "-t",
            seconds,
            "-i",
            source,
            "-vf",
            filters,
            "-vsync",
            "vfr",
            "-pix_fmt",
            "yuv420p",
        ),
        *("-c:v", "libx264", "-preset", "ultrafast", "-qp", 0, path),
    )
    return path


def assert_quick_to_decode(path: Path, num_frames: int, gop: int) -> None:
    """Check the stream: all frames, a keyframe every `gop` frames and a constant rate from 0."""
    output = ffprobe(path, "-show_streams", "-show_frames")
    assert [stream["codec_name"] for stream in output["streams"]] == ["h264"]
    frames = output["frames"]
    assert len(frames) == num_frames == int(output["streams"][0]["nb_frames"])
    assert [index for index, frame in enumerate(frames) if frame["key_frame"]] == list(
        range(0, num_frames, gop)
    )
    assert {frame["pict_type"] for frame in frames} <= {"I", "P"}
    stamps = np.array([frame["best_effort_timestamp"] for frame in frames])
    assert stamps[0] == 0
    assert np.ptp(np.diff(stamps)) <= 1


def picture_types(path: Path) -> list[str]:
    return [frame["pict_type"] for frame in ffprobe(path, "-show_frames")["frames"]]


def frame_size(encoded: EncodedVideo) -> tuple[int, int]:
    stream = ffprobe(encoded.folder / encoded.clips[0].file, "-show_streams")["streams"][0]
    return stream["width"], stream["height"]


def frames(
    path: Path, width: int, height: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Return the luma of all frames, t x h x w, in the stored limited range."""
    raw = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            str(path),
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-vsync",
            "0",
            "-",
        ],
        check=True,
        capture_output=True,
    ).stdout
    planes = np.frombuffer(raw, dtype=np.uint8).reshape(-1, width * height * 3 // 2)
    return planes[:, : width * height].reshape(-1, height, width).astype(np.float64)


def brightness(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Return the mean luma of each frame of a video of 32 x 32 pixels."""
    return frames(path, 32, 32).mean(axis=(1, 2))


def combing(video: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Return the mean difference of each line from the two lines around it."""
    return float(np.abs(video[:, 1:-1] - (video[:, :-2] + video[:, 2:]) / 2).mean())
