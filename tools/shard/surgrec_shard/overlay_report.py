"""Static overlays in the private folder: records and pictures of videos, and a list of all."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.recordings import BadVideoError
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.view import Box, parse_boxes
from surgrec.storage import make_owned_folder, open_owned
from surgrec_shard.build_report import sources_name
from surgrec_shard.curation import Curation
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.encode import (
    OVERLAYS_PICTURE,
    EncodedVideo,
    StaticOverlays,
    look_for_overlays,
)
from surgrec_shard.engines import Engine, Needs, completed
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.private import PrivateFolder
from surgrec_shard.private_json import read_private_json, write_private_json

OVERLAYS = "overlays"
"""Name of the folder of records and pictures."""
_SAME = 0.5
"""Share of the union of two boxes that they have in common if they are one overlay."""


@dataclass(frozen=True, kw_only=True)
class SharedOverlay:
    """One overlay of one or several videos, such as all of a device."""

    source: str
    view: str
    size: tuple[int, int]
    """Width and height of the videos, pixels."""
    box: Box
    """Around it in all of them."""
    videos: list[PlannedVideo] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class OverlaySummary:
    """The static overlays of all videos of a build."""

    shared: list[SharedOverlay]
    """Those of most videos first."""
    num_videos: int
    """Videos that have any."""
    unclear: int
    """Videos of which they cannot be told."""
    report: Path


@dataclass(frozen=True, kw_only=True)
class LookTask:
    """Looks for the static overlays of a video."""

    video: PlannedVideo
    curation: Curation
    picture: Path
    """Where to write the picture that shows them, if there are any."""

    def __call__(self, decoders: Decoders) -> StaticOverlays | None:
        """Return the overlays. Raises BadVideoError and StorageError."""
        file = self.video.video
        return look_for_overlays(
            file.path, self.picture, self.video.identity, file.pictures, self.curation
        )


class OverlayRecords:
    """The records of a private folder, one per video.

    Args:
        private: The private folder.
    """

    def __init__(self, private: PrivateFolder) -> None:
        self._private = private
        self._folder = private.path / OVERLAYS
        make_owned_folder(self._folder)
        self._unread: dict[str, StaticOverlays] = {}

    def keep(self, video: PlannedVideo, encoded: EncodedVideo) -> None:
        """Keep what was found while a video was encoded.

        Raises:
            StorageError: The private folder cannot be written.
        """
        if encoded.overlays is None:
            return
        partial = self._path(video, ".partial.png")
        if encoded.overlays.boxes:
            with writing_to(self._folder, MOVE_PRIVATE):
                open_owned(partial, "w").close()  # no other user may open it
                partial.write_bytes((encoded.folder / OVERLAYS_PICTURE).read_bytes())
        self._write(video, encoded.overlays)

    def look_at_others(
        self,
        videos: Sequence[PlannedVideo],
        curation_of: Callable[[PlannedVideo], Curation],
        *,
        engine: Engine,
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Look at videos without a record: their clips are stored, so they were not decoded.

        Raises:
            StorageError: The private folder cannot be written.
        """
        others = [video for video in videos if self._read(video) is None]
        tasks = (
            (
                video,
                LookTask(
                    video=video,
                    curation=curation_of(video),
                    picture=self._path(video, ".partial.png"),
                ),
                Needs(files=(video.video.path,)),
            )
            for video in others
        )

        for number, (video, future) in enumerate(completed(engine, tasks), 1):
            try:
                found = future.result()
                if found is not None:
                    self._write(video, found)
            except BadVideoError as error:
                self._unread[video.id] = StaticOverlays(
                    boxes=[], unclear=str(error), width=0, height=0
                )
            progress("overlays", number, len(others))

    def report(self, videos: Sequence[PlannedVideo]) -> OverlaySummary:
        """Write the list of the overlays of some videos into the private folder."""
        found = [(video, each) for video in videos if (each := self._read(video)) is not None]
        shared = _shared(found)
        rows = [
            _row(video, number, str(overlay.box), str(self._path(video, ".png")), "")
            for number, overlay in enumerate(shared, 1)
            for video in overlay.videos
        ]
        unclear = [(video, each) for video, each in found if each.unclear]
        rows += [_row(video, "", "", "", each.unclear) for video, each in unclear]

        name = f"overlays-{sources_name({video.video.source for video in videos})}.csv"
        report = self._private.path / name
        if rows:
            self._private.write_report(name, rows)
        else:
            with writing_to(self._private.path, MOVE_PRIVATE):
                report.unlink(missing_ok=True)
        return OverlaySummary(
            shared=shared,
            num_videos=sum(bool(each.boxes) for _, each in found),
            unclear=len(unclear),
            report=report,
        )

    def _write(self, video: PlannedVideo, found: StaticOverlays) -> None:
        """Write the record after its picture: then it is complete."""
        picture = self._path(video, ".png")
        with writing_to(self._folder, MOVE_PRIVATE):
            if found.boxes:
                self._path(video, ".partial.png").replace(picture)
            else:
                picture.unlink(missing_ok=True)
        write_private_json(self._path(video, ".json"), found)

    def _read(self, video: PlannedVideo) -> StaticOverlays | None:
        if video.id in self._unread:
            return self._unread[video.id]
        path = self._path(video, ".json")
        remedy = f"remove {path} to look at the video again"
        return read_private_json(path, StaticOverlays, error=StorageError, remedy=remedy)

    def _path(self, video: PlannedVideo, suffix: str) -> Path:
        return self._folder / f"{video.video.source}-{video.id}{suffix}"


def forget_overlays(private: PrivateFolder, source: str, names: Collection[str]) -> None:
    """Remove the records and pictures of some videos, by their names in a corpus."""
    for name in names:
        for path in (private.path / OVERLAYS).glob(f"{source}-{name}.*"):
            with writing_to(path.parent, MOVE_PRIVATE):
                path.unlink(missing_ok=True)


def _shared(found: Sequence[tuple[PlannedVideo, StaticOverlays]]) -> list[SharedOverlay]:
    """Return each overlay once, with all videos that have it."""
    shared: dict[tuple[str, str, tuple[int, int]], list[SharedOverlay]] = defaultdict(list)
    for video, overlays in found:
        key = (video.video.source, video.video.view, (overlays.width, overlays.height))
        for box in parse_boxes(";".join(overlays.boxes), OVERLAYS):
            # An overlay joins the first known one that is like it, and enlarges its box.
            known = shared[key]
            same = next((n for n, each in enumerate(known) if each.box.likeness(box) >= _SAME), -1)
            if same < 0:
                known.append(SharedOverlay(source=key[0], view=key[1], size=key[2], box=box))
            one = known[same]
            if video not in one.videos:
                one.videos.append(video)
            known[same] = SharedOverlay(
                source=key[0], view=key[1], size=key[2], box=one.box.joined(box), videos=one.videos
            )
    return sorted((each for known in shared.values() for each in known), key=_order)


def _order(overlay: SharedOverlay) -> tuple[object, ...]:
    return -len(overlay.videos), overlay.source, overlay.view, overlay.box.y, overlay.box.x


def _row(
    video: PlannedVideo, overlay: int | str, box: str, picture: str, detail: str
) -> dict[str, object]:
    """Return a row of the list. It has the columns by which a removal finds it."""
    return {
        "overlay": overlay,
        "box": box,
        "source": video.video.source,
        "view": video.video.view,
        "path": str(video.video.path),
        "case": video.video.case,
        "corpus_video": video.id,
        "picture": picture,
        "detail": detail,
    }
