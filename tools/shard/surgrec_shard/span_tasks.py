"""Spans of a long video as tasks: any machine decodes them for the one that encodes the video.

The spans are in a folder that all machines see. A process takes a span by a file lock, so that
nobody else decodes it. A stored span stays until the video is encoded: a lost machine costs what it
had in work.
"""

import shutil
import uuid
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.recordings import PictureReader, Recording, RecordingFacts
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.picture_files import open_recording
from surgrec.storage.lock import FolderLock, try_hold
from surgrec_shard.disk import writing_to
from surgrec_shard.engines import Shared
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.stored_form import StoredForm

_SPANS = ".spans"


class SpanFolder:
    """The decoded spans of one video. `close` gives up the spans that this process has taken.

    Args:
        folder: It must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, FolderLock] = {}

    def stored(self, number: int) -> Path | None:
        """Return the folder of a decoded span; None: it is not stored."""
        folder = self._folder_of(number)
        return folder if folder.is_dir() else None

    def claim(self, number: int) -> bool:
        """Take a span for this process, unless it is stored or another process has it.

        Raises:
            StorageError: The folder does not exist, or cannot be written.
        """
        if number in self._held:
            return True
        if self.stored(number):
            return False
        lock = try_hold(self._folder, name=f"lock-{number:06d}")
        if lock is None:
            return False
        if self.stored(number):  # meanwhile
            lock.release()
            return False
        self._held[number] = lock
        return True

    def store(self, number: int, fill: Callable[[Path], None]) -> None:
        """Fill the folder of a span that this process has taken. It appears complete or not at all.

        Raises:
            StorageError: The disk is full.
        """
        folder = self._folder_of(number)
        with writing_to(self._folder):
            for ended in self._folder.glob(f"{folder.name}.partial-*"):
                shutil.rmtree(ended, ignore_errors=True)
            partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:12]}")
            partial.mkdir(mode=0o700)
            try:
                fill(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def progress(self, number: int) -> int:
        """Return how many bytes of a span another process has written."""
        size = 0
        for path in self._folder.glob(f"{number:06d}.partial-*/pictures"):
            with suppress(FileNotFoundError):  # meanwhile, the span is complete
                size += path.stat().st_size
        return size

    def discard(self) -> None:
        """Remove all spans, so that nobody decodes more of them."""
        remove_spans(self._folder)

    def close(self) -> None:
        """Give up the spans that this process has taken."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"{number:06d}"


def spans_beside(clips: Path) -> Path:
    """Return the folder of the spans of a video, beside the folder of its clips."""
    return clips.with_name(f"{clips.name}{_SPANS}")


def remove_spans(folder: Path) -> None:
    """Remove the spans of a video, if there are any. All disappear at once, also for others."""
    gone = folder.with_name(f"{folder.stem}.{uuid.uuid4().hex[:12]}{_SPANS}")
    with suppress(OSError):  # another process may do the same
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def remove_other_spans(videos: Path, sources: Collection[str], wanted: Collection[Path]) -> None:
    """Remove the spans that killed builds left, of videos or settings that are no longer planned.

    Args:
        videos: Folder of the clips of all configs.
        sources: Sources whose spans are removed.
        wanted: The folders of spans that stay.
    """
    for folder in videos.glob(f"*/*{_SPANS}"):
        source = folder.name.partition(".")[0].rpartition("-")[0]
        if source in sources and folder not in wanted:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class SpanTask:
    """Decodes one span of a video, unless it is stored, in work, or no longer needed."""

    video: PlannedVideo
    facts: Shared[RecordingFacts]
    form: StoredForm
    number: int
    """The span."""
    folder: Path
    """Folder of the spans, which is gone when nobody needs them."""

    def __call__(self, decoders: Decoders) -> None:
        """Store the span. Raises BadVideoError and StorageError."""
        if not self.folder.is_dir():
            return
        with closing(SpanFolder(self.folder)) as spans:
            try:
                if spans.claim(self.number):
                    self._decode(spans, decoders)
            except StorageError:
                if self.folder.is_dir():  # else it was removed meanwhile
                    raise

    def _decode(self, spans: SpanFolder, decoders: Decoders) -> None:
        with open_recording(self.video.video.path, self.video.video.pictures) as recording:
            recording.require_unchanged(self.video.identity)
            reader = open_pictures(recording, self.facts.get(), self.form)

            def fill(partial: Path) -> None:
                reader.store_span(self.number, partial, decoders.span_s)
                recording.require_unchanged()

            spans.store(self.number, fill)


def open_pictures(recording: Recording, facts: RecordingFacts, form: StoredForm) -> PictureReader:
    """Return a reader of the pictures of a recording, in the form in which they are stored."""
    return PictureReader(recording, facts, size=form.size, rate=form.picture_rate, view=form.view)
