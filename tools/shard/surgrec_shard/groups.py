"""What a build will do, before it does it: videos with their names in the corpus, in groups. Pure, and has a digest."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from surgrec.errors import ConfigError
from surgrec.manifest import Label, Video

_PACKING = 1
"""Goes up with any change of the grouping or the packing that changes the bytes of a shard."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How clips are packed into shards."""

    shard_bytes: int = 512_000_000
    """A shard is closed before it grows past this, bytes."""
    group_videos: int = 32
    """Videos of one source and split whose clips are shuffled together; also the unit of distribution."""

    def __post_init__(self) -> None:
        if self.shard_bytes < 1 or self.group_videos < 1:
            raise ConfigError(
                f"shard_bytes {self.shard_bytes} and group_videos {self.group_videos} must be at least 1"
            )


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """A video under the names that it has in the corpus."""

    video: Video
    sha256: str
    case: str
    """Pseudonym, or the case itself where the source is public."""
    labels: tuple[Label, ...]

    @property
    def id(self) -> str:
        """The video's name in the corpus: the first 12 hex digits of its SHA-256."""
        return self.sha256[:12]

    def facts(self) -> dict[str, object]:
        """Everything of it that reaches the shards, as JSON; never its path."""
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
    """Videos of one source and split whose shards depend on nothing but them."""

    source: str
    split: str
    number: int
    videos: tuple[PlannedVideo, ...]
    settings: str
    """Digest of the encoding settings, the encoder and the packing."""

    @property
    def name(self) -> str:
        """`<source>-<split>-<number>`: unique in a corpus."""
        return f"{self.source}-{self.split}-{self.number:05d}"

    def digest(self) -> str:
        """Changes with anything that changes a byte of the group's shards."""
        return _digest([self.settings, self.name, [video.facts() for video in self.videos]])


def make_groups(
    videos: Sequence[PlannedVideo], encode_digest: str, pack: PackSettings
) -> list[Group]:
    """Groups of a build, ordered by name. Videos are dealt by their SHA-256, so neighbors in a manifest are spread."""
    settings = _digest([_PACKING, encode_digest, asdict(pack)])
    members: dict[tuple[str, str], list[PlannedVideo]] = defaultdict(list)
    for video in videos:
        members[video.video.source, video.video.split].append(video)
    groups = []
    for (source, split), found in sorted(members.items()):
        ordered = sorted(found, key=lambda video: video.sha256)
        for number, start in enumerate(range(0, len(ordered), pack.group_videos)):
            chunk = tuple(ordered[start : start + pack.group_videos])
            groups.append(
                Group(source=source, split=split, number=number, videos=chunk, settings=settings)
            )
    return groups


def source_plan_digest(groups: Sequence[Group]) -> str:
    """What was asked for one source: equal digests mean equal bytes."""
    return _digest([group.digest() for group in groups])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()
