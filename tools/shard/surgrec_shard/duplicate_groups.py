"""Duplicate groups of clips, from copies of stretches."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from surgrec.shards import Clip, Sample
from surgrec.shards.layout import DUPLICATE_GROUP
from surgrec_shard.dedup import Duplicate
from surgrec_shard.stored_hashes import StoredVideo

_LEAST_COPIED = 0.5
"""Share of a clip that lies in a copied stretch, from which it joins a group."""
_LEAST_SHARED = 0.25
"""Share of a clip that shows seconds of the first clip of its group."""
_LEAST_SIMILAR = 0.8
"""Similarity from which stretches of one case count: its parts show the same still views."""

_Name = tuple[str, str]
"""Source and name of a video."""


class _Tie(NamedTuple):
    """A copy, as one of its videos sees it. Times are in seconds."""

    start_s: float
    end_s: float
    other: _Name
    other_start_s: float
    other_end_s: float

    def to_other(self, second: float) -> float:
        share = (second - self.start_s) / (self.end_s - self.start_s)
        return self.other_start_s + share * (self.other_end_s - self.other_start_s)

    def from_other(self, second: float) -> float:
        share = (second - self.other_start_s) / (self.other_end_s - self.other_start_s)
        return self.start_s + share * (self.end_s - self.start_s)


class _Place(NamedTuple):
    """The seconds of a clip that show seconds of the first clip of its group."""

    first: str
    """Key of the first clip."""
    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def group_clips(
    videos: Sequence[StoredVideo], copies: Iterable[Duplicate]
) -> dict[tuple[str, str], int]:
    """Return the duplicate group of every clip, by key and SHA-256; 0: it has no copy.

    A group is a first clip and the clips that show its seconds. Clips of longer videos come first.
    A clip joins the group of which it shows most, if at least half of it lies in a copy. Seconds
    are followed from copy to copy, so a title in many videos does not unite their other clips.
    Copies within a case must be very similar: its videos may show one view at different times.

    Args:
        videos: All videos of the corpus.
        copies: The copies among them.
    """
    by_name = {(video.source, video.name): video for video in videos}
    ties: dict[_Name, list[_Tie]] = defaultdict(list)
    for copy in copies:
        if copy.same_case and copy.similarity < _LEAST_SIMILAR:
            continue
        here, there = (copy.source, copy.video), (copy.other_source, copy.other_video)
        span, other_span = (copy.start_s, copy.end_s), (copy.other_start_s, copy.other_end_s)
        ties[here].append(_Tie(*span, there, *other_span))
        ties[there].append(_Tie(*other_span, here, *span))

    # A clip joins a group of earlier clips, or is the first of its own.
    places: dict[str, _Place] = {}
    for video in sorted((by_name[name] for name in ties), key=_longest_first):
        for sample in video.samples:
            clip = sample.clip
            found = [
                place
                for tie in ties[video.source, video.name]
                for place in _places(clip, tie, by_name[tie.other].samples, places)
            ]
            own = _Place(sample.key, clip.start_s, clip.start_s + clip.duration_s)
            places[sample.key] = max(found, key=lambda place: place.length_s, default=own)

    sizes = Counter(place.first for place in places.values())
    firsts = sorted(first for first, size in sizes.items() if size > 1)
    numbers = {first: number for number, first in enumerate(firsts, start=1)}
    return {
        (sample.key, sample.sha256): numbers.get(places[sample.key].first, 0)
        if sample.key in places
        else 0
        for video in videos
        for sample in video.samples
    }


def groups_table(groups: Mapping[tuple[str, str], int]) -> pa.Table:
    """Return groups as a further column of an index.

    Args:
        groups: The group of each clip by key and SHA-256.
    """
    keys, digests = zip(*groups, strict=True) if groups else ((), ())
    columns = {"key": keys, "sha256": digests, DUPLICATE_GROUP: groups.values()}
    types = {"key": pa.string(), "sha256": pa.string(), DUPLICATE_GROUP: pa.int64()}
    return pa.table({name: pa.array(columns[name], types[name]) for name in types})


def _longest_first(video: StoredVideo) -> tuple[float, str, str]:
    seconds = sum(sample.clip.duration_s for sample in video.samples)
    return (-round(seconds, 3), video.source, video.name)


def _places(
    clip: Clip, tie: _Tie, others: Sequence[Sample], places: Mapping[str, _Place]
) -> Iterator[_Place]:
    """Yield the places that a clip can have in groups of the other video's clips.

    Args:
        clip: The clip.
        tie: A copy of its video.
        others: The clips of the other video, by time.
        places: Places of earlier clips.
    """
    start_s = max(clip.start_s, tie.start_s)
    end_s = min(clip.start_s + clip.duration_s, tie.end_s)
    if end_s - start_s < _LEAST_COPIED * clip.duration_s:
        return

    # The other clips at the corresponding time, and of their seconds those of their first clip.
    other_start_s, other_end_s = tie.to_other(start_s), tie.to_other(end_s)
    begin = bisect_right(others, other_start_s, key=lambda sample: sample.clip.start_s) - 1
    for sample in others[max(0, begin) :]:
        if sample.clip.start_s >= other_end_s:
            break
        place = places.get(sample.key)
        if place is not None:
            shared = _Place(
                place.first,
                tie.from_other(max(place.start_s, other_start_s)),
                tie.from_other(min(place.end_s, other_end_s)),
            )
            if shared.length_s >= _LEAST_SHARED * clip.duration_s:
                yield shared
