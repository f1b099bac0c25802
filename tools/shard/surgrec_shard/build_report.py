"""The private list of all videos of a build: what became of each, and its names in the corpus."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from surgrec.manifest import Video
from surgrec_shard.group_records import Failure, PackedGroup
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.private import PrivateFolder


def write_report(
    private: PrivateFolder,
    videos: Sequence[Video],
    planned: Sequence[PlannedVideo],
    packed: Mapping[str, PackedGroup],
    failures: Sequence[Failure],
) -> Path:
    """Writes the list as CSV into the private folder; gives its path.

    A file may be in it twice: in two sources, or as the duplicate of itself.
    """
    taken = {id(video.video): video for video in planned}
    failed = {
        (failure.source, failure.path, failure.reason == "duplicate"): failure
        for failure in failures
    }
    damaged = {video: count for group in packed.values() for video, count in group.damaged.items()}
    rows = []
    for video in videos:
        found = taken.get(id(video))
        failure = failed.get((video.source, video.path, found is None)) or failed.get(
            (video.source, video.path, False)
        )
        rows.append(
            {
                "path": str(video.path),
                "source": video.source,
                "case": video.case,
                "corpus_case": found.case if found else "",
                "corpus_video": found.id if found else "",
                "status": failure.reason if failure else "packed",
                "detail": failure.detail if failure else "",
                "damaged_places": damaged.get(found.id, 0) if found else 0,
            }
        )
    return private.write_report(_file_name({video.source for video in videos}), rows)


def _file_name(sources: Collection[str]) -> str:
    """Names the sources; where they are too many for the name of a file, their digest stands for them."""
    names = "-".join(sorted(sources))
    return f"videos-{names if len(names) <= 200 else hashlib.sha256(names.encode()).hexdigest()[:12]}.csv"
