"""The names of the videos of a build, and the videos that cannot have one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.annotations import VideoLabels
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError, FileIdentity
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.picture_files import open_recording
from surgrec_shard.curation import ListedStretch, listed_by, read_listed
from surgrec_shard.engines import Engine, Needs, completed
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.labels import labels_of
from surgrec_shard.private import PrivateFolder, state_of
from surgrec_shard.saved_plans import UnplannedVideo


def plan_videos(
    videos: Sequence[Video],
    private: PrivateFolder,
    *,
    engine: Engine,
    progress: Callable[[int], None],
    begin: int = 0,
) -> tuple[list[PlannedVideo], list[UnplannedVideo]]:
    """Read all videos once, and give the readable ones their names in the corpus.

    Of several files with equal bytes in a source, only the first is planned.

    Args:
        videos: All videos of a build.
        private: The folder of the key.
        engine: Reads the videos.
        progress: Called with the number of videos that are done.
        begin: Index of the video that is read first: processes that begin at different ones find
            the digests of each other's videos.
    """
    planned: dict[tuple[str, str], PlannedVideo] = {}
    unplanned = []

    read = _read_all(videos, private, engine, progress, begin)
    for video, result in zip(videos, read, strict=True):
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

    state: str
    """See `state_of`."""
    sha256: str
    identity: FileIdentity
    annotations: VideoLabels
    listed: tuple[ListedStretch, ...]


@dataclass(frozen=True, kw_only=True)
class _ReadTask:
    """Reads a video file."""

    video: Video
    digests: Mapping[str, str]
    """Known SHA-256 of its path, by state of the file."""

    def __call__(self, decoders: Decoders) -> _ReadVideo:
        """Return SHA-256, identity and labels. Raises BadVideoError."""
        with open_recording(self.video.path, self.video.pictures) as recording:
            annotations = labels_of(self.video, recording)
            listed = read_listed(self.video.drop) if self.video.drop else ()
            listed += listed_by(annotations)
            state = state_of(recording)
            return _ReadVideo(
                state=state,
                sha256=self.digests.get(state) or recording.sha256(),
                identity=recording.identity,
                annotations=annotations,
                listed=tuple(sorted(listed, key=lambda each: (each.start_s, each.end_s))),
            )


def _read_all(
    videos: Sequence[Video],
    private: PrivateFolder,
    engine: Engine,
    progress: Callable[[int], None],
    begin: int,
) -> list[_ReadVideo | BadVideoError]:
    """Return the content of all videos, or why one cannot be read. Remember each digest at once."""
    results: dict[int, _ReadVideo | BadVideoError] = {}
    tasks = (
        (
            number,
            _ReadTask(video=video, digests=private.digests_of(video.path)),
            Needs(files=_files_of(video)),
        )
        for number, video in [*enumerate(videos)][begin:] + [*enumerate(videos)][:begin]
    )

    # A digest is remembered at once: a killed build does not hash the file again.
    for number, future in completed(engine, tasks):
        try:
            read = future.result()
            private.remember(read.state, read.sha256)
            results[number] = read
        except BadVideoError as error:
            results[number] = error
        progress(len(results))

    return [results[number] for number in range(len(videos))]


def _files_of(video: Video) -> tuple[Path, ...]:
    """Return the files that tell the content of a video."""
    labels = (path for files in video.labels for path in files.paths)
    return (video.path, *labels, *([video.drop] if video.drop else []))


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
