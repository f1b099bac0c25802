"""Convergence: make a corpus equal to a plan, with as little work as possible.

Only groups that changed are packed again, and only videos without stored clips are encoded.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path

from surgrec.errors import ShardError, StorageError
from surgrec.recordings import BadVideoError
from surgrec.shards import CorpusFile, Sample, SourceEntry, settle_tables
from surgrec.shards.history import Change
from surgrec.storage import Store
from surgrec_shard.curation import own_config
from surgrec_shard.encode import EncodedVideo
from surgrec_shard.engines import Engine, Needs, Task
from surgrec_shard.exports import remove_exports
from surgrec_shard.group_records import (
    OVERLAP,
    GroupRecord,
    GroupRecords,
    PackedGroup,
    is_stored,
)
from surgrec_shard.groups import Group, PlannedVideo, make_groups, source_plan_digest
from surgrec_shard.label_checks import require_fitting_labels
from surgrec_shard.packing import (
    Footage,
    GroupPacking,
    StartedGroup,
    bytes_of,
    exceeds_a_machine,
    needs_of,
)
from surgrec_shard.parts import Claims, Part, PartResult, wait_for_others
from surgrec_shard.plan_videos import failure_of
from surgrec_shard.private import PrivateFolder
from surgrec_shard.publish import publish_source, remove_unlisted
from surgrec_shard.saved_plans import SavedPlans, SourcePlan
from surgrec_shard.span_tasks import remove_other_spans, remove_spans, spans_beside
from surgrec_shard.stored_videos import RestoreTask, StoredVideos
from surgrec_shard.video_tasks import DividedVideo, EncodeTask, PackTask

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the number of finished items, and the number of all items."""
Encode = Callable[[PlannedVideo, Path], Task[EncodedVideo | DividedVideo]]
"""Returns the task that encodes a video without stored clips into a folder. Raises BadVideoError"""
Encoded = Callable[[PlannedVideo, EncodedVideo], None]
"""Called with a video and its clips."""


