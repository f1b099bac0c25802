"""The encoded videos of one group -> its shards, in a shuffled order in which neighbors come from different videos."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.manifest import Label
from surgrec.shards import Clip, Sample, Shard, ShardWriter, clip_key, idx_path, shard_name
from surgrec.storage import Store
from surgrec_shard.disk import writing_to
from surgrec_shard.encode import EncodedClip, EncodedVideo
from surgrec_shard.groups import Group, PlannedVideo

_TAR_OVERHEAD_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """One clip about to be packed."""

    clip: Clip
    labels: tuple[Label, ...]
    path: Path


def pack_group(
    group: Group,
    encoded: Mapping[str, EncodedVideo],
    *,
    config: str,
    shard_bytes: int,
    store: Store,
    work: Path,
) -> tuple[list[Shard], list[Sample]]:
    """Writes the shards of a group to the store, each complete under its name or not at all.

    Args:
        group: The group; only its videos in `encoded` are packed.
        encoded: Encoded videos by id.
        config: Digest of the encoding settings, kept with every clip.
        shard_bytes: Size that closes a shard.
        store: The corpus root.
        work: Local folder for the shard being written.
    """
    clips = interleave(
        [
            describe(video, encoded[video.id], config)
            for video in group.videos
            if video.id in encoded
        ]
    )
    shards, samples = [], []
    for part, members in enumerate(_parts(clips, shard_bytes)):
        name = shard_name(group.source, group.split, group.number, part)
        path = work / name
        try:
            with writing_to(work), ShardWriter(path, name) as writer:
                for member in members:
                    writer.add(member.clip, member.labels, member.path.read_bytes())
                shards.append(writer.close())
            samples += writer.samples
            store.upload(f"{group.source}/{name}.idx", idx_path(path))
            store.upload(f"{group.source}/{name}", path)
        finally:
            idx_path(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    return shards, samples


def describe(planned: PlannedVideo, encoded: EncodedVideo, config: str) -> list[StoredClip]:
    """What the corpus says about each clip of a video, with the labels that fall into it."""
    video = planned.video
    return [
        StoredClip(
            clip=Clip(
                source=video.source,
                domain=video.domain,
                procedure=video.procedure,
                case=planned.case,
                video=planned.id,
                view=video.view,
                split=video.split,
                start_s=clip.start_s,
                duration_s=clip.duration_s,
                fps=encoded.fps,
                num_frames=clip.num_frames,
                width=encoded.width,
                height=encoded.height,
                native_fps=encoded.native_fps,
                native_width=encoded.native_width,
                native_height=encoded.native_height,
                crop=f"0,0,{encoded.native_width},{encoded.native_height}",
                license=video.license,
                config=config,
            ),
            labels=labels_of_clip(planned.labels, clip),
            path=encoded.folder / clip.file,
        )
        for clip in encoded.clips
    ]


def labels_of_clip(labels: Sequence[Label], clip: EncodedClip) -> tuple[Label, ...]:
    """The labeled stretches that overlap a clip, cut to it, in seconds from its start."""
    cut = (
        Label(
            task=label.task,
            start_s=round(max(label.start_s - clip.start_s, 0.0), 6),
            end_s=round(min(label.end_s - clip.start_s, clip.duration_s), 6),
            value=label.value,
        )
        for label in labels
    )
    return tuple(label for label in cut if label.start_s < label.end_s)


def interleave(videos: Sequence[Sequence[StoredClip]]) -> list[StoredClip]:
    """All clips, each video's own in a shuffled order and spread evenly over the whole; fixed by the sample keys."""
    placed = []
    for clips in videos:
        shuffled = sorted(clips, key=lambda stored: _hash_of(clip_key(stored.clip)))
        offset = _hash_of(clips[0].clip.video) if clips else 0.0
        placed += [
            ((place + offset) / len(shuffled), stored) for place, stored in enumerate(shuffled)
        ]
    return _apart(
        [stored for _, stored in sorted(placed, key=lambda item: (item[0], clip_key(item[1].clip)))]
    )


def _apart(clips: list[StoredClip]) -> list[StoredClip]:
    """The clips in nearly the same order, neighbors from different videos; unchanged where one video has most of them."""
    left = Counter(stored.clip.video for stored in clips)
    if not clips or 2 * max(left.values()) > len(clips) + 1:
        return clips
    waiting, chosen, last = list(clips), list[StoredClip](), ""
    while waiting:
        most = max(left, key=left.__getitem__)
        due = 2 * left[most] > len(
            waiting
        )  # with any other clip now, too many of this video would be left
        place = next(
            place
            for place, stored in enumerate(waiting)
            if (stored.clip.video == most if due else stored.clip.video != last)
        )
        chosen.append(waiting.pop(place))
        last = chosen[-1].clip.video
        left[last] -= 1
    return chosen


def _parts(clips: Sequence[StoredClip], shard_bytes: int) -> Iterator[list[StoredClip]]:
    members: list[StoredClip] = []
    total = 0
    for stored in clips:
        size = stored.path.stat().st_size + _TAR_OVERHEAD_BYTES
        if members and total + size > shard_bytes:
            yield members
            members, total = [], 0
        members.append(stored)
        total += size
    if members:
        yield members


def _hash_of(text: str) -> float:
    """A number in [0, 1) that looks random and is fixed by the text."""
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:6], "little") / 2**48
