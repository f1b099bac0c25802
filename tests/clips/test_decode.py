import errno
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec.clips import Box, decode_clip, torchcodec_classes
from surgrec.clips.machine import require_machine
from surgrec.errors import MachineError, SampleError, SetupError
from surgrec.shards.frame_clock import FrameClock, read_frame_clock
from tests.support.videos import make_video

FRAME = Box(top=0, left=0, height=66, width=98)
FPS, FRAMES = 8, 16


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mp4") / "clip.mp4"
    return make_video(
        path, seconds=FRAMES / FPS, size="98x66", rate=FPS, arguments=["-bf", "0", "-g", "4"]
    ).read_bytes()


def decode(mp4: bytes, times: list[float], box: Box = FRAME, num_frames: int = FRAMES) -> Tensor:
    return decode_clip(mp4, np.array(times), box, num_frames=num_frames, key="alpha_0123_000")


def test_frames_are_rgb_bytes_in_the_order_of_their_times(mp4: bytes) -> None:
    everything = decode(mp4, [frame / FPS for frame in range(FRAMES)])
    assert everything.shape == (FRAMES, 3, 66, 98)
    assert everything.dtype == torch.uint8
    assert everything.float().std() > 20
    assert all(not torch.equal(everything[0], frame) for frame in everything[1:])
    backwards = decode(mp4, [1.5, 0.25, 0.25, 0.0])
    assert torch.equal(backwards, everything[[12, 2, 2, 0]])


def test_the_frame_at_a_time_is_the_latest_one_that_has_begun(mp4: bytes) -> None:
    third = decode(mp4, [2 / FPS])
    for time_s in (2 / FPS + 0.001, 2.5 / FPS, 3 / FPS - 0.001):
        assert torch.equal(decode(mp4, [time_s]), third)
    assert torch.equal(decode(mp4, [FRAMES / FPS - 0.001]), decode(mp4, [(FRAMES - 1) / FPS]))


@pytest.mark.parametrize("top", [0, 1, 7])
@pytest.mark.parametrize("left", [0, 1, 30])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (33, 41), (59, 68)])
def test_a_crop_in_the_decoder_is_a_slice_of_the_whole_frame(
    mp4: bytes, top: int, left: int, height: int, width: int
) -> None:
    """Odd offsets too, where the chroma of the video has half the resolution."""
    whole = decode(mp4, [0.0, 1.0])
    part = decode(mp4, [0.0, 1.0], Box(top=top, left=left, height=height, width=width))
    assert torch.equal(part, whole[:, :, top : top + height, left : left + width])


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "6.25", "7.3", "8", "1/3", "60"])
@pytest.mark.parametrize("gop", [1, 8, 250])
def test_a_stated_clock_gives_the_frames_of_a_scan(rate: str, gop: int, tmp_path: Path) -> None:
    count = 23
    seconds = count / float(Fraction(rate))
    arguments = ["-frames:v", str(count), "-bf", "0", "-g", str(gop), "-sc_threshold", "0"]
    source = f"testsrc2=size=98x66:rate={rate}"
    mp4 = make_video(
        tmp_path / "clip.mp4",
        inputs=["-f", "lavfi", "-t", str(seconds + 1), "-i", source],
        arguments=["-map", "1", *arguments],
    ).read_bytes()
    clock = read_frame_clock(mp4, count)
    assert clock is not None

    # Every frame, at its start, just before and just after it, and in the middle.
    starts = clock.starts(count)
    for times in (
        starts,
        np.nextafter(starts, np.inf),
        np.nextafter(starts[1:], 0),
        starts + 0.5 / clock.rate,
        np.arange(count) * seconds / count,
        np.random.default_rng(0).uniform(0, seconds, 50),
    ):
        scanned, stated = (
            decode_clip(mp4, times, FRAME, num_frames=count, key="alpha", clock=each)
            for each in (None, clock)
        )
        assert torch.equal(scanned, stated)
    assert len({frame.numpy().tobytes() for frame in scanned}) > count // 2


def test_a_wrong_clock_or_time_is_a_sample_error(mp4: bytes) -> None:
    def decode_by(clock: FrameClock, time_s: float) -> Tensor:
        return decode_clip(
            mp4, np.array([time_s]), FRAME, num_frames=FRAMES, key="alpha", clock=clock
        )

    clock = read_frame_clock(mp4, FRAMES)
    assert clock == FrameClock(16_384, 2048)
    with pytest.raises(SampleError, match=r"has 8 frames per second, but .* clock 16384 / 1024"):
        decode_by(FrameClock(16_384, 1024), 0.0)
    for time_s in (-0.5, FRAMES / FPS, 5.0, math.nan):
        with pytest.raises(SampleError, match=r"alpha: the clip cannot be decoded .no frame is on"):
            decode_by(clock, time_s)
    assert torch.equal(decode_by(clock, 1.99), decode(mp4, [1.99]))