@dataclass(kw_only=True)
class Work:
    """Counts of the work of a command."""

    videos_encoded: int = 0
    videos_by_several: int = 0
    """Of the encoded videos, those that several decoders worked on at once."""
    clips_reused: int = 0
    groups_packed: int = 0


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders and the store that a command works in."""

    store: Store
    """The corpus root."""
    private: PrivateFolder
    work: Path
    """Folder for encoded videos and shards being written, of mode 0700."""


_OF_THE_USER = ("labels", "drop", "mask")
"""Reasons to refuse a video because of the labels or options that the user gives with it."""


def loss_of_stored(error: BadVideoError) -> ShardError:
    """Return the refusal of labels, a list or a mask that do not fit a stored video."""
    return ShardError(
        f"{error}; the corpus already has this video, so the build stops before it would lose it"
    )


class Convergence:
    """Makes sources of a corpus equal to their plans.

    Args:
        command: Name of the command, for the history of the corpus.
        places: The corpus and the private folder.
        corpus: The content of `corpus.json`, or the first content of a new one.
        plans: The plan of each source that may change.
        engine: Encodes and packs.
        is_alone: No other command writes to the corpus meanwhile.
        progress: Called after every finished video.
        footage: Likewise, with how much video is finished.

    Raises:
        StorageError: The store has no conditional writes, and other commands may write.
    """

    def __init__(
        self,
        command: str,
        places: Places,
        corpus: CorpusFile,
        plans: Mapping[str, SourcePlan],
        *,
        engine: Engine,
        is_alone: bool,
        progress: Progress,
        footage: Callable[[Footage], None] = lambda footage: None,
    ) -> None:
        self._is_alone, self._footage = is_alone, footage
        self._command, self._places, self._corpus = command, places, corpus
        self._plans, self._engine, self._progress = plans, engine, progress
        self._store, self._private = places.store, places.private
        if not is_alone and not self._store.can_replace():
            raise StorageError(
                f"{self._store.address} is in a store without conditional writes (If-Match, "
                "If-None-Match), in which two builds may lose each other's sources; make sure that "
                "no other build writes there, and give --only_builder true"
            )
        self._records = GroupRecords(self._private.path / "groups", self._store)
        self.stored = cache(self._stored)
        """Returns the stored videos of a source."""
        self.work = Work()
        self._claims: Claims | None = None

        self.groups: dict[str, list[Group]] = {
            source: make_groups(plan.videos, plan.config, plan.pack)
            for source, plan in plans.items()
        }
        self.unfinished = {source for source in self.groups if not self._is_complete(source)}
        """Sources that are not yet as planned."""

        self.packed: dict[str, PackedGroup] = {}
        """Packed groups by name."""
        self.waiting: list[Group] = []
        """Groups that are not packed."""
        for group in (group for groups in self.groups.values() for group in groups):
            record = self._records.read(group)
            if record is not None:
                self.packed[group.name] = record
                self._remove_encodings(group)
            elif group.source in self.unfinished:
                self.waiting.append(group)
        remove_other_spans(
            places.work / "videos",
            plans,
            {
                spans_beside(self._encoding_folder(video))
                for group in self.waiting
                for video in group.videos
            },
        )

    def entry(self, source: str) -> SourceEntry | None:
        """Return what `corpus.json` lists of the source, or None if it does not list it."""
        return self._corpus.sources.get(source)

    def saved_plan(self, source: str) -> SourcePlan | None:
        """Return the plan that the source was built from; None if the private folder lacks it."""
        entry = self._corpus.sources.get(source)
        return self._saved_plans.read(source, entry.plan) if entry else None

    def samples(self, source: str) -> Iterator[list[Sample]]:
        """Yield the samples of each packed group of a source, in the order of their shards."""
        for group in self.groups[source]:
            yield self._records.samples(group)

    def pack(self, encode: Encode, encoded: Encoded = lambda video, clips: None) -> None:
        """Pack the waiting groups, from stored clips if possible.

        Args:
            encode: Returns the task that encodes a video without stored clips into a folder.
            encoded: Called with each video and its clips.
        """
        total = sum(len(group.videos) for group in self.waiting)
        total_bytes = sum(bytes_of(video) for group in self.waiting for video in group.videos)
        done, footage = 0, Footage(total_bytes=total_bytes)

        def ended(video: PlannedVideo, result: EncodedVideo | BadVideoError) -> None:
            nonlocal done
            if isinstance(result, BadVideoError):
                self._require_no_loss(video, result)
            else:
                encoded(video, result)
                footage.hours += result.end_s / 3600
            done += 1
            footage.bytes += bytes_of(video)
            self._footage(footage)
            self._progress("encoding", done, total)

        packing = GroupPacking(
            self._engine,
            encode=lambda video: self._encoding(video, encode, total_bytes - footage.bytes),
            ended=ended,
            pack=self._pack_task,
        )
        # The longest videos come first, while all cores are free: they may need several.
        left = sorted(
            self.waiting, key=lambda group: max(map(bytes_of, group.videos)), reverse=True
        )
        while left:
            taken: list[Group] = []
            claimed = self._claims.claim(left, taken) if self._claims else left
            for started, record in packing.run(claimed):
                self._finish(started, record)
            # Nothing is claimed here while this process waits, so that none waits for it.
            if taken and len(taken) == len(left):
                wait_for_others()
            left = taken
        if self._claims:
            self.packed |= self._claims.finished

    def pack_part(self, part: Part, encode: Encode, encoded: Encoded) -> PartResult:
        """Pack the groups of a part of the build, while other processes pack the others.

        Args:
            part: The part.
            encode: Returns the task that encodes a video without stored clips into a folder.
            encoded: Called with each video and its clips.
        """
        every = [group for groups in self.groups.values() for group in groups]
        share = part.share(every)
        self.waiting = [group for group in self.waiting if group.name in share]
        self._claims = Claims(self._places.work / "claims", self._records)
        self.pack(encode, encoded)
        members = [self.packed[name] for name in sorted(share & self.packed.keys())]
        return PartResult(
            groups=len(share),
            all_groups=len(every),
            failures=[failure for member in members for failure in member.failures],
        )

    def publish(self) -> CorpusFile:
        """Write the tables of all changed sources, then `corpus.json`. Return its content.

        A kill at any moment leaves a readable corpus: nothing that `corpus.json` lists is changed.
        """
        entries: dict[str, SourceEntry | None] = {}
        self._save_plans()
        for source in sorted(self.unfinished):
            digest = self._digest(source)
            if any(self.packed[group.name].ends for group in self.groups[source]):
                entries[source] = self._publish_source(source, digest)
            elif source in self._corpus.sources:
                entries[source] = None
        changes = [
            change for source, entry in entries.items() if (change := self._change(source, entry))
        ]
        before = self._corpus
        if entries:
            remove_exports(self._store)
        corpus = self._write_entries(entries, changes)

        # The new files are listed, so the old ones and their names are free.
        settled = {
            source: settle_tables(self._store, source, corpus.sources[source])
            for source in self.groups
            if source in corpus.sources and corpus.sources[source].tables
        }
        corpus = self._write_entries(settled, [])
        for source in self.groups:
            if source in corpus.sources or source in before.sources:
                remove_unlisted(self._store, source, corpus.sources.get(source))
        self._remove_old_plans(before, corpus)
        return corpus

    @cached_property
    def _saved_plans(self) -> SavedPlans:
        return SavedPlans(self._private.path / "plans", self._store)

    def _stored(self, source: str) -> StoredVideos:
        return StoredVideos(
            self._store,
            source,
            self._corpus.sources.get(source),
            config=self._plans[source].config,
            records=self._records.of_source(source),
            wanted={
                video.id: own_config(self._plans[source].config, video.curation)
                for group in self.waiting
                if group.source == source
                for video in group.videos
            },
        )

    def _is_complete(self, source: str) -> bool:
        """Return whether the corpus has the source from the same plan, with all of its files."""
        entry = self._corpus.sources.get(source)
        if entry is None:
            self._check_spelling(self._corpus, source)
            return False
        return (
            entry.plan == source_plan_digest(self.groups[source])
            and all(is_stored(self._store, source, shard) for shard in entry.shards)
            and not entry.missing_tables(self._store, source)
        )

    def _check_spelling(self, corpus: CorpusFile, source: str) -> None:
        """Refuse a new source whose folder some file systems take for another source's."""
        for other in corpus.sources:
            if other != source and other.lower() == source.lower():
                raise ShardError(
                    f"{self._store.address} has the source {other!r}, which differs from "
                    f"{source!r} only in upper and lower case, and some file systems cannot hold "
                    "both; rename this source"
                )

    def _encoding(
        self, video: PlannedVideo, encode: Encode, waiting_bytes: int
    ) -> tuple[Task[EncodedVideo | DividedVideo], Needs]:
        """Return the task that yields the clips of a video, and what it needs.

        Raises:
            BadVideoError: It is known that the video has no clips.
        """
        task = self._task(video, encode)
        if isinstance(task, EncodeTask):
            # Spans that an earlier build has decoded are not decoded again.
            has_spans = self._engine.machines > 1 and task.spans.is_dir()
            if has_spans or exceeds_a_machine(video, waiting_bytes, self._engine):
                return replace(task, is_divided=True), Needs(files=(video.video.path,))
        return task, needs_of(video, waiting_bytes, self._engine)

    def _task(self, video: PlannedVideo, encode: Encode) -> Task[EncodedVideo | DividedVideo]:
        """Return the task that yields the clips of a video: stored ones if there are any.

        Raises:
            BadVideoError: It is known that the video has no clips.
        """
        stored = self.stored(video.video.source)
        folder = self._encoding_folder(video)
        if video.overlap:
            raise BadVideoError(OVERLAP, video.overlap)
        if video.id in stored:
            require_fitting_labels(video, stored.end_s(video.id), stored.native_fps(video.id))
            return RestoreTask(clips=stored.clips(video.id), folder=folder)
        failure = stored.failures.get(video.id)
        if failure is not None:
            raise BadVideoError(failure.reason, failure.detail)
        return encode(video, folder)

    def _require_no_loss(self, video: PlannedVideo, error: BadVideoError) -> None:
        """Refuse what the user gives with a stored video if it would be lost."""
        if error.reason in _OF_THE_USER and video.id in self.stored(video.video.source).published:
            raise loss_of_stored(error) from None

    def _finish(self, started: StartedGroup, record: GroupRecord) -> None:
        """Record a packed group, and remove its encoded videos."""
        group = started.group
        self._require_stored(group, record)
        self._count(group, started.encoded())
        # A record promises that the shards are in the store, so it is written after them.
        self._records.write(group, record)
        self.packed[group.name] = packed = record.packed()
        if packed.is_final:
            self._remove_encodings(group)
        if self._claims:
            self._claims.release(group)

    def _require_stored(self, group: Group, record: GroupRecord) -> None:
        """Refuse shards that another machine wrote to a place that this one does not see."""
        for shard in record.shards:
            if not is_stored(self._store, group.source, shard):
                name = f"{group.source}/{shard.name}"
                raise StorageError(
                    f"{self._store.locate(name)} was written, but does not exist here; give --out "
                    "a folder that all machines share under the same path, or an object store"
                )

    def _count(self, group: Group, encoded: Mapping[str, EncodedVideo]) -> None:
        """Count the work that a group took."""
        stored = self.stored(group.source)
        self.work.groups_packed += 1
        for name, video in encoded.items():
            if name in stored:
                self.work.clips_reused += len(video.clips)
            else:
                self.work.videos_encoded += 1
                self.work.videos_by_several += video.decoders > 1

    def _encoding_folder(self, video: PlannedVideo) -> Path:
        config = own_config(self._plans[video.video.source].config, video.curation)
        return self._places.work / "videos" / config / f"{video.video.source}-{video.id}"

    def _remove_encodings(self, group: Group) -> None:
        """Remove the encoded videos of a packed group, also those that an earlier kill left."""
        for video in group.videos:
            folder = self._encoding_folder(video)
            shutil.rmtree(folder, ignore_errors=True)
            remove_spans(spans_beside(folder))

    def _pack_task(self, started: StartedGroup) -> PackTask:
        plan = self._plans[started.group.source]
        return PackTask(
            group=started.group,
            encoded=started.encoded(),
            failures=[
                failure_of(video.video, video.id, result)
                for video in started.group.videos
                if isinstance(result := started.results[video.id], BadVideoError)
            ],
            config=plan.config,
            shard_bytes=plan.pack.shard_bytes,
            store=self._store,
            work=self._places.work,
        )

    def _digest(self, source: str) -> str:
        groups = self.groups[source]
        is_final = all(self.packed[group.name].is_final for group in groups)
        return source_plan_digest(groups, is_final=is_final)

    def _publish_source(self, source: str, digest: str) -> SourceEntry:
        return publish_source(
            self._store,
            self.groups[source],
            self.packed,
            self.samples(source),
            unplanned=len(self._plans[source].unplanned),
            plan=digest,
            split_rule=self._plans[source].split_rule,
            further=self.stored(source).further_columns,
        )

    def _change(self, source: str, entry: SourceEntry | None) -> Change | None:
        """Return the change of a published source, or None if nothing changes."""
        before = self._corpus.sources.get(source)
        if before is None or (entry and (entry.digest, entry.plan) == (before.digest, before.plan)):
            return None

        now = {video for group in self.groups[source] for video in self.packed[group.name].ends}
        published = self.stored(source).published

        return Change(
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            command=self._command,
            source=source,
            videos_added=len(now - published),
            videos_removed=len(published - now),
            digest_before=before.digest,
            digest_after=entry.digest if entry else "",
        )

    def _write_entries(
        self, entries: Mapping[str, SourceEntry | None], changes: Sequence[Change]
    ) -> CorpusFile:
        """Add, replace or remove sources in `corpus.json`. Return its content."""

        def change(now: CorpusFile | None) -> CorpusFile:
            # Another build may have created the corpus, or added a source, meanwhile.
            now = now or replace(self._corpus, sources={}, history=[])
            self._private.require_key_of(now, self._store)

            if (now.settings, now.encoder) != (self._corpus.settings, self._corpus.encoder):
                raise ShardError(
                    f"another build has created {self._store.address} meanwhile, with other "
                    "settings; run the same command again to see them"
                )

            for source in entries:
                self._check_spelling(now, source)
                if now.sources.get(source) != self._corpus.sources.get(source):
                    raise ShardError(
                        f"another build has changed the source {source!r} of {self._store.address} "
                        "meanwhile; run the same command again"
                    )

            sources: dict[str, SourceEntry | None] = {**now.sources, **entries}
            return replace(
                now,
                key=self._private.fingerprint,
                sources={name: entry for name, entry in sources.items() if entry is not None},
                history=[*now.history, *changes],
            )

        if entries:
            corpus = CorpusFile.change(self._store, change, is_alone=self._is_alone)
        else:
            corpus = CorpusFile.read(self._store) or self._corpus
        self._corpus = replace(
            self._corpus,
            sources={
                **self._corpus.sources,
                **{name: entry for name, entry in corpus.sources.items() if name in entries},
            },
        )
        return corpus

    def _save_plans(self) -> None:
        """Save the plan of each source before it is published."""
        plans = self._saved_plans
        for source, plan in self._plans.items():
            if source in self.unfinished:
                plans.write(source, self._digest(source), plan)
            else:
                plans.write(source, self._corpus.sources[source].plan, plan)

    def _remove_old_plans(self, before: CorpusFile, after: CorpusFile) -> None:
        """Remove saved plans from which the corpus is no longer built."""
        plans = self._saved_plans
        for source in self.unfinished:
            entry, now = before.sources.get(source), after.sources.get(source)
            if entry is not None and (now is None or now.plan != entry.plan):
                plans.remove(source, entry.plan)
            if now is None:
                plans.remove(source, self._digest(source))
