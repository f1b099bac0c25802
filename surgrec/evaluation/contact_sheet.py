"""A picture of a source: one frame each of clips from as many of its videos as fit."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from surgrec.clips.crop import Box
from surgrec.clips.decode import decode_clip
from surgrec.shards.corpus import Source
from surgrec.shards.layout import Sample


def contact_sheet(source: Source, *, columns: int = 8, rows: int = 2, height_px: int = 96) -> bytes:
    """A JPEG of frames from the middle of `columns * rows` clips, spread over the videos of a source.

    Raises:
        SampleError: A clip cannot be decoded.
        StorageError: A shard cannot be read.
    """
    frames = [_thumbnail(source, sample, height_px) for sample in spread_samples(source, columns * rows)]
    width_px = max(frame.width for frame in frames)
    used_columns = min(columns, len(frames))
    sheet = Image.new("RGB", (width_px * used_columns, height_px * -(-len(frames) // used_columns)))
    for place, frame in enumerate(frames):
        row, column = divmod(place, used_columns)
        sheet.paste(frame, (column * width_px + (width_px - frame.width) // 2, row * height_px))
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


def spread_samples(source: Source, count: int) -> list[Sample]:
    """At most `count` samples of a source, from as many of its videos as possible, and always the same ones."""
    videos = np.asarray(source.index.column("video").to_numpy(zero_copy_only=False), dtype=str)
    turn = np.empty(len(videos), dtype=np.int64)  # how many samples of the same video stand before this one
    for video in np.unique(videos):
        own = np.flatnonzero(videos == video)
        turn[own] = np.arange(len(own))
    chosen = np.lexsort((videos, turn))[:count]
    return [source.index.sample(int(row)) for row in chosen]


def _thumbnail(source: Source, sample: Sample, height_px: int) -> Image.Image:
    clip = sample.clip
    mp4 = source.store.read_range(f"{source.name}/{sample.shard}", sample.mp4_offset, sample.mp4_size)
    box = Box(top=0, left=0, height=clip.height, width=clip.width)
    frames = decode_clip(mp4, np.array([clip.duration_s / 2]), box, num_frames=clip.num_frames, key=sample.key)
    image: UInt8[np.ndarray, "h w c"] = frames[0].permute(1, 2, 0).numpy()
    return Image.fromarray(image).resize(
        (round(clip.width * height_px / clip.height), height_px), Image.Resampling.BILINEAR
    )
