"""The names of the videos of a build, and the videos that cannot have one."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from surgrec.annotations import VideoLabels
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError, FileIdentity
from surgrec.recordings.picture_files import open_recording
from surgrec_shard.curation import ListedStretch, listed_by, read_listed
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.labels import labels_of
from surgrec_shard.private import PrivateFolder
from surgrec_shard.saved_plans import UnplannedVideo


def plan_videos(
    videos: Sequence[Video],
    private: PrivateFolder,
    *,
    workers: int,
    progress: Callable[[int], None],
) -> tuple[list[PlannedVideo], list[UnplannedVideo]]:
    """Read all videos once, and give the readable ones their names in the corpus.

    Of several files with equal bytes in a source, only the first is planned.

    Args:
        videos: All videos of a build.
        private: The folder of the key.
        workers: Videos read at once.
        progress: Called with the number of videos that are done.
    """
    planned: dict[tuple[str, str], PlannedVideo] = {}
    unplanned = []

    with ThreadPoolExecutor(workers) as pool:
        read = pool.map(partial(_read, private), videos)
        for number, (video, result) in enumerate(zip(videos, read, strict=True), 1):
            progress(number)
            if isinstance(result, BadVideoError):
                unplanned.append(_unplanned(video, "", result))
                continue

            plan = _plan(video, result, private)
            first = planned.setdefault((video.source, result.sha256), plan)
            if first is not plan:
                detail = f"the file has the same bytes as {first.video.path}, which is used"
                error = BadVideoError("duplicate", detail)
                unplanned.append(_unplanned(video, first.id, error))
    return list(planned.values()), unplanned


def failure_of(video: Video, name: str, error: BadVideoError) -> VideoFailure:
    """Return the failure of a video for the private report."""
    return VideoFailure(
        path=video.path,
        source=video.source,
        video=name,
        reason=error.reason,
        detail=str(error),
        may_pass=error.may_pass,
    )


@dataclass(frozen=True, kw_only=True)
class _ReadVideo:
    """The content of a video file."""

    sha256: str
    identity: FileIdentity
    annotations: VideoLabels
    listed: tuple[ListedStretch, ...]


def _read(private: PrivateFolder, video: Video) -> _ReadVideo | BadVideoError:
    """Return SHA-256, identity and labels of a video file, or why it cannot be read."""
    try:
        with open_recording(video.path, video.pictures) as recording:
            annotations = labels_of(video, recording)
            listed = (read_listed(video.drop) if video.drop else ()) + listed_by(annotations)
            return _ReadVideo(
                sha256=private.sha256(recording),
                identity=recording.identity,
                annotations=annotations,
                listed=tuple(sorted(listed, key=lambda each: (each.start_s, each.end_s))),
            )
    except BadVideoError as error:
        return error


def _plan(video: Video, read: _ReadVideo, private: PrivateFolder) -> PlannedVideo:
    name = read.sha256[:12] if video.public else private.video_name(read.sha256)

    if not video.case and not video.patient:
        case = name
    elif video.public:
        case = video.patient or video.case
    else:
        case = private.case_name(video.source, video.case, video.patient)

    return PlannedVideo(
        video=video,
        id=name,
        case=case,
        annotations=read.annotations,
        identity=read.identity,
        listed=read.listed,
    )


def _unplanned(video: Video, name: str, error: BadVideoError) -> UnplannedVideo:
    return UnplannedVideo(video=video, failure=failure_of(video, name, error))
