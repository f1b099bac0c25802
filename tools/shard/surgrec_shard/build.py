"""The build: hash, plan, encode, pack, publish. A killed build keeps everything it has finished."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from surgrec.annotations import VideoLabels
from surgrec.errors import ManifestError, ShardError
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError, FileIdentity, Recording
from surgrec.shards import CorpusFile, Dropped, SourceEntry, settle_tables
from surgrec.storage import Store
from surgrec.video_folder import LeftOut
from surgrec_shard.build_report import write_report
from surgrec_shard.encode import EncodedVideo, EncodeSettings, encode_video
from surgrec_shard.encoder import encoder_versions
from surgrec_shard.group_records import GroupRecords, PackedGroup, VideoFailure, is_stored
from surgrec_shard.groups import Group, PackSettings, PlannedVideo, make_groups, source_plan_digest
from surgrec_shard.label_checks import require_fitting_labels
from surgrec_shard.labels import labels_of
from surgrec_shard.pack import pack_group
from surgrec_shard.pending import PendingVideos
from surgrec_shard.private import PrivateFolder
from surgrec_shard.publish import publish_source, remove_unlisted

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the number of finished items, and the number of all items."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """The videos to build, the corpus to build into, and how."""

    videos: Sequence[Video]
    left_out: Sequence[LeftOut] = ()
    """Files and folders that could not be searched for videos."""
    store: Store
    """The corpus root."""
    private: PrivateFolder
    work: Path
    """Local folder for encoded videos and the shard being written, in a folder of mode 0700."""
    encode: EncodeSettings
    pack: PackSettings
    public: bool
    """Store all case names unchanged."""
    workers: int
    """Videos encoded at once."""
    replace: bool = False
    """Replace sources that the corpus has from other videos, cases or labels."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """The corpus after a build, and the videos that are not in it."""

    corpus: CorpusFile
    failures: list[VideoFailure]
    """Videos, and folders that could not be searched."""
    report: Path
    """The private list of all videos."""


class Build:
    """One build of videos into a corpus. Running the same build again does only the missing work.

    Args:
        config: The videos, the corpus and the settings.
        progress: Called after every finished video.

    Example:
        >>> result = Build(config, progress=lambda stage, done, total: None).run()
        >>> result.corpus.sources["cholec80"].samples
        18449
    """

    def __init__(self, config: BuildConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress
        self._work = config.private.folder_in(config.work)
        self._pending = PendingVideos(config.private.path / "pending")

    def run(self) -> BuildResult:
        """Build all sources and publish them.

        Raises:
            ManifestError: No video can be used.
            ShardError: The corpus has other settings, or a source of the same name with other
                content.
            StorageError: A disk or the store cannot be written.
        """
        config = self._config
        config.store.check_writable()
        with config.private.lock():
            corpus = self._read_corpus()

            # Plan: names of videos, groups, and sources that are already complete.
            planned, failures = self._plan_videos()
            groups: dict[str, list[Group]] = defaultdict(list)
            for group in make_groups(planned, config.encode.digest(), config.pack):
                groups[group.source].append(group)
            complete = {
                source
                for source, members in groups.items()
                if self._is_complete(corpus, source, members)
            }

            # Encode and pack, then report on every video before anything is published.
            packed = self._pack_groups(groups, complete)
            failures += _with_current_paths(packed.values(), planned)
            left_out = self._left_out()
            everything = [*failures, *left_out]
            report = write_report(config.private, config.videos, planned, packed, everything)
            if not complete and not any(group.samples for group in packed.values()):
                first = failures[0]
                raise ManifestError(
                    f"none of the {len(config.videos)} videos can be used "
                    f"(the first, {first.path}: {first.detail}); {report} lists the reason for each"
                )

            self._record_pending(groups, complete, everything)
            corpus = self._publish(groups, complete, packed, failures)
        return BuildResult(corpus=corpus, failures=everything, report=report)

    def _read_corpus(self) -> CorpusFile:
        """Return the corpus in the store, or an empty one with the settings of this build."""
        config = self._config
        settings = asdict(config.encode) | asdict(config.pack)
        corpus = CorpusFile.read(config.store)
        if corpus is None:
            return CorpusFile(settings=settings, encoder=encoder_versions())

        for name, saved, current in (
            ("settings", corpus.settings, settings),
            ("versions of the encoder", corpus.encoder, encoder_versions()),
        ):
            if saved != current:
                differences = ", ".join(
                    f"{key} {saved.get(key)} (now {current[key]})"
                    for key in current
                    if saved.get(key) != current[key]
                )
                raise ShardError(
                    f"{config.store.address} was built with other {name}: {differences}; "
                    f"use the same {name}, or build into another --out"
                )
        return corpus

    def _plan_videos(self) -> tuple[list[PlannedVideo], list[VideoFailure]]:
        """Give every readable video its names.

        Of several files with equal bytes in a source, only the first is planned.
        """
        videos = self._config.videos
        planned: dict[tuple[str, str], PlannedVideo] = {}
        failures = []

        with ThreadPoolExecutor(self._config.workers) as pool:
            read = pool.map(self._read, videos)
            for number, (video, result) in enumerate(zip(videos, read, strict=True), 1):
                self._progress("reading", number, len(videos))
                if isinstance(result, VideoFailure):
                    failures.append(result)
                    continue

                sha256, identity, annotations = result
                first = planned.get((video.source, sha256))
                if first is not None:
                    detail = f"the file has the same bytes as {first.video.path}, which is used"
                    error = BadVideoError("duplicate", detail)
                    failures.append(_failure(video, sha256[:12], error))
                    continue
                planned[video.source, sha256] = self._plan_video(
                    video, sha256, identity, annotations
                )
        return list(planned.values()), failures

    def _left_out(self) -> list[VideoFailure]:
        """Return what could not be searched, as failures of the only source of a folder."""
        source = self._config.videos[0].source
        return [
            VideoFailure(
                path=left_out.path,
                source=source,
                video="",
                reason=left_out.reason,
                detail=left_out.detail,
            )
            for left_out in self._config.left_out
        ]

    def _read(self, video: Video) -> tuple[str, FileIdentity, VideoLabels] | VideoFailure:
        """Return SHA-256, identity and labels of a video file, or why it cannot be read."""
        try:
            with Recording(video.path) as recording:
                sha256 = self._config.private.sha256(recording)
                return sha256, recording.identity, labels_of(video, recording)
        except BadVideoError as error:
            return _failure(video, "", error)

    def _plan_video(
        self, video: Video, sha256: str, identity: FileIdentity, annotations: VideoLabels
    ) -> PlannedVideo:
        if not video.case:
            case = sha256[:12]
        elif self._config.public or video.public:
            case = video.case
        else:
            case = self._config.private.pseudonym(video.source, video.case)
        return PlannedVideo(
            video=video, sha256=sha256, case=case, annotations=annotations, identity=identity
        )

    def _check_spelling(self, corpus: CorpusFile, source: str) -> None:
        """Refuse a new source whose folder some file systems take for another source's."""
        for other in corpus.sources:
            if other != source and other.lower() == source.lower():
                raise ShardError(
                    f"{self._config.store.address} has the source {other!r}, which differs from "
                    f"{source!r} only in upper and lower case, and some file systems cannot hold "
                    "both; rename this source"
                )

    def _is_complete(self, corpus: CorpusFile, source: str, groups: Sequence[Group]) -> bool:
        """Return whether the corpus has the source from the same plan, with all of its shards."""
        store = self._config.store
        entry = corpus.sources.get(source)
        if entry is None:
            self._check_spelling(corpus, source)
            return False

        pending = self._pending.read(source)
        if entry.plan == source_plan_digest(groups):
            is_final = pending is None or pending.plan != entry.plan
            return is_final and all(is_stored(store, source, shard) for shard in entry.shards)
        videos = [video for group in groups for video in group.videos]
        if self._config.replace or (pending is not None and pending.fits(entry.plan, videos)):
            return False
        raise ShardError(
            f"{store.address} has a source {source!r} that was built from other videos, cases or "
            "labels, or with another --private; replace it with --replace true while no run reads "
            "it, give this source another name, or build into another --out"
        )

    def _pack_groups(
        self, groups: Mapping[str, Sequence[Group]], complete: Collection[str]
    ) -> dict[str, PackedGroup]:
        """Encode and pack all unfinished groups. Return all packed groups by name."""
        records = GroupRecords(self._config.private.path / "groups")
        packed: dict[str, PackedGroup] = {}
        remaining = []
        for group in (group for members in groups.values() for group in members):
            record = records.read(group, self._config.store)
            if record is not None:
                packed[group.name] = record
                self._remove_encodings(group)
            elif group.source not in complete:
                remaining.append(group)

        total = sum(len(group.videos) for group in remaining)
        done = 0
        pool = ThreadPoolExecutor(self._config.workers)
        try:
            for group, encodings in self._encode_ahead(pool, remaining):
                encoded: dict[str, EncodedVideo] = {}
                failures: list[VideoFailure] = []
                for video, encoding in zip(group.videos, encodings, strict=True):
                    try:
                        encoded[video.id] = encoding.result()
                    except BadVideoError as error:
                        failures.append(_failure(video.video, video.id, error))
                    done += 1
                    self._progress("encoding", done, total)

                # A record promises that the shards are in the store, so it is written after them.
                packed[group.name] = self._pack(group, encoded, failures)
                if packed[group.name].is_final:
                    records.write(group, packed[group.name])
                    self._remove_encodings(group)
        finally:
            pool.shutdown(cancel_futures=True)
        return packed

    def _encode_ahead(
        self, pool: ThreadPoolExecutor, groups: Sequence[Group]
    ) -> Iterator[tuple[Group, list[Future[EncodedVideo]]]]:
        """Yield each group with its started encodings, while the next group is encoded as well.

        The work folder therefore holds at most two groups.
        """

        def start(group: Group) -> list[Future[EncodedVideo]]:
            return [
                pool.submit(
                    encode_video,
                    video.video.path,
                    self._config.encode,
                    self._encoding_folder(video),
                    video.identity,
                    partial(require_fitting_labels, video),
                )
                for video in group.videos
            ]

        started = start(groups[0]) if groups else []
        for index, group in enumerate(groups):
            current = started
            started = start(groups[index + 1]) if index + 1 < len(groups) else []
            yield group, current

    def _encoding_folder(self, video: PlannedVideo) -> Path:
        settings = self._config.encode.digest()
        return self._work / "videos" / settings / f"{video.video.source}-{video.id}"

    def _remove_encodings(self, group: Group) -> None:
        """Remove the encoded videos of a packed group, also those that an earlier kill left."""
        for video in group.videos:
            shutil.rmtree(self._encoding_folder(video), ignore_errors=True)

    def _pack(
        self, group: Group, encoded: Mapping[str, EncodedVideo], failures: list[VideoFailure]
    ) -> PackedGroup:
        config = self._config
        shards, samples = pack_group(
            group,
            encoded,
            config=config.encode.digest(),
            shard_bytes=config.pack.shard_bytes,
            store=config.store,
            work=self._work,
        )

        # Dropped: stretches without clips, and whole videos that could not be used.
        stretches = [
            Dropped(video=name, **asdict(stretch))
            for name, video in encoded.items()
            for stretch in video.dropped
        ]
        whole_videos = [
            Dropped(video=failure.video, start_s=0.0, end_s=0.0, reason=failure.reason)
            for failure in failures
        ]

        return PackedGroup(
            shards=shards,
            samples=samples,
            dropped=stretches + whole_videos,
            failures=failures,
            damaged={name: video.complaints for name, video in encoded.items() if video.complaints},
            notes={name: video.notes for name, video in encoded.items() if video.notes},
        )

    def _record_pending(
        self,
        groups: Mapping[str, Sequence[Group]],
        complete: Collection[str],
        failures: Sequence[VideoFailure],
    ) -> None:
        """Record the videos that the next build tries again."""
        for source in groups.keys() - set(complete):
            self._pending.write(
                source,
                source_plan_digest(groups[source]),
                [video for group in groups[source] for video in group.videos],
                [failure for failure in failures if failure.source == source],
            )

    def _publish(
        self,
        groups: Mapping[str, Sequence[Group]],
        complete: Collection[str],
        packed: Mapping[str, PackedGroup],
        failures: Sequence[VideoFailure],
    ) -> CorpusFile:
        """Write the tables of all new sources, then `corpus.json`. Return its content.

        A kill at any moment leaves a readable corpus: nothing that `corpus.json` lists is changed.
        """
        store = self._config.store
        published = self._read_corpus().sources
        entries = {
            source: publish_source(store, members, packed, failures, replaces=source in published)
            for source, members in groups.items()
            if source not in complete and any(packed[group.name].samples for group in members)
        }
        corpus = self._write_entries(entries)

        # The new files are listed, so the old ones and their names are free.
        settled = {
            source: settle_tables(store, source, corpus.sources[source])
            for source in groups
            if source in corpus.sources and corpus.sources[source].tables
        }
        corpus = self._write_entries(settled)
        for source in groups.keys() & corpus.sources.keys():
            remove_unlisted(store, source, corpus.sources[source])
        return corpus

    def _write_entries(self, entries: Mapping[str, SourceEntry]) -> CorpusFile:
        """Add or replace sources in `corpus.json`. Return its content."""
        corpus = self._read_corpus()  # again: another build may have added a source meanwhile
        for source in entries:
            self._check_spelling(corpus, source)
        if entries:
            corpus = replace(corpus, sources={**corpus.sources, **entries})
            corpus.write(self._config.store)
        return corpus


def _with_current_paths(
    packed: Collection[PackedGroup], planned: Sequence[PlannedVideo]
) -> list[VideoFailure]:
    """Return the failures of all groups with today's paths: files may have moved since a record."""
    paths = {(video.video.source, video.id): video.video.path for video in planned}
    return [
        replace(failure, path=paths[failure.source, failure.video])
        for group in packed
        for failure in group.failures
    ]


def _failure(video: Video, name: str, error: BadVideoError) -> VideoFailure:
    return VideoFailure(
        path=video.path,
        source=video.source,
        video=name,
        reason=error.reason,
        detail=str(error),
        may_pass=error.may_pass,
    )
