"""A picture of a source: one frame each of clips from as many of its videos as fit."""

from dataclasses import dataclass

import numpy as np
from einops import rearrange
from PIL import Image

from surgrec.clips import Box
from surgrec.errors import SampleError
from surgrec.report.example_clips import read_frames, spread_samples
from surgrec.report.images import jpeg
from surgrec.shards import Sample, Source


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """Frames of a source side by side."""

    picture: bytes | None
    """A JPEG; None where no clip could be decoded."""
    bad: list[str]
    """Why clips are missing in it."""


def contact_sheet(
    source: Source, *, columns: int = 8, rows: int = 2, height_px: int = 96
) -> ContactSheet:
    """Frames from the middle of `columns * rows` clips, spread over the videos of a source.

    Raises:
        StorageError: A shard cannot be read.
    """
    frames, bad = [], []
    for sample in spread_samples(source, np.arange(source.index.num_rows), columns * rows):
        try:
            frames.append(_thumbnail(source, sample, height_px))
        except SampleError as error:
            bad.append(str(error))
    return ContactSheet(picture=_sheet(frames, columns, height_px) if frames else None, bad=bad)


def _sheet(frames: list[Image.Image], columns: int, height_px: int) -> bytes:
    width_px = max(frame.width for frame in frames)
    used_columns = min(columns, len(frames))
    sheet = Image.new(
        "RGB", (width_px * used_columns, height_px * -(-len(frames) // used_columns)), "white"
    )
    for place, frame in enumerate(frames):
        row, column = divmod(place, used_columns)
        sheet.paste(frame, (column * width_px + (width_px - frame.width) // 2, row * height_px))
    return jpeg(np.asarray(sheet), quality=80)


def _thumbnail(source: Source, sample: Sample, height_px: int) -> Image.Image:
    clip = sample.clip
    box = Box(top=0, left=0, height=clip.height, width=clip.width)
    frame = read_frames(source, sample, np.array([clip.duration_s / 2]), box)[0]
    size = (round(clip.width * height_px / clip.height), height_px)
    return Image.fromarray(rearrange(frame, "c h w -> h w c").numpy()).resize(
        size, Image.Resampling.BILINEAR
    )
