"""Twins: videos that seem to show the same, such as an SD and an HD copy. They are only told."""

import itertools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from surgrec_shard.group_records import PackedGroup, video_ends
from surgrec_shard.groups import PlannedVideo

_SAME_S = 0.5
"""Accepted difference between the lengths of twins, seconds."""
_QUALITY = re.compile(
    r"(?<![a-z0-9])(sd|hd|fhd|uhd|[248]k|low|high|lowres|hires|proxy|original|copy"
    r"|[0-9]{3,4}[pi]|[0-9]{3,4}x[0-9]{3,4})(?![a-z0-9])"
)
_SEPARATORS = re.compile(r"[^a-z0-9/]+")


def find_twins(
    planned: Sequence[PlannedVideo], packed: Mapping[str, PackedGroup]
) -> dict[str, str]:
    """Return a sentence about each video that has a twin, by its name in the corpus.

    Twins have one source and one view, equal lengths, and paths that are equal without suffix and
    without words of quality, such as `sd` or `1080p`.

    Args:
        planned: The videos.
        packed: The packed groups by name.
    """
    ends = video_ends(packed.values())
    named: dict[tuple[str, str, str], list[PlannedVideo]] = defaultdict(list)
    for video in planned:
        if video.id in ends:
            key = video.video.source, video.video.view, _plain_path(video)
            named[key].append(video)

    twins: dict[str, str] = {}
    numbers = itertools.count(1)
    for videos in named.values():
        videos.sort(key=lambda video: ends[video.id])
        for one, other in itertools.pairwise(videos):
            if ends[other.id] - ends[one.id] > _SAME_S:
                continue
            # No path: a removal of one must leave nothing of it here.
            if one.id not in twins:
                twins[one.id] = (
                    f"twin {next(numbers)}: of the same name and length as the other video with "
                    "this number, it may be a copy"
                )
            twins[other.id] = twins[one.id]
    return twins


def _plain_path(video: PlannedVideo) -> str:
    """Return the path of a video without the words that tell twins apart."""
    path = video.video.path
    text = (path if video.video.pictures else path.with_suffix("")).as_posix().lower()
    return _SEPARATORS.sub("", _QUALITY.sub("", _SEPARATORS.sub(" ", text)))
