"""The plan of a build: videos with their names in the corpus, in groups. Pure functions."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from surgrec.annotations import Label, VideoLabels
from surgrec.manifest import Video
from surgrec.ranges import Range, check_ranges
from surgrec.recordings import FileIdentity

_PACKING_VERSION = 1
"""Raise it with every change of grouping or packing that changes the bytes of a shard."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How clips are packed into shards."""

    shard_bytes: Annotated[int, Range(1, 10**13)] = 512_000_000
    """Largest size of a shard, bytes."""
    group_videos: Annotated[int, Range(1, 10**6)] = 32
    """Videos of one source and split whose clips are shuffled together."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """A video with its names in the corpus."""

    video: Video
    sha256: str
    case: str
    """The pseudonym, or the case name itself if the source is public."""
    annotations: VideoLabels = VideoLabels()
    identity: FileIdentity | None = None
    """Identity of the file that was hashed; None if it need not be compared."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels of the video, sorted by time."""
        return self.annotations.labels

    @property
    def id(self) -> str:
        """Name of the video in the corpus: the first 12 hex digits of its SHA-256."""
        return self.sha256[:12]

    def facts(self) -> dict[str, object]:
        """Return everything about the video that reaches the shards, as JSON. Its path does not."""
        video = self.video
        return {
            "sha256": self.sha256,
            "case": self.case,
            "source": video.source,
            "domain": video.domain,
            "split": video.split,
            "procedure": video.procedure,
            "view": video.view,
            "license": video.license,
            "labels": [asdict(label) for label in self.labels],
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

    Videos are dealt in the order of their SHA-256, which separates neighbors in a manifest.

    Args:
        videos: All videos of the build.
        encode_digest: Digest of the encoding settings.
        pack: The packing settings.
    """
    settings = _digest([_PACKING_VERSION, encode_digest, asdict(pack)])
    by_source_and_split: dict[tuple[str, str], list[PlannedVideo]] = defaultdict(list)
    for video in videos:
        by_source_and_split[video.video.source, video.video.split].append(video)

    groups = []
    for (source, split), members in sorted(by_source_and_split.items()):
        members = sorted(members, key=lambda video: video.sha256)
        for number, start in enumerate(range(0, len(members), pack.group_videos)):
            chunk = tuple(members[start : start + pack.group_videos])
            groups.append(
                Group(source=source, split=split, number=number, videos=chunk, settings=settings)
            )
    return groups


def source_plan_digest(groups: Sequence[Group]) -> str:
    """Return the digest of a source's plan. Equal digests mean equal bytes."""
    return _digest([group.digest() for group in groups])


def videos_digest(videos: Sequence[PlannedVideo]) -> str:
    """Return the digest of what reaches the shards of videos, in any order and any groups."""
    return _digest(sorted(_digest(video.facts()) for video in videos))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()
