"""The plan of a build: videos with their names in the corpus, in groups. Pure functions."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from surgrec.annotations import Label, VideoLabels
from surgrec.manifest import Video
from surgrec.ranges import Range, check_ranges
from surgrec.recordings import FileIdentity
from surgrec_shard.curation import ListedStretch

_PACKING_VERSION = 2
"""Raise it with every change of grouping or packing that changes the bytes of a shard."""
_NAME_BITS = 48
"""Bits in the name of a video: 12 hex digits."""
_MOST_HALVINGS = 15
"""Groups are not divided further: the numbers of their halves would not fit into shard names."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How clips are packed into shards."""

    shard_bytes: Annotated[int, Range(1, 10**13)] = 512_000_000
    """Largest size of a shard, bytes."""
    group_videos: Annotated[int, Range(1, 10**6)] = 32
    """Most videos of one source and split whose clips are shuffled together."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """A video with its names in the corpus."""

    video: Video
    id: str
    """Name of the video in the corpus: 12 hex digits."""
    case: str
    """The pseudonym, or the case name itself if the source is public."""
    annotations: VideoLabels = VideoLabels()
    identity: FileIdentity | None = None
    """Identity of the file that was hashed; None if it need not be compared."""
    overlap: str = ""
    """Why the video is left out: it overlaps a corpus for evaluation. A private sentence."""
    listed: tuple[ListedStretch, ...] = ()
    """Stretches that are not stored."""
    curation: str = ""
    """Digest of its own curation, beside the settings of the build; empty: none."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels of the video, sorted by time."""
        return self.annotations.labels

    def facts(self) -> dict[str, object]:
        """Return everything about the video that reaches the shards, as JSON. Its path does not."""
        video = self.video
        return {
            "id": self.id,
            "case": self.case,
            "source": video.source,
            "domain": video.domain,
            "split": video.split,
            "procedure": video.procedure,
            "view": video.view,
            "license": video.license,
            "labels": [asdict(label) for label in self.labels],
            **({"left_out": "overlap"} if self.overlap else {}),
            **({"curation": self.curation} if self.curation else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Group:
    """Videos of one source and split that are packed together. Its shards depend on it alone."""

    source: str
    split: str
    number: int
    videos: tuple[PlannedVideo, ...]
    settings: str
    """Digest of the encoding settings, the encoder and the packing."""

    @property
    def name(self) -> str:
        """`<source>-<split>-<number>`, unique in a corpus."""
        return f"{self.source}-{self.split}-{self.number:05d}"

    def digest(self) -> str:
        """Return a digest that changes whenever a byte of the group's shards would change."""
        return _digest([self.settings, self.name, [video.facts() for video in self.videos]])


def make_groups(
    videos: Sequence[PlannedVideo], encode_digest: str, pack: PackSettings
) -> list[Group]:
    """Return the groups of a build, sorted by source, split and number.

    The videos of a source and split form one group. A group with more than `pack.group_videos`
    videos is halved by the next bit of their names, and so on. The names of all videos therefore
    decide the groups, whatever the order in which the videos came. A video more or less changes
    its own group, or divides it, or joins it with its other half. Sizes vary: a group has about
    70 % of the most videos on average.

    Args:
        videos: All videos of the build.
        encode_digest: Digest of the encoding settings.
        pack: The packing settings.
    """
    settings = _digest([_PACKING_VERSION, encode_digest, asdict(pack)])
    by_source_and_split: dict[tuple[str, str], list[PlannedVideo]] = defaultdict(list)
    for video in sorted(videos, key=lambda video: video.id):
        by_source_and_split[video.video.source, video.video.split].append(video)

    return [
        Group(source=source, split=split, number=number, videos=tuple(members), settings=settings)
        for (source, split), together in sorted(by_source_and_split.items())
        for number, members in sorted(
            _halved(together, pack.group_videos), key=lambda group: group[0]
        )
    ]


def _halved(
    videos: list[PlannedVideo], most: int, number: int = 0, halvings: int = 0
) -> Iterator[tuple[int, list[PlannedVideo]]]:
    """Yield groups of at most `most` videos with their numbers.

    The halves of group n are numbered 2 n + 1 and 2 n + 2, as in a heap.
    """
    if len(videos) <= most or halvings == _MOST_HALVINGS:
        if videos:
            yield number, videos
        return
    bit = 1 << (_NAME_BITS - 1 - halvings)
    for half, is_set in enumerate((False, True)):
        members = [video for video in videos if bool(int(video.id, 16) & bit) is is_set]
        yield from _halved(members, most, 2 * number + 1 + half, halvings + 1)


def source_plan_digest(groups: Sequence[Group], *, is_final: bool = True) -> str:
    """Return the digest of a source's plan. Equal digests mean equal bytes.

    Args:
        groups: All groups of the source.
        is_final: False if the next build tries some of the videos again: the digest is then that
            of no other build.
    """
    digests = [group.digest() for group in groups]
    return _digest(digests if is_final else ["not final", *digests])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()
