"""Draw contact sheets: one frame each of clips, for a source from as many videos as possible."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from PIL import Image

from surgrec.clips import Box
from surgrec.errors import SampleError
from surgrec.report._example_clips import read_frames, spread_samples
from surgrec.report._images import jpeg
from surgrec.shards import Sample, Source


@dataclass(frozen=True, kw_only=True)
class ContactSheet:
    """Frames of clips side by side."""

    picture: str | None
    """A JPEG as a `data:` address. None if no clip could be decoded."""
    bad: list[str]
    """Reasons why clips are missing."""


def contact_sheet(
    source: Source, *, columns: int = 8, rows: int = 2, height_px: int = 96
) -> ContactSheet:
    """Draw the middle frames of `columns * rows` clips, spread over the videos of a source.

    Raises:
        StorageError: A shard cannot be read.
    """
    spread = spread_samples(source, np.arange(source.index.num_rows), columns * rows)
    return sheet_of([(source, sample) for sample in spread], columns=columns, height_px=height_px)


def sheet_of(
    samples: Sequence[tuple[Source, Sample]], *, columns: int = 8, height_px: int = 96
) -> ContactSheet:
    """Draw the middle frames of clips, in rows of `columns`.

    Raises:
        StorageError: A shard cannot be read.
    """
    frames, bad = [], []
    for source, sample in samples:
        try:
            frames.append(_thumbnail(source, sample, height_px))
        except SampleError as error:
            bad.append(str(error))

    picture = _join(frames, columns, height_px) if frames else None
    return ContactSheet(picture=picture, bad=bad)


def _thumbnail(source: Source, sample: Sample, height_px: int) -> Image.Image:
    clip = sample.clip
    whole = Box(top=0, left=0, height=clip.height, width=clip.width)
    frame = read_frames(source, sample, np.array([clip.duration_s / 2]), whole)[0]

    size = (round(clip.width * height_px / clip.height), height_px)
    image = Image.fromarray(rearrange(frame, "c h w -> h w c").numpy())
    return image.resize(size, Image.Resampling.BILINEAR)


def _join(frames: list[Image.Image], columns: int, height_px: int) -> str:
    """Return frames in rows, each centered in its cell, as a JPEG."""
    columns = min(columns, len(frames))
    num_rows = -(-len(frames) // columns)
    width_px = max(frame.width for frame in frames)
    sheet = Image.new("RGB", (width_px * columns, height_px * num_rows), "white")

    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(frame, (column * width_px + (width_px - frame.width) // 2, row * height_px))
    return jpeg(np.asarray(sheet), quality=80)
