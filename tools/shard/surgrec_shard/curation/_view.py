"""The view of one video: its masks, and a crop that a first look at its pictures finds."""

import math
from dataclasses import dataclass, replace

import numpy as np

from surgrec.recordings import BadVideoError, PictureReader, Recording, RecordingFacts, stored_size
from surgrec.recordings.view import Box, View
from surgrec_shard.curation._crop import Gray, find_crop
from surgrec_shard.curation._measures import planes_of

_PICTURES = 32
"""Pictures that are looked at, spread over the video."""
_FEWEST_KEYS = 12
"""Keyframes from which they alone are decoded."""
_SHORT_SIDE_PX = 540
"""Size at which pictures are looked at."""


@dataclass(frozen=True, kw_only=True)
class CuratedView:
    """The view of one video, and its notes for the private report."""

    view: View
    notes: tuple[str, ...]


def find_view(
    recording: Recording,
    facts: RecordingFacts,
    masks: tuple[Box, ...],
    *,
    crop: str,
    max_cut: float,
) -> CuratedView:
    """Return the view of a video. A crop that is not sure is refused, and told.

    Args:
        recording: The recording.
        facts: Its properties.
        masks: Boxes that are painted black.
        crop: `border`, `circle` or `none`.
        max_cut: Largest share of the picture that is cut.

    Raises:
        BadVideoError: A mask is outside the picture, or the file cannot be decoded.
        FfmpegError: ffmpeg cannot decode the file.
    """
    for box in masks:
        if box.x + box.width > facts.width + 1 or box.y + box.height > facts.height + 1:
            raise BadVideoError(
                "mask",
                f"the mask {box} is not inside the picture, which has {facts.width} x "
                f"{facts.height} pixels; give boxes in pixels of this video",
            )

    view = View(masks=masks)
    notes = [f"masked: {'; '.join(map(str, masks))}"] if masks else []

    if crop != "none":
        pictures = _look(recording, facts, view)
        found = find_crop(pictures, circle=crop == "circle", max_cut=max_cut)
        if isinstance(found, str):
            notes.append(f"not cropped: {found}")
        else:
            box = _enlarged(found, pictures[0].shape, (facts.width, facts.height))
            if (box.width, box.height) != (facts.width, facts.height):
                view = replace(view, crop=box)
                notes.append(f"cropped to {box} of {facts.width} x {facts.height} pixels")

    return CuratedView(view=view, notes=tuple(notes))


def _look(recording: Recording, facts: RecordingFacts, view: View) -> list[Gray]:
    """Return the luma of a few pictures, of keyframes if there are enough of them."""
    size = stored_size(facts, _SHORT_SIDE_PX)
    keys = sum(len(part.timeline.keys_s) for part in facts.parts)
    rate = _PICTURES / max(facts.duration_s, 1.0)
    is_sparse = keys >= _FEWEST_KEYS
    with PictureReader(
        recording, facts, size=size, rate=rate, view=view, keys_only=is_sparse
    ) as pictures:
        return [np.array(planes_of(picture.data, *size)[0]) for picture in pictures]


def _enlarged(box: Box, shape: tuple[int, ...], size: tuple[int, int]) -> Box:
    """Return a box of a smaller picture in pixels of the whole one, even, and not larger."""
    across, down = size[0] / shape[1], size[1] / shape[0]
    left, top = math.ceil(box.x * across), math.ceil(box.y * down)
    right, bottom = (
        math.floor((box.x + box.width) * across),
        math.floor((box.y + box.height) * down),
    )
    left, top = left + left % 2, top + top % 2
    return Box(x=left, y=top, width=(right - left) // 2 * 2, height=(bottom - top) // 2 * 2)
