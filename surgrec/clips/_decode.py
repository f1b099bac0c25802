"""Decoding of MP4 bytes with torchcodec.

Only the cropped part of each frame is converted to RGB.
"""

import functools
import importlib.metadata
import re
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from surgrec.clips._crop import Box
from surgrec.clips.machine import require_machine
from surgrec.errors import SampleError, SetupError
from surgrec.shards.frame_clock import FrameClock

_LEAST_VERSION = (0, 11, 1)
"""Earlier versions need a library of CUDA that their packages do not name."""
_SAME_RATE = 1e-9
"""Largest relative difference of one rate, computed in two ways."""
_LOAD_FAILURE = re.compile(r"^(?:OSError|ImportError|RuntimeError): (.+)$", re.MULTILINE)
_FFMPEG_LIBRARY = re.compile(r"lib(av|sw)\w+\.so\S*: cannot open shared object file")


@functools.cache
def torchcodec_classes() -> tuple[Any, Any]:
    """Import torchcodec and return its `VideoDecoder` and a transform that crops a fixed box.

    Call it before workers are forked: the import then happens once.

    Raises:
        SetupError: torchcodec is missing, too old, or cannot load an FFmpeg library.
    """
    _require_version()
    try:
        from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined]  # re-exported
        from torchcodec.transforms import DecoderTransform  # type: ignore[attr-defined]
    except (ImportError, RuntimeError, OSError) as error:
        raise SetupError(_missing_torchcodec(str(error))) from error

    # Newer versions load FFmpeg with the first video. Without it, every clip would seem damaged.
    try:
        VideoDecoder(b"\0")
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        if "load libtorchcodec" in str(error):
            raise SetupError(_missing_torchcodec(str(error))) from error

    # torchcodec imports this at the first crop: 0.2 s, which every worker would spend again.
    with suppress(ImportError):
        import torchvision.transforms.v2  # type: ignore[import-untyped]  # noqa: F401

    class FixedCrop(DecoderTransform):
        """Crop of a given box. torchcodec itself offers random and central crops only.

        Cropping in the decoder saves at least a tenth of the decoding time.
        """

        def __init__(self, box: Box) -> None:
            self.box = box

        def _make_transform_spec(self, input_dims: tuple[int | None, int | None]) -> str:
            return f"crop, {self.box.height}, {self.box.width}, {self.box.left}, {self.box.top}"

        def _get_output_dims(self) -> tuple[int | None, int | None]:
            return self.box.height, self.box.width

    return VideoDecoder, FixedCrop


def _missing_torchcodec(text: str) -> str:
    """Return the reason why torchcodec cannot be used, and the remedy.

    Its error lists one failure per version of FFmpeg. Those about FFmpeg's own libraries are
    expected for all versions that are not installed, so another failure is the real one.
    """
    reasons = list(dict.fromkeys(_LOAD_FAILURE.findall(text)))
    real = [reason for reason in reasons if not _FFMPEG_LIBRARY.match(reason)]
    if real:
        versions = " and ".join(f"{name} {_version(name)}" for name in ("torchcodec", "torch"))
        return (
            f"torchcodec cannot be loaded ({real[0]}); {versions} may not belong together: "
            "install versions that do (github.com/meta-pytorch/torchcodec lists them)"
        )

    lines = (line.strip() for line in text.splitlines())
    first = reasons[0] if reasons else next((line for line in lines if line), "no reason given")
    return (
        f"torchcodec cannot be used ({first}); install torchcodec, and FFmpeg 4 to 8 with its "
        "shared libraries (Debian, Ubuntu: apt-get install ffmpeg)"
    )


def _require_version() -> None:
    found = _version("torchcodec")
    numbers = tuple(int(number) for number in re.findall(r"\d+", found.partition("+")[0])[:3])
    if numbers and numbers < _LEAST_VERSION:
        least = ".".join(map(str, _LEAST_VERSION))
        raise SetupError(f"torchcodec {found} is too old; install torchcodec {least} or later")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def decode_clip(
    mp4: bytes,
    times: Float64[np.ndarray, " t"],
    box: Box,
    *,
    num_frames: int,
    key: str,
    clock: FrameClock | None = None,
) -> UInt8[Tensor, "t c h w"]:
    """Decode the frames that are on screen at given times, cropped to a box.

    A clip that cannot be decoded is tried once more: while memory is short, FFmpeg may call good
    data invalid, and another thread may have freed memory since.

    Args:
        mp4: The stored clip.
        times: Seconds from the start of the stored clip.
        box: Part of each frame to keep.
        num_frames: Number of frames that the index records for the stored clip.
        key: Sample key, for error messages.
        clock: The times of its frames, as the index states them. Without it, all packets of the
            clip are scanned for them, and the frames are the same.

    Returns:
        RGB in [0, 255].

    Raises:
        SampleError: The bytes are not a video, hold a different number of frames, or cannot be
            decoded.
        MachineError: Memory ran out.
    """
    try:
        return _decode_once(mp4, times, box, num_frames, key, clock)
    except SampleError:
        return _decode_once(mp4, times, box, num_frames, key, clock)


def _decode_once(
    mp4: bytes,
    times: Float64[np.ndarray, " t"],
    box: Box,
    num_frames: int,
    key: str,
    clock: FrameClock | None,
) -> UInt8[Tensor, "t c h w"]:
    video_decoder, fixed_crop = torchcodec_classes()
    try:
        decoder = video_decoder(
            mp4,
            num_ffmpeg_threads=1,
            device="cpu",
            seek_mode="approximate" if clock else "exact",
            transforms=[fixed_crop(box)],
        )

        stored = decoder.metadata.num_frames
        if stored != num_frames:
            raise SampleError(
                f"{key}: the clip has {stored} frames, but the index lists {num_frames}"
            )

        if clock is None:
            frames: Tensor = decoder.get_frames_played_at(seconds=times.tolist()).data
        else:
            rate = decoder.metadata.average_fps
            if rate is None or abs(rate - clock.rate) > _SAME_RATE * clock.rate:
                raise SampleError(
                    f"{key}: the clip has {rate} frames per second, but the index states the "
                    f"clock {clock.timescale} / {clock.ticks}"
                )
            shown = _frames_on_screen(times, clock, num_frames)
            frames = decoder.get_frames_at(indices=shown.tolist()).data
    except (RuntimeError, ValueError, IndexError, MemoryError, OSError) as error:
        require_machine(error, f"{key}: the clip cannot be decoded")
        message = next(iter(str(error).splitlines()), type(error).__name__)
        raise SampleError(f"{key}: the clip cannot be decoded ({message})") from error
    return frames


def _frames_on_screen(
    times: Float64[np.ndarray, " t"], clock: FrameClock, num_frames: int
) -> Int64[np.ndarray, " t"]:
    """Return the number of the frame that is on screen at each time.

    It is the last one that has begun, by the same double precision as in torchcodec's exact mode.

    Raises:
        ValueError: A time is outside of the clip.
    """
    starts = clock.starts(num_frames + 1)
    outside = times[~((times >= 0) & (times < starts[-1]))]
    if len(outside):
        raise ValueError(f"no frame is on screen at {outside[0]:g} s of {starts[-1]:g} s")
    return np.searchsorted(starts, times, side="right").astype(np.int64) - 1
