"""Packing: encoded videos become shards, shuffled so that neighbors differ in video."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from surgrec.annotations import Label
from surgrec.shards import Clip, Sample, Shard, ShardWriter, shard_name
from surgrec.storage import Store
from surgrec_shard.attempts import attempt
from surgrec_shard.clip_writer import EncodedClip
from surgrec_shard.curation import own_config
from surgrec_shard.disk import writing_to
from surgrec_shard.encode import EncodedVideo
from surgrec_shard.group_records import is_stored
from surgrec_shard.groups import Group, PlannedVideo

_TAR_OVERHEAD_BYTES = 4096
"""Estimate of a sample's headers, padding and JSON."""


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
    """Write the shards of a group to the store. Each appears there complete or not at all.

    Args:
        group: The group; only its videos in `encoded` are packed.
        encoded: Encoded videos by id.
        config: Digest of the encoding settings, stored with every clip.
        shard_bytes: Largest size of a shard.
        store: The corpus root.
        work: Folder for the shard being written.

    Returns:
        The shards, and their samples in the order of the shards.
    """
    clips = interleave(
        [
            describe_clips(video, encoded[video.id], config)
            for video in group.videos
            if video.id in encoded
        ]
    )

    shards, samples = [], []
    with attempt(work / group.name) as folder:
        for part, members in enumerate(_parts(clips, shard_bytes)):
            path = folder / shard_name(group.source, group.split, group.number, part)
            with writing_to(work), ShardWriter(path) as writer:
                for member in members:
                    writer.add(member.clip, member.labels, member.path.read_bytes())
                shard = writer.close()

            # Other content has another name, so a published shard is never written again.
            name = shard_name(group.source, group.split, group.number, part, shard.sha256)
            shards.append(replace(shard, name=name))
            samples += [replace(sample, shard=name) for sample in writer.samples]
            # The shard comes last: a shard in the store has its offsets beside it.
            if not is_stored(store, group.source, shards[-1]):
                store.upload(f"{group.source}/{name}.idx", folder / f"{path.name}.idx")
                store.upload(f"{group.source}/{name}", path)
            for file in (path, folder / f"{path.name}.idx"):
                file.unlink()
    return shards, samples


def describe_clips(planned: PlannedVideo, encoded: EncodedVideo, config: str) -> list[StoredClip]:
    """Return the clips of a video with their metadata and the labels that overlap them.

    Args:
        planned: The video with its names.
        encoded: Its clips.
        config: Digest of the encoding settings of its source.
    """
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
                crop=encoded.crop,
                license=video.license,
                config=own_config(config, planned.curation),
                blur=clip.blur,
                brightness=clip.brightness,
                motion=clip.motion,
                model_score=clip.model_score,
            ),
            labels=labels_of_clip(planned.labels, clip),
            path=encoded.folder / clip.file,
        )
        for clip in encoded.clips
    ]


def labels_of_clip(labels: Sequence[Label], clip: EncodedClip) -> tuple[Label, ...]:
    """Return the labels that overlap a clip, cut to it, in seconds from its start."""
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
    """Return all clips in a shuffled order that depends only on their keys.

    The clips of each video are shuffled and spread evenly over the whole. Neighbors come from
    different videos, unless one video has more than half of all clips.
    """
    positions: list[tuple[float, str, StoredClip]] = []
    for clips in videos:
        # Clip i of n is placed at (i + offset) / n of the whole; the offset depends on the video.
        shuffled = sorted(clips, key=lambda stored: _hash_of(stored.clip.key))
        offset = _hash_of(clips[0].clip.video) if clips else 0.0
        positions += [
            ((index + offset) / len(shuffled), stored.clip.key, stored)
            for index, stored in enumerate(shuffled)
        ]
    positions.sort(key=lambda position: position[:2])
    return _separate_videos([stored for _, _, stored in positions])


def _separate_videos(clips: list[StoredClip]) -> list[StoredClip]:
    """Return the clips in nearly the same order, with neighbors from different videos.

    The order is unchanged if one video has more than half of the clips.
    """
    left = Counter(stored.clip.video for stored in clips)
    if not clips or 2 * max(left.values()) > len(clips) + 1:
        return clips

    waiting, ordered, last = list(clips), list[StoredClip](), ""
    while waiting:
        # A video with more than half of the waiting clips is due: any other choice would leave
        # too many of its clips to separate.
        most = max(left, key=left.__getitem__)
        is_due = 2 * left[most] > len(waiting)
        index = next(
            index
            for index, stored in enumerate(waiting)
            if (stored.clip.video == most if is_due else stored.clip.video != last)
        )
        ordered.append(waiting.pop(index))
        last = ordered[-1].clip.video
        left[last] -= 1
    return ordered


def _parts(clips: Sequence[StoredClip], shard_bytes: int) -> Iterator[list[StoredClip]]:
    """Divide clips, in their order, into parts that fit a shard."""
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
    """Return a number in [0, 1) that looks random and depends only on the text."""
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:6], "little") / 2**48
