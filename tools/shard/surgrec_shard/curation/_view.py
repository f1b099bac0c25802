"""The view of one video: its masks, and the overlays and the crop that a first look finds."""

import math
from dataclasses import dataclass, replace

from surgrec.recordings import BadVideoError, PictureReader, Recording, RecordingFacts, stored_size
from surgrec.recordings.view import Box, View
from surgrec_shard.curation._crop import find_crop
from surgrec_shard.curation._seen_overlays import Look, SeenOverlays, see_overlays

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
    overlays: SeenOverlays | None = None
    """None: they were not looked for."""


def find_view(
    recording: Recording,
    facts: RecordingFacts,
    masks: tuple[Box, ...],
    *,
    crop: str,
    max_cut: float,
    overlays: str = "off",
) -> CuratedView:
    """Return the view of a video. A crop that is not sure is refused, and told.

    Args:
        recording: The recording.
        facts: Its properties.
        masks: Boxes that are painted black.
        crop: `border`, `circle` or `none`.
        max_cut: Largest share of the picture that is cut.
        overlays: `report` looks for static overlays, `mask` also paints them black; `off`.

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
    if crop == "none" and overlays == "off":
        return CuratedView(view=view, notes=tuple(notes))

    # One look serves both.
    look = _look(recording, facts, view)
    seen = None
    if overlays != "off":
        seen = see_overlays(look, masks)
        if overlays == "mask":
            view = replace(view, masks=(*masks, *seen.boxes))
            look = look.painted(seen.boxes)
        notes += seen.notes(is_masked=overlays == "mask")

    if crop != "none":
        found = find_crop(look.lumas, circle=crop == "circle", max_cut=max_cut)
        if isinstance(found, str):
            notes.append(f"not cropped: {found}")
        else:
            box = _enlarged(found, look.size, look.whole)
            if (box.width, box.height) != look.whole:
                view = replace(view, crop=box)
                notes.append(f"cropped to {box} of {facts.width} x {facts.height} pixels")

    return CuratedView(view=view, notes=tuple(notes), overlays=seen)


def _look(recording: Recording, facts: RecordingFacts, view: View) -> Look:
    """Return a few pictures, of keyframes if there are enough of them."""
    size = stored_size(facts, _SHORT_SIDE_PX)
    keys = sum(len(part.timeline.keys_s) for part in facts.parts)
    rate = _PICTURES / max(facts.duration_s, 1.0)
    is_sparse = keys >= _FEWEST_KEYS
    with PictureReader(
        recording, facts, size=size, rate=rate, view=view, keys_only=is_sparse
    ) as pictures:
        return Look(
            pictures=tuple(bytes(picture.data) for picture in pictures),
            size=size,
            whole=(facts.width, facts.height),
        )


def _enlarged(box: Box, size: tuple[int, int], whole: tuple[int, int]) -> Box:
    """Return a box of a smaller picture in pixels of the whole one, even, and not larger."""
    across, down = whole[0] / size[0], whole[1] / size[1]
    left, top = math.ceil(box.x * across), math.ceil(box.y * down)
    right, bottom = (
        math.floor((box.x + box.width) * across),
        math.floor((box.y + box.height) * down),
    )
    left, top = left + left % 2, top + top % 2
    return Box(x=left, y=top, width=(right - left) // 2 * 2, height=(bottom - top) // 2 * 2)
