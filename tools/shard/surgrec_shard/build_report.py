"""The private list of all videos of a build: the outcome of each, and its names in the corpus."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from surgrec.manifest import Video
from surgrec_shard.group_records import PackedGroup, VideoFailure, video_ends
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.label_checks import LabelCounts, count_oddities
from surgrec_shard.private import PrivateFolder


def write_report(
    private: PrivateFolder,
    videos: Sequence[Video],
    planned: Sequence[PlannedVideo],
    packed: Mapping[str, PackedGroup],
    failures: Sequence[VideoFailure],
    left_out: Sequence[VideoFailure],
    twins: Mapping[str, str],
) -> Path:
    """Write the list as CSV into the private folder and return its path.

    A file has several rows if it is in several sources, or twice in a manifest.

    Args:
        private: The private folder.
        videos: All videos of the build, one row each.
        planned: The videos that have names.
        packed: The packed groups by name.
        failures: The videos that could not be used, duplicates included.
        left_out: Other files, and places that could not be searched.
        twins: A sentence about the twin of a video, by its name.
    """
    planned_of = {id(video.video): video for video in planned}
    failure_of = {
        (failure.source, failure.path, failure.reason == "duplicate"): failure
        for failure in failures
    }
    damaged = {video: count for group in packed.values() for video, count in group.damaged.items()}
    notes = {video: lines for group in packed.values() for video, lines in group.notes.items()}
    ends = video_ends(packed.values())

    rows = []
    for video in videos:
        plan = planned_of.get(id(video))
        # A video without a plan is a duplicate, or could not be read.
        failure = failure_of.get((video.source, video.path, plan is None)) or failure_of.get(
            (video.source, video.path, False)
        )
        rows.append(
            {
                "path": str(video.path),
                "source": video.source,
                "case": video.case,
                "corpus_case": plan.case if plan else "",
                "corpus_video": plan.id if plan else "",
                "status": failure.reason if failure else "packed",
                "detail": failure.detail if failure else "",
                "damaged_places": damaged.get(plan.id, 0) if plan else 0,
                "notes": _notes(plan.id, notes, twins) if plan else "",
                **asdict(
                    count_oddities(plan.annotations, ends.get(plan.id, math.inf))
                    if plan
                    else LabelCounts()
                ),
            }
        )
    rows += [
        {
            **dict.fromkeys(rows[0], ""),
            "path": str(other.path),
            "source": other.source,
            "status": other.reason,
            "detail": other.detail,
        }
        for other in left_out
    ]
    name = sources_name({video.source for video in videos})
    return private.write_report(f"videos-{name}.csv", rows)


def _notes(name: str, notes: Mapping[str, Sequence[str]], twins: Mapping[str, str]) -> str:
    """Return all sentences about a video."""
    return "; ".join((*notes.get(name, ()), *([twins[name]] if name in twins else ())))


def sources_name(sources: Collection[str]) -> str:
    """Return the names of the sources for a file, or their digest if they are too long for it."""
    names = "-".join(sorted(sources))
    if len(names) > 200:
        names = hashlib.sha256(names.encode()).hexdigest()[:12]
    return names
