"""Labels of a video on the clock of its recording."""

from surgrec.annotations import VideoClock, VideoLabels, read_labels
from surgrec.manifest import Video
from surgrec.recordings import Recording, inspect


def labels_of(video: Video, recording: Recording) -> VideoLabels:
    """Return the labels of a video. The recording is inspected only if a mapping needs its clock.

    Raises:
        ManifestError: An annotation file cannot be used.
        BadVideoError: The recording cannot be used.
    """
    needs_clock = any(files.mapping.needs_clock for files in video.labels)
    return read_labels(video.labels, clock_of(recording) if needs_clock else None)


def clock_of(recording: Recording) -> VideoClock:
    """Return when the pictures of a recording appear.

    Raises:
        BadVideoError: The recording cannot be used.
    """
    timeline = inspect(recording).timeline
    return VideoClock(pictures_s=timeline.pictures_s, end_s=timeline.duration_s)