@pytest.mark.parametrize("times", [[FRAMES / FPS], [0.0, 5.0], [-0.5]])
def test_a_time_outside_the_clip_is_a_sample_error(mp4: bytes, times: list[float]) -> None:
    with pytest.raises(SampleError, match="alpha_0123_000: the clip cannot be decoded"):
        decode(mp4, times)


@pytest.mark.parametrize("num_frames", [FRAMES - 1, FRAMES + 1])
def test_an_unexpected_number_of_frames_is_a_sample_error(mp4: bytes, num_frames: int) -> None:
    with pytest.raises(
        SampleError,
        match=f"alpha_0123_000: the clip has 16 frames, but the index lists {num_frames}",
    ):
        decode(mp4, [0.0], num_frames=num_frames)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda mp4: b"",
    "text": lambda mp4: b"this is not a video " * 100,
    "noise": lambda mp4: np.random.default_rng(0).bytes(5000),
    "half": lambda mp4: mp4[: len(mp4) // 2],
    "end missing": lambda mp4: mp4[:-300],
    "middle zeroed": lambda mp4: mp4[:100] + bytes(len(mp4) - 200) + mp4[-100:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_bytes_that_are_not_a_whole_clip_are_a_sample_error(mp4: bytes, damage: str) -> None:
    with pytest.raises(SampleError, match="alpha_0123_000: "):
        decode(DAMAGE[damage](mp4), [0.0, 1.9])


def test_a_file_of_sound_alone_is_an_error_of_the_sample(tmp_path: Path) -> None:
    sine = ["-f", "lavfi", "-t", "2", "-i", "sine"]
    path = make_video(tmp_path / "sound.mp4", seconds=2, inputs=sine, arguments=["-map", "1"])
    with pytest.raises(SampleError, match="alpha_0123_000: the clip cannot be decoded"):
        decode(path.read_bytes(), [0.0])


def test_flipped_bits_end_in_frames_or_a_sample_error(mp4: bytes) -> None:
    chance, refused = np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(mp4)
        for offset in chance.integers(0, len(mp4), 20):
            damaged[offset] ^= 1 << int(chance.integers(8))
        try:
            assert decode(bytes(damaged), [0.0, 1.0]).shape == (2, 3, 66, 98)
        except SampleError:
            refused += 1
    assert refused > 5


@pytest.fixture
def without_torchcodec(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torchcodec_classes.cache_clear()
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    yield
    torchcodec_classes.cache_clear()


LOAD_ERROR = """Could not load libtorchcodec. Likely causes:
          1. FFmpeg is not properly installed in your environment.
[start of libtorchcodec loading traceback]
FFmpeg version 8:
Traceback (most recent call last):
  File "utils.py", line 132, in load_core_libraries
OSError: libavutil.so.60: cannot open shared object file: No such file or directory

FFmpeg version 5:
Traceback (most recent call last):
  File "utils.py", line 132, in load_core_libraries
OSError: {reason}
[end of libtorchcodec loading traceback]."""


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        (
            "libtorchcodec_core5.so: undefined symbol: _ZN3c104cuda",
            r"cannot be loaded \(libtorchcodec_core5\.so: undefined symbol: _ZN3c104cuda\); "
            r"torchcodec \d\S* and torch \d\S* may not belong together",
        ),
        (
            "libnppicc.so.13: cannot open shared object file",
            r"cannot be loaded \(libnppicc\.so\.13",
        ),
        (
            "libavutil.so.57: cannot open shared object file",
            r"cannot be used \(libavutil\.so\.60.*apt-get install ffmpeg",
        ),
    ],
)
def test_the_real_reason_is_told_and_no_clip_is_blamed(
    monkeypatch: pytest.MonkeyPatch, reason: str, found: str
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(LOAD_ERROR.format(reason=reason))

    torchcodec_classes.cache_clear()
    monkeypatch.setattr("torchcodec.decoders.VideoDecoder", fail)
    with pytest.raises(SetupError, match=found):
        torchcodec_classes()
    torchcodec_classes.cache_clear()


def test_an_old_torchcodec_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    torchcodec_classes.cache_clear()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.11.0+cpu")
    with pytest.raises(SetupError, match=r"torchcodec 0\.11\.0\+cpu is too old; .* 0\.11\.1"):
        torchcodec_classes()
    torchcodec_classes.cache_clear()


@pytest.mark.usefixtures("without_torchcodec")
def test_without_torchcodec_the_error_says_what_to_install() -> None:
    with pytest.raises(SetupError, match=r"torchcodec cannot be used .*apt-get install ffmpeg"):
        torchcodec_classes()


@pytest.mark.slow
def test_a_lack_of_memory_is_never_the_fault_of_a_sample(mp4: bytes, tmp_path: Path) -> None:
    """The address space of a process is limited more and more until a clip can be decoded."""
    (tmp_path / "clip.mp4").write_bytes(mp4)
    program = """
import re, resource, sys
from pathlib import Path
import numpy as np
from surgrec.clips import Box, decode_clip
from surgrec.errors import MachineError

mp4, frame = Path(sys.argv[1]).read_bytes(), Box(top=0, left=0, height=66, width=98)
decode = lambda: decode_clip(mp4, np.arange(16) / 8, frame, num_frames=16, key="alpha")
decode()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for spare_mb in (0, 1, 2, 4, 8, 16, 32, 64):
    resource.setrlimit(resource.RLIMIT_AS, (used + (spare_mb << 20), -1))
    try:
        kept = [decode() for _ in range(4)]
        ballast = [bytearray(1 << 18) for _ in range(1 << 10)]
    except (MachineError, MemoryError) as error:
        print(type(error).__name__, error)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "clip.mp4")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert "MachineError alpha: the clip cannot be decoded because the machine ran" in run.stdout


def test_a_lack_of_memory_that_has_passed_is_no_bad_sample(
    mp4: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg says so of good data without memory; another thread has freed some since."""
    right = decode(mp4, [0.0, 1.0])
    real, failures = torchcodec_classes(), ["Invalid data found when processing input"]

    def failing_once(*arguments: object, **options: object) -> object:
        if failures:
            raise RuntimeError(failures.pop())
        return real[0](*arguments, **options)

    classes = (failing_once, real[1])
    monkeypatch.setattr("surgrec.clips._decode.torchcodec_classes", lambda: classes)
    assert torch.equal(decode(mp4, [0.0, 1.0]), right)
    assert failures == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("can't start new thread"),
    ],
    ids=repr,
)
def test_a_failure_of_the_machine_is_told_from_bad_data(error: Exception) -> None:
    with pytest.raises(MachineError, match=r"^a batch because the machine ran out of memory"):
        require_machine(error, "a batch")


