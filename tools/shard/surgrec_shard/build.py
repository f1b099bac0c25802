"""The build: hash, plan, encode, pack, publish. A killed build keeps everything it has finished."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from surgrec.errors import ManifestError, ShardError
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError
from surgrec.shards import CorpusFile
from surgrec.storage import Store
from surgrec.text import counted
from surgrec.video_folder import LeftOut
from surgrec_shard.build_report import write_report
from surgrec_shard.convergence import Convergence, Places, Progress, Work, loss_of_stored
from surgrec_shard.curation import CurateSettings, Curation, FrameModel
from surgrec_shard.encode import UNREAD_END, EncodedVideo, EncodeSettings
from surgrec_shard.encoder import encoder_versions
from surgrec_shard.engines import Engine, LocalEngine
from surgrec_shard.group_records import PackedGroup, VideoFailure
from surgrec_shard.groups import PackSettings, PlannedVideo
from surgrec_shard.interrupted import BegunRemoval, RemovedVideos
from surgrec_shard.label_checks import require_fitting_labels
from surgrec_shard.overlaps import OverlapFinder
from surgrec_shard.overlay_report import OverlayRecords, OverlaySummary
from surgrec_shard.packing import Footage
from surgrec_shard.parts import Part, PartResult
from surgrec_shard.plan_videos import plan_videos
from surgrec_shard.private import PrivateFolder
from surgrec_shard.removal import purge_removed, unlisted_videos
from surgrec_shard.saved_plans import SourcePlan, UnplannedVideo
from surgrec_shard.twins import find_twins
from surgrec_shard.video_tasks import EncodeTask

_NO_VIDEOS = frozenset(("not_in_preset", "no_split", "no_picture", "pictures", "hidden"))
"""Reasons of files that are left out and hide no video of the source."""


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """The videos to build, the corpus to build into, and how."""

    videos: Sequence[Video]
    left_out: Sequence[LeftOut] = ()
    """Files and folders that could not be searched for videos."""
    noted: Sequence[LeftOut] = ()
    """Files that only the report names, such as those that the user excluded."""
    split_rule: str = ""
    """Published split that the videos follow, with its status; empty: none is known."""
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
    """Threads of the local engine: videos encoded at once, and decoders of long videos."""
    engine: Engine | None = None
    """Runs the tasks, and is closed at the end; None: the local engine."""
    footage: Callable[[Footage], None] = lambda footage: None
    """Called after every encoded video."""
    curate: CurateSettings = CurateSettings()
    remove_unlisted: bool = False
    """Remove videos of the sources to build that are not among the videos to build."""
    exclude_overlap_with: str = ""
    """Root of a corpus for evaluation; videos that it has are left out, with their cases."""
    is_alone: bool = False
    """No other build writes to the corpus meanwhile."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """The corpus after a build, and the videos that are not in it."""

    corpus: CorpusFile
    failures: list[VideoFailure]
    """Videos, and folders that could not be searched."""
    unread_ends: dict[Path, str]
    """Packed videos whose end is missing or cannot be read, and their notes."""
    report: Path
    """The private list of all videos."""
    work: Work
    """Counts of the work."""
    twins: int = 0
    """Number of videos that may be copies of each other, which the report names."""
    overlays: OverlaySummary | None = None
    """None: they were not looked for."""
    removed: RemovedVideos = field(default_factory=RemovedVideos)
    """Stored videos that are not listed any more."""
    other_corpora: list[str] = field(default_factory=list)
    """A sentence for each other corpus of the private folder that has removed videos."""


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
        public = [replace(video, public=video.public or config.public) for video in config.videos]
        self._config = replace(config, videos=public)
        self._progress = progress
        looks = config.curate.overlays != "off"
        self._overlays = OverlayRecords(config.private) if looks else None
        self._model: FrameModel | None = None
        self._engine = config.engine or LocalEngine(config.workers)
        self._places = Places(
            store=config.store, private=config.private, work=config.private.folder_in(config.work)
        )

    def run(self) -> BuildResult:
        """Build all sources and publish them.

        Raises:
            ManifestError: No video can be used.
            ConfigError: The model of curation cannot be used.
            ShardError: The corpus has other settings or another key, or videos that are not listed.
            StorageError: A disk or the store cannot be written.
        """
        config = self._config
        config.store.check_writable()
        self._model = config.curate.open_model()
        with self._engine, config.private.lock():
            corpus = self._read_corpus()
            begun = BegunRemoval(config.private.path / "removals", config.store)
            self._require_no_begun_removal(begun.read())

            # Plan: names of videos, groups, and sources that are already complete.
            planned, unplanned = self._plan()
            finder = self._overlap_finder()
            if finder:
                planned = finder.remembered(planned)
            converging = self._convergence(corpus, planned, unplanned)
            removed = begun.read().joined(self._unlisted(converging, unplanned))
            self._require_fitting_labels(converging)

            # Encode and pack, then report on every video before anything is published.
            converging.pack(self._encode, self._keep_overlays)
            if finder and (marked := finder.found(planned, converging)) != planned:
                # The other videos of changed groups are packed again from their clips.
                planned, work = marked, converging.work
                converging = self._convergence(corpus, planned, unplanned)
                converging.work.videos_encoded = work.videos_encoded
                converging.work.videos_by_several = work.videos_by_several
                converging.pack(self._encode, self._keep_overlays)
            packed = converging.packed
            failures = [video.failure for video in unplanned]
            failures += _with_current_paths(packed.values(), planned)
            left_out = self._as_failures(config.left_out)
            told = [*left_out, *self._as_failures(config.noted)]
            twins = find_twins(planned, packed)
            overlays = self._report_overlays(planned, packed.values())
            report = write_report(
                config.private, config.videos, planned, packed, failures, told, twins
            )
            failures += left_out
            has_samples = any(group.ends for group in packed.values())
            if converging.unfinished == converging.groups.keys() and not has_samples:
                first = failures[0]
                raise ManifestError(
                    f"none of {counted(len(config.videos), 'video')} can be used "
                    f"(the first, {first.path}: {first.detail}); {report} lists the reason for each"
                )
            if removed.videos:
                begun.begin(removed)
            corpus = converging.publish()
            other_corpora: list[str] = []
            if removed.videos:
                _, other_corpora = purge_removed(self._places, corpus, removed)
                begun.end()
        return BuildResult(
            corpus=corpus,
            failures=failures,
            unread_ends=_unread_ends(packed.values(), planned),
            report=report,
            work=converging.work,
            twins=len(twins),
            overlays=overlays,
            removed=removed,
            other_corpora=other_corpora,
        )

    def run_part(self, part: Part) -> PartResult:
        """Encode and pack the groups of a part, and publish nothing. Other parts may run meanwhile.

        Raises:
            ManifestError, ConfigError, ShardError, StorageError: As of `run`.
        """
        config = self._config
        config.store.check_writable()
        self._model = config.curate.open_model()
        with self._engine, config.private.lock_for_part():
            corpus = self._read_corpus()
            begun = BegunRemoval(config.private.path / "removals", config.store)
            self._require_no_begun_removal(begun.read())
            planned, unplanned = self._plan(part.first_of(len(config.videos)))
            converging = self._convergence(corpus, planned, unplanned)
            self._unlisted(converging, unplanned)
            self._require_fitting_labels(converging)
            return converging.pack_part(part, self._encode, self._keep_overlays)

    def _plan(self, begin: int = 0) -> tuple[list[PlannedVideo], list[UnplannedVideo]]:
        """Return the videos with their names, and those that cannot have one.

        Args:
            begin: Index of the video that is read first.
        """
        config = self._config
        planned, unplanned = plan_videos(
            config.videos,
            config.private,
            engine=self._engine,
            progress=lambda done: self._progress("reading", done, len(config.videos)),
            begin=begin,
        )
        return [self._with_curation(video) for video in planned], unplanned

    def _overlap_finder(self) -> OverlapFinder | None:
        config = self._config
        if not config.exclude_overlap_with:
            return None
        return OverlapFinder(
            config.exclude_overlap_with,
            self._places,
            engine=self._engine,
            workers=config.workers,
            progress=self._progress,
        )

    def _convergence(
        self,
        corpus: CorpusFile,
        planned: Sequence[PlannedVideo],
        unplanned: Sequence[UnplannedVideo],
    ) -> Convergence:
        return Convergence(
            "build",
            self._places,
            corpus,
            self._source_plans(planned, unplanned),
            engine=self._engine,
            is_alone=self._config.is_alone,
            progress=self._progress,
            footage=self._config.footage,
        )

    def _read_corpus(self) -> CorpusFile:
        """Return the corpus in the store, or an empty one with the settings of this build."""
        config = self._config
        settings = asdict(config.encode) | asdict(config.pack)
        settings |= config.curate.changes(self._model)
        corpus = CorpusFile.read(config.store)
        if corpus is None:
            key = config.private.fingerprint
            return CorpusFile(settings=settings, encoder=encoder_versions(), key=key)

        for name, saved, current in (
            ("settings", corpus.settings, settings),
            ("versions of the encoder", corpus.encoder, encoder_versions()),
        ):
            if saved != current:
                differences = ", ".join(
                    f"{key} {saved.get(key)} (now {current.get(key)})"
                    for key in saved | current
                    if saved.get(key) != current.get(key)
                )
                raise ShardError(
                    f"{config.store.address} was built with other {name}: {differences}; "
                    f"use the same {name}, or build into another --out"
                )
        config.private.require_key_of(corpus, config.store)
        return corpus

    def _source_plans(
        self, planned: Sequence[PlannedVideo], unplanned: Sequence[UnplannedVideo]
    ) -> dict[str, SourcePlan]:
        """Return the plan of each source that has readable videos."""
        digest = self._config.curate.digest_with(self._config.encode.digest(), self._model)
        return {
            source: SourcePlan(
                config=digest,
                pack=self._config.pack,
                videos=[video for video in planned if video.video.source == source],
                unplanned=[video for video in unplanned if video.video.source == source],
                split_rule=self._config.split_rule,
            )
            for source in sorted({video.video.source for video in planned})
        }

    def _require_no_begun_removal(self, begun: RemovedVideos) -> None:
        """Refuse to build after an interrupted removal, unless this build finishes it."""
        sources = {video.source for video in self._config.videos}
        is_finished_here = self._config.remove_unlisted and begun.videos.keys() <= sources
        if begun.videos and not is_finished_here:
            number = sum(map(len, begun.videos.values()))
            raise ShardError(
                f"the removal of {counted(number, 'video')} was interrupted; finish it with the "
                "same command, then build"
            )

    def _unlisted(
        self, converging: Convergence, unplanned: Sequence[UnplannedVideo]
    ) -> RemovedVideos:
        """Return the stored videos that are not listed. Refuse to lose them without the flag.

        Raises:
            ShardError: Stored videos are not listed, and the flag is not given, or it is not clear
                which videos are listed.
        """
        config = self._config
        removed = RemovedVideos()
        for source in sorted(converging.unfinished):
            published = converging.stored(source).published
            listed = [video for group in converging.groups[source] for video in group.videos]
            unlisted = len(published - {video.id for video in listed})
            unread = [video.failure for video in unplanned if video.video.source == source]
            unread = [failure for failure in unread if not failure.video]
            unread += self._as_failures(
                [each for each in config.left_out if each.reason not in _NO_VIDEOS]
            )

            if unlisted and unread:
                raise ShardError(
                    f"{config.store.address} has {counted(unlisted, 'video')} of the source "
                    f"{source!r} beyond the readable ones of this build; {len(unread)} cannot be "
                    f"read (the first, {unread[0].path}: {unread[0].detail}); make them readable, "
                    "or no longer list them"
                )
            if unlisted and not config.remove_unlisted:
                raise ShardError(
                    f"{config.store.address} has {counted(unlisted, 'video')} of the source "
                    f"{source!r} that this build does not list, or whose files have other bytes "
                    "now; list these files again, or remove the videos with --remove_unlisted true "
                    "while no run reads the source"
                )
            if config.remove_unlisted:
                removed = removed.joined(
                    unlisted_videos(converging.saved_plan(source), published, listed, source)
                )
        return removed

    def _require_fitting_labels(self, converging: Convergence) -> None:
        """Refuse new labels that do not fit a stored video: it would be lost."""
        for group in converging.waiting:
            stored = converging.stored(group.source)
            for video in group.videos:
                if video.id in stored.published and video.id in stored:
                    self._require_labels(video, stored.end_s(video.id), stored.native_fps(video.id))

    def _require_labels(self, video: PlannedVideo, end_s: float, fps: float) -> None:
        """Refuse labels that do not fit a stored video: it would be lost."""
        try:
            require_fitting_labels(video, end_s, fps)
        except BadVideoError as error:
            raise loss_of_stored(error) from None

    def _encode(self, video: PlannedVideo, folder: Path) -> EncodeTask:
        return EncodeTask(
            video=video,
            settings=self._config.encode,
            curation=self._curation_of(video),
            folder=folder,
        )

    def _keep_overlays(self, video: PlannedVideo, encoded: EncodedVideo) -> None:
        if self._overlays:
            self._overlays.keep(video, encoded)

    def _report_overlays(
        self, planned: Sequence[PlannedVideo], packed: Collection[PackedGroup]
    ) -> OverlaySummary | None:
        """List the static overlays of all packed videos, also of those with stored clips."""
        if not self._overlays:
            return None
        names = {video for group in packed for video in group.ends}
        videos = [video for video in planned if video.id in names]
        self._overlays.look_at_others(
            videos, self._curation_of, engine=self._engine, progress=self._progress
        )
        return self._overlays.report(videos)

    def _curation_of(self, video: PlannedVideo) -> Curation:
        settings = self._config.curate.of_split(video.video.split)
        return Curation(
            settings=settings, listed=video.listed, masks=video.video.mask, model=self._model
        )

    def _with_curation(self, video: PlannedVideo) -> PlannedVideo:
        return replace(video, curation=self._curation_of(video).identity(self._config.curate))

    def _as_failures(self, entries: Sequence[LeftOut]) -> list[VideoFailure]:
        """Return the entries left out as failures of the only source of a folder."""
        source = self._config.videos[0].source
        return [
            VideoFailure(
                path=left_out.path,
                source=source,
                video="",
                reason=left_out.reason,
                detail=left_out.detail,
            )
            for left_out in entries
        ]


def _unread_ends(
    packed: Collection[PackedGroup], planned: Sequence[PlannedVideo]
) -> dict[Path, str]:
    """Return the notes of the videos whose end is not in the corpus, by today's path."""
    paths = {video.id: video.video.path for video in planned}
    return {
        paths[row.video]: "; ".join(group.notes.get(row.video, []))
        for group in packed
        for row in group.dropped
        if row.reason == UNREAD_END
    }


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
