"""Removal of videos, with every byte in the corpus and every entry in the private folder.

No original is read, and no video is encoded: changed groups are packed again from stored clips.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from surgrec.errors import ConfigError, ShardError
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError
from surgrec.shards import CorpusFile, Source, SourceEntry
from surgrec_shard.convergence import Convergence, Places, Progress
from surgrec_shard.encode import EncodedVideo
from surgrec_shard.engines import LocalEngine, Task
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.interrupted import BegunRemoval, RemovedVideos
from surgrec_shard.publish import remove_unlisted
from surgrec_shard.purge import files_of_others, of_other_corpora, purge
from surgrec_shard.saved_plans import SavedPlans, SourcePlan

NOT_REACHED = """
What this command does not reach:
- Versions in a bucket that keeps them: delete the noncurrent versions below the corpus.
- Copies, replicas and backups of the corpus and of the private folder.
- Caches on nodes: delete the folders of loader.cache_dir and of $SURGREC_CACHE, or, without it,
  ~/.cache/surgrec and surgrec-* in the folder for temporary files.
- Features: extract them again from the changed corpus, and delete the old tables and results.
- Models: an encoder file records the videos that it was trained on. Train again without them, or
  state that the model saw them.
- The files of the videos, and their rows in the manifest: the next build of a list that has them
  takes them again.