def test_bad_data_is_no_failure_of_the_machine() -> None:
    require_machine(RuntimeError("Invalid data found when processing input"), "a batch")
    require_machine(ValueError("no frame at 7 s"), "a batch")


@pytest.mark.parametrize("box", ["stsz", "stts"])
def test_a_clip_with_an_absurd_table_is_damaged_although_ffmpeg_lacks_memory(
    box: str, mp4: bytes
) -> None:
    damaged = bytearray(mp4)
    at = mp4.index(box.encode()) + 8  # the size of all pictures, or the number of entries
    damaged[at : at + 4] = (0x3FFFFFFF).to_bytes(4, "big")
    with pytest.raises(SampleError, match="Cannot allocate memory"):
        decode(bytes(damaged), [0.0])


def test_a_decoder_without_data_is_no_failure_of_the_machine() -> None:
    reason = "Could not push packet to decoder: Resource temporarily unavailable"
    require_machine(RuntimeError(reason), "a batch")


def test_ffmpegs_lack_of_means_is_the_machines_where_nothing_is_left() -> None:
    program = """
import os, resource
from surgrec.clips.machine import require_machine
from surgrec.errors import MachineError

def judge(reason):
    try:
        require_machine(RuntimeError(reason), "a batch")
    except MachineError as error:
        print(error)

resource.setrlimit(resource.RLIMIT_AS, (900 << 20, -1))
judge("Could not open codec: Cannot allocate memory")
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
if not os.getuid():
    os.setuid(65534)  # no limit of processes holds for root
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
judge("Could not open codec: Resource temporarily unavailable")
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    lines = run.stdout.splitlines()
    assert len(lines) == 2, run.stderr
    assert all(line.startswith("a batch because the machine ran out of") for line in lines)
