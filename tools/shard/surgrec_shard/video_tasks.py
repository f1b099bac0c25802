"""The tasks of a build: to encode a video, or to divide a long one, and to pack a group.

Tasks can be pickled, and hold all they need: an engine may run them on another machine.
"""

from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.recordings import BadVideoError, FfmpegError, RecordingFacts, inspect
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.picture_files import open_recording
from surgrec.shards import Dropped
from surgrec.storage import Store
from surgrec_shard.curation import Curation
from surgrec_shard.encode import EncodedVideo, EncodeSettings, encode_video, is_spooled
from surgrec_shard.engines import Shared
from surgrec_shard.group_records import GroupRecord, VideoFailure
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.label_checks import require_fitting_labels, require_fitting_list
from surgrec_shard.pack import pack_group
from surgrec_shard.span_tasks import (
    SpanFolder,
    SpanTask,
    open_pictures,
    remove_spans,
    spans_beside,
)
from surgrec_shard.stored_form import StoredForm


@dataclass(frozen=True, kw_only=True)
class EncodeTask:
    """Encodes a video into a folder."""

    video: PlannedVideo
    settings: EncodeSettings
    curation: Curation
    folder: Path
    is_divided: bool = False
    """Whether spans of a long video become tasks of their own."""
    facts: Shared[RecordingFacts] | None = None
    """Properties of the recording whose spans are decoded by other tasks; None: there are none."""

    def __call__(self, decoders: Decoders) -> "EncodedVideo | DividedVideo":
        """Return the clips, or the spans of the video. Raises BadVideoError and StorageError."""
        if self.facts is not None:
            return self._encoded_of_spans(decoders, self.facts.get())
        if not self.is_divided:
            return self._encoded(decoders)

        divided = self._divided(decoders.span_s)
        if divided is not None and divided.number > 1:
            return divided
        return self._encoded(decoders, divided.facts if divided is not None else None)

    @property
    def spans(self) -> Path:
        """Folder of the spans that other tasks decode."""
        return spans_beside(self.folder)

    def _encoded_of_spans(self, decoders: Decoders, facts: RecordingFacts) -> EncodedVideo:
        """Encode the video while other tasks decode its spans, and remove these."""
        if not self.spans.is_dir():
            return self._encoded(decoders, facts)
        with closing(SpanFolder(self.spans)) as spans:
            shared = Decoders(decoders.count, span_s=decoders.span_s, shared=spans)
            try:
                encoded = self._encoded(shared, facts)
            except StorageError:
                if shared.shared is None or self.spans.is_dir():
                    raise
                # A second process encoded the same video, and has removed the spans.
                encoded = self._encoded(decoders, facts)
            except BadVideoError:
                remove_spans(self.spans)
                raise
        remove_spans(self.spans)
        return encoded

    def _encoded(self, decoders: Decoders, facts: RecordingFacts | None = None) -> EncodedVideo:
        with decoders.one_for_a_video():
            return encode_video(
                self.video.video.path,
                self.settings,
                self.folder,
                self.video.identity,
                partial(_require_fitting, self.video),
                self.video.video.pictures,
                self.curation,
                decoders,
                facts,
            )

    def _divided(self, span_s: float) -> "DividedVideo | None":
        """Return the spans of the video; None: it is encoded, or cannot be read."""
        if is_spooled(self.folder):
            return None
        video = self.video.video
        # Whatever is wrong with the video is found, and told, when it is encoded.
        with (
            suppress(BadVideoError, FfmpegError),
            open_recording(video.path, video.pictures) as recording,
        ):
            recording.require_unchanged(self.video.identity)
            facts = inspect(recording)
            _require_fitting(self.video, facts.duration_s, facts.fps)
            form = self.settings.form_of(facts, self.curation.view(recording, facts).view)
            reader = open_pictures(recording, facts, form)
            return DividedVideo(
                task=self,
                facts=facts,
                form=form,
                number=1 if facts.is_cut else reader.num_spans(span_s),
                decoded_bytes=reader.decoded_bytes(),
            )
        return None


@dataclass(frozen=True, kw_only=True)
class DividedVideo:
    """A long video whose spans are to be decoded by tasks of their own."""

    task: EncodeTask
    """The task that found the spans."""
    facts: RecordingFacts
    form: StoredForm
    number: int
    """Number of spans."""
    decoded_bytes: int
    """Size of all decoded spans."""

    def whole(self, facts: Shared[RecordingFacts]) -> EncodeTask:
        """Return the task that encodes the video, and takes the spans that others decode."""
        return replace(self.task, facts=facts)

    def tasks(self, facts: Shared[RecordingFacts]) -> list[SpanTask]:
        """Return the tasks that decode the spans. The folder of the spans must exist.

        Args:
            facts: The facts of this video, for tasks on any machine.
        """
        return [
            SpanTask(
                video=self.task.video,
                facts=facts,
                form=self.form,
                number=number,
                folder=self.task.spans,
            )
            for number in range(self.number)
        ]


@dataclass(frozen=True, kw_only=True)
class PackTask:
    """Packs a group into shards of a store."""

    group: Group
    encoded: Mapping[str, EncodedVideo]
    """Encoded videos by name."""
    failures: list[VideoFailure]
    """The other videos of the group."""
    config: str
    """Digest of the encoding settings."""
    shard_bytes: int
    """Largest size of a shard."""
    store: Store
    """The corpus root."""
    work: Path
    """Folder for the shard being written."""

    def __call__(self, decoders: Decoders) -> GroupRecord:
        """Return the group. Raises StorageError."""
        shards, samples = pack_group(
            self.group,
            self.encoded,
            config=self.config,
            shard_bytes=self.shard_bytes,
            store=self.store,
            work=self.work,
        )

        # Dropped: stretches without clips, and whole videos that could not be used.
        stretches = [
            Dropped(video=name, **asdict(stretch))
            for name, video in self.encoded.items()
            for stretch in video.dropped
        ]
        whole_videos = [
            Dropped(video=failure.video, start_s=0.0, end_s=0.0, reason=failure.reason)
            for failure in self.failures
        ]

        encoded = self.encoded.items()
        return GroupRecord(
            config=self.config,
            shards=shards,
            samples=samples,
            dropped=stretches + whole_videos,
            failures=self.failures,
            damaged={name: video.complaints for name, video in encoded if video.complaints},
            notes={name: video.notes for name, video in encoded if video.notes},
        )


def _require_fitting(video: PlannedVideo, end_s: float, fps: float) -> None:
    """Refuse labels and a list of stretches that are not those of the video."""
    require_fitting_labels(video, end_s, fps)
    require_fitting_list(video, end_s)