"""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Videos of a corpus. A video is selected if it fits all values that are not empty."""

    case: str = ""
    """The case, as the manifest or the corpus names it."""
    patient: str = ""
    """The patient, as the manifest or the corpus names it."""
    video: str = ""
    """The name of the video in the corpus, or the path of its file."""
    source: str = ""

    def has(self, planned: PlannedVideo) -> bool:
        """Return whether a planned video is selected."""
        return self.has_file(planned.video, planned.case, planned.id)

    def has_file(self, video: Video, case: str = "", name: str = "") -> bool:
        """Return whether a video file is selected, which may have no names in the corpus."""
        return (
            self.case in ("", video.case, case)
            and self.patient in ("", video.patient, case if video.patient else "")
            and (self.video in ("", name) or Path(self.video).resolve() == video.path.resolve())
            and self.source in ("", video.source)
        )

    def words(self) -> str:
        """Return the selection for a message."""
        named = {"source": self.source, "case": self.case, "patient": self.patient}
        named["video"] = self.video
        return ", ".join(f"{kind} {value!r}" for kind, value in named.items() if value)


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The result of a removal."""

    videos: dict[str, list[str]]
    """Names of the removed videos, by source."""
    cases: list[str]
    """Names of the cases in the corpus that lost videos."""
    clips: int
    hours: float
    changes: dict[str, tuple[str, str]]
    """Digest of each changed source before and after; empty if nothing is left of it."""
    originals: list[str]
    """Paths of the video files, which stay."""
    other_corpora: list[str]
    """A sentence for each other corpus of the private folder that has removed videos."""


class Removal:
    """One removal of videos from a corpus. After a kill, the same one finishes the work.

    Args:
        places: The corpus and its private folder.
        selection: The videos.
        workers: Videos copied at once.
        is_alone: No other command writes to the corpus meanwhile.
        progress: Called after every copied video.
    """

    def __init__(
        self,
        places: Places,
        selection: Selection,
        *,
        workers: int,
        is_alone: bool,
        progress: Progress,
    ) -> None:
        self._places, self._selection = places, selection
        self._workers, self._is_alone, self._progress = workers, is_alone, progress
        self._store, self._private = places.store, places.private
        self._plans = SavedPlans(self._private.path / "plans", self._store)

    def run(self) -> Removed:
        """Remove the videos.

        Raises:
            ShardError: No video is selected, the corpus has another key, or the private folder does
                not know the videos of a source.
            StorageError: A disk or the store cannot be written.
        """
        self._store.check_writable()
        with self._private.lock():
            corpus = CorpusFile.read(self._store)
            if corpus is None:
                raise ShardError(f"{self._store.address} contains no corpus; check the address")
            self._private.require_key_of(corpus, self._store)

            # Select, together with the rest of an interrupted removal.
            begun = BegunRemoval(self._private.path / "removals", self._store)
            unfinished = begun.read()
            plans = self._read_plans(corpus, unfinished)
            removed = unfinished.joined(self._select(plans))
            if not removed.videos:
                raise ConfigError(
                    f"{self._store.address} has no video of {self._selection.words()}; "
                    "surgrec-shard info lists its sources, and the videos-*.csv in "
                    f"{self._private.path} its cases and videos"
                )
            touched = {source: plans[source] for source in removed.videos if source in plans}
            cases, clips, hours = self._count(corpus, touched, removed)

            # A damaged record of another corpus is refused now, before the corpus changes.
            files_of_others(self._places)

            begun.begin(removed)
            after = self._converge(corpus, touched, removed)
            originals, other_corpora = purge_removed(self._places, after, removed)
            begun.end()

        changes = {
            source: (corpus.sources[source].digest, _digest(after.sources.get(source)))
            for source in touched
        }
        return Removed(
            videos=removed.videos,
            cases=cases,
            clips=clips,
            hours=hours,
            changes=changes,
            originals=originals,
            other_corpora=other_corpora,
        )

    def _read_plans(self, corpus: CorpusFile, unfinished: RemovedVideos) -> dict[str, SourcePlan]:
        """Return the plans of the selected sources, and of those that a killed removal began."""
        plans = {}

        for source, entry in corpus.sources.items():
            if self._selection.source in ("", source) or source in unfinished.videos:
                plan = self._plans.read(source, entry.plan)
                if plan is None:
                    raise ShardError(
                        f"{self._private.path} does not know the videos of the source {source!r}; "
                        "give the folder that it was built with as --private, or build it again "
                        "from a list without these videos, with --remove_unlisted true; to leave "
                        "it as it is, name another one with --source"
                    )

                plans[source] = plan

        return plans

    def _select(self, plans: dict[str, SourcePlan]) -> RemovedVideos:
        """Return the selected videos and cases."""
        videos, cases = {}, {}

        for source, plan in plans.items():
            if self._selection.source not in ("", source):
                continue

            names = {video.id for video in plan.videos if self._selection.has(video)}
            gone = [video.video for video in plan.videos if video.id in names]

            gone += [
                other.video
                for other in plan.unplanned
                if self._selection.has_file(other.video, name=other.failure.video)
            ]

            left = {video.video.case for video in plan.videos if video.id not in names}
            if gone:
                videos[source] = sorted(names)
                cases[source] = sorted({video.case for video in gone} - left - {""})

        return RemovedVideos(videos=videos, cases=cases)

    def _converge(
        self, corpus: CorpusFile, touched: dict[str, SourcePlan], removed: RemovedVideos
    ) -> CorpusFile:
        """Publish the touched sources without the removed videos. Return `corpus.json`."""
        plans = {source: without(plan, removed, source) for source, plan in touched.items()}
        with LocalEngine(self._workers) as engine:
            converging = Convergence(
                "remove",
                self._places,
                corpus,
                plans,
                engine=engine,
                is_alone=self._is_alone,
                progress=self._progress,
            )

            def encode(video: PlannedVideo, folder: Path) -> Task[EncodedVideo]:
                if video.id in converging.stored(video.video.source).published:
                    raise ShardError(
                        f"{self._store.address} lacks clips of the video {video.id} of the source "
                        f"{video.video.source!r}; run its build again, then the removal"
                    )
                raise BadVideoError("not_stored", "it has no stored clips", may_pass=True)

            converging.pack(encode)
            return converging.publish()

    def _count(
        self, corpus: CorpusFile, touched: dict[str, SourcePlan], removed: RemovedVideos
    ) -> tuple[list[str], int, float]:
        """Return the cases, the number and the hours of the clips that are removed."""
        cases, clips, hours = set(), 0, 0.0
        for source in touched:
            index = Source.open(self._store, source, corpus.sources[source]).index
            names = removed.videos[source]
            for row, video in enumerate(index.column("video").to_pylist()):
                if video in names:
                    clip = index.sample(row).clip
                    cases.add(clip.case)
                    clips += 1
                    hours += clip.duration_s / 3600
        return sorted(cases), clips, hours


def purge_removed(
    places: Places, corpus: CorpusFile, removed: RemovedVideos
) -> tuple[list[str], list[str]]:
    """Remove the remaining traces of removed videos, after `corpus.json` lists them no more.

    Returns:
        The paths of their files, which stay, and a sentence for each other corpus that has them.
    """
    for source in removed.videos:
        places.store.remove_unfinished(f"{source}/")
        remove_unlisted(places.store, source, corpus.sources.get(source))
    names = {name for videos in removed.videos.values() for name in videos}
    return purge(places, removed), of_other_corpora(names, places)


def unlisted_videos(
    before: SourcePlan | None,
    published: Collection[str],
    listed: Sequence[PlannedVideo],
    source: str,
) -> RemovedVideos:
    """Return the videos that a source has lost since its last build.

    Args:
        before: The plan from which the source was built, if known.
        published: Names of its stored videos.
        listed: Its videos now.
        source: Its name.
    """
    names = {*published, *(video.id for video in before.videos)} if before else {*published}
    gone = names - {video.id for video in listed}
    cases = {video.video.case for video in before.videos} if before else set()
    cases |= {other.video.case for other in before.unplanned} if before else set()
    lost = cases - {video.video.case for video in listed} - {""}
    if not gone and not lost:
        return RemovedVideos()
    return RemovedVideos(videos={source: sorted(gone)}, cases={source: sorted(lost)})


def without(plan: SourcePlan, removed: RemovedVideos, source: str) -> SourcePlan:
    """Return a plan without removed videos, their copies, and unreadable files of their cases."""
    names, cases = removed.videos.get(source, []), removed.cases.get(source, [])
    return replace(
        plan,
        videos=[video for video in plan.videos if video.id not in names],
        unplanned=[
            other
            for other in plan.unplanned
            if other.failure.video not in names and other.video.case not in cases
        ],
    )


def _digest(entry: SourceEntry | None) -> str:
    return entry.digest if entry else ""
