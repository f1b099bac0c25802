"""Bytes of an mp4 to frames, with torchcodec. Only the part of the frame that is wanted is converted to RGB."""

import functools
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from torch import Tensor

from surgrec.clips.crop import Box
from surgrec.errors import SampleError, SetupError


@functools.cache
def torchcodec_classes() -> tuple[Any, Any]:
    """torchcodec's decoder, and a crop at a fixed place for it. Imported once, and best before workers are forked.

    Raises:
        SetupError: torchcodec is missing, or finds no FFmpeg that it can use.
    """
    try:
        from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined]  # re-exported without saying so
        from torchcodec.transforms import DecoderTransform  # type: ignore[attr-defined]  # re-exported silently
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as error:  # RuntimeError where none of FFmpeg 4 to 8 can be loaded
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), "no reason given"
        )
        raise SetupError(
            f"torchcodec cannot be used ({reason}): install torchcodec, and FFmpeg 4 to 8 with its shared libraries "
            "(Debian, Ubuntu: apt-get install ffmpeg)"
        ) from error
    with suppress(
        ImportError
    ):  # torchcodec asks for it at the first crop: 0.2 s, which each worker would spend anew
        import torchvision.transforms.v2  # type: ignore[import-untyped]  # noqa: F401

    class FixedCrop(DecoderTransform):
        """torchcodec has a random and a central crop only; cropping in the decoder saves a tenth or more of the time."""

        def __init__(self, box: Box) -> None:
            self.box = box

        def _make_transform_spec(self, input_dims: tuple[int | None, int | None]) -> str:
            return f"crop, {self.box.height}, {self.box.width}, {self.box.left}, {self.box.top}"

        def _get_output_dims(self) -> tuple[int | None, int | None]:
            return self.box.height, self.box.width

    return VideoDecoder, FixedCrop


def decode_clip(
    mp4: bytes, times: Float64[np.ndarray, " t"], box: Box, *, num_frames: int, key: str
) -> UInt8[Tensor, "t c h w"]:
    """The frames that are on screen at these times, cropped. RGB, uint8 in [0, 255].

    Args:
        mp4: The stored clip.
        times: Seconds from the start of the stored clip.
        box: The part of each frame to keep.
        num_frames: Frames that the stored clip must have.
        key: Sample key, for messages.

    Raises:
        SampleError: The bytes are no video, hold another number of frames, or cannot be decoded.
    """
    video_decoder, fixed_crop = torchcodec_classes()
    try:
        decoder = video_decoder(
            mp4, num_ffmpeg_threads=1, device="cpu", seek_mode="exact", transforms=[fixed_crop(box)]
        )
        found = decoder.metadata.num_frames
        if found != num_frames:
            raise SampleError(f"{key}: the clip holds {found} frames, its index says {num_frames}")
        frames: Tensor = decoder.get_frames_played_at(seconds=times.tolist()).data
    except (RuntimeError, ValueError, IndexError) as error:
        raise SampleError(f"{key}: it cannot be decoded ({str(error).splitlines()[0]})") from error
    return frames
