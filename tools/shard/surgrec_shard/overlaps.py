"""Videos of a build that overlap a corpus for evaluation: they are left out with their cases.

They are found by the hashes of their stored clips, before anything is published. The private folder
remembers them, so that the same build need not encode them again.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from surgrec.duplicates import HASH_VERSION, Copy, CopyRules, VideoHashes, find_copies
from surgrec.errors import ConfigError, ShardError
from surgrec.shards import Source, open_corpus
from surgrec.storage import open_store
from surgrec_shard.convergence import Convergence, Places, Progress
from surgrec_shard.corpus_files import CorpusFiles
from surgrec_shard.engines import Engine
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.private_json import read_private_json, write_private_json
from surgrec_shard.stored_hashes import (
    StoredVideo,
    hash_videos,
    stored_videos,
    videos_of_source,
    videos_of_sources,
)

_OTHER_VIDEO = "another video of its case overlaps the corpus for evaluation"
"""Reason of the videos that are left out with their case."""


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    """The videos of a source that overlap one content of a corpus for evaluation."""

    videos: dict[str, str] = field(default_factory=dict)
    """The reason of each, a sentence."""
    corpus: str = ""
    """Address of the corpus that is built."""


class OverlapFinder:
    """Finds videos of a build that a corpus for evaluation has.

    Args:
        address: Root of the corpus for evaluation.
        places: Where the build works.
        engine: Decodes the videos.
        workers: Videos compared at once.
        progress: Called after each step.

    Raises:
        ConfigError: It is the corpus that is built.
        ShardError: The address has no corpus, or a clip is damaged.
    """

    def __init__(
        self, address: str, places: Places, *, engine: Engine, workers: int, progress: Progress
    ) -> None:
        self._places, self._engine, self._progress = places, engine, progress
        self._workers = workers
        self._address = open_store(address).address
        if open_store(address) == places.store:
            raise ConfigError(
                f"--exclude_overlap_with names the corpus that is built, {self._address}; give the "
                "address of another one"
            )
        self._files = CorpusFiles(places.private.path / "overlaps", places.store)

        # Hash the corpus now: an error in it should not come after hours of encoding.
        sources = open_corpus(address)
        self._evaluated = videos_of_sources(sources)
        self._hashes = self._hash(self._evaluated)
        lines = [f"{name} {source.entry.digest}" for name, source in sorted(sources.items())]
        text = "\n".join([str(HASH_VERSION), *lines])
        self._digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def remembered(self, planned: Sequence[PlannedVideo]) -> list[PlannedVideo]:
        """Return the videos; those that an earlier build found are marked."""
        known = {source: self._read(source) for source in {each.video.source for each in planned}}
        marked = [
            replace(each, overlap=known[each.video.source].videos.get(each.id, ""))
            for each in planned
        ]
        return _with_cases(marked, {})

    def found(self, planned: Sequence[PlannedVideo], converging: Convergence) -> list[PlannedVideo]:
        """Return the videos; those that overlap are marked, with the other videos of their cases.

        Args:
            planned: The videos of the build.
            converging: The build, packed and not yet published.
        """
        videos = [
            video for source in converging.groups for video in self._videos_of(source, converging)
        ]

        copies = find_copies(
            self._hash(videos),
            self._hashes,
            rules=CopyRules(),
            workers=self._workers,
            progress=lambda done, total: self._progress("comparing", done, total),
        )

        reasons = {
            (videos[copy.video].source, videos[copy.video].name): self._sentence(copy)
            for copy in sorted(copies, key=lambda copy: copy.seconds)
        }

        marked = _with_cases(planned, reasons)
        if marked != list(planned):
            self._remember(marked)
        return marked

    def _videos_of(self, source: str, converging: Convergence) -> list[StoredVideo]:
        """Return the stored videos of a source: of its packed groups, or of its index."""
        store = self._places.store
        names = [group.name for group in converging.groups[source]]
        if all(name in converging.packed for name in names):
            samples = itertools.chain.from_iterable(converging.samples(source))
            return stored_videos(store, source, samples)
        entry = converging.entry(source)
        if entry is None:
            raise ShardError(f"{store.locate(source)} is not complete; run the same command again")
        return videos_of_source(Source.open(store, source, entry))

    def _hash(self, videos: Sequence[StoredVideo]) -> list[VideoHashes]:
        return hash_videos(
            videos, self._engine, lambda done, total: self._progress("hashing", done, total)
        )

    def _sentence(self, copy: Copy) -> str:
        other = self._evaluated[copy.other]
        return (
            f"{copy.start_s:g} to {copy.end_s:g} s show the same as {copy.other_start_s:g} to "
            f"{copy.other_end_s:g} s of {other.source}/{other.name} in {self._address}"
        )

    def _remember(self, marked: Iterable[PlannedVideo]) -> None:
        by_source: dict[str, dict[str, str]] = {}
        for each in marked:
            # The case of a video may be corrected later: only copies themselves are remembered.
            if each.overlap not in ("", _OTHER_VIDEO):
                by_source.setdefault(each.video.source, {})[each.id] = each.overlap
        for source, videos in by_source.items():
            write_private_json(
                self._files.own(f"{source}-{self._digest}"),
                _Remembered(videos=videos, corpus=self._files.address),
            )

    def _read(self, source: str) -> _Remembered:
        path = self._files.find(f"{source}-{self._digest}")
        remedy = "remove it, and run the same command again"
        found = read_private_json(path, _Remembered, error=ShardError, remedy=remedy)
        return found or _Remembered()


def _with_cases(
    planned: Sequence[PlannedVideo], reasons: dict[tuple[str, str], str]
) -> list[PlannedVideo]:
    """Mark the overlapping videos, and the others of the same cases."""
    marked = [
        replace(each, overlap=each.overlap or reasons.get((each.video.source, each.id), ""))
        for each in planned
    ]
    cases = {_case_of(each) for each in marked if each.overlap}
    return [
        replace(each, overlap=_OTHER_VIDEO)
        if not each.overlap and _case_of(each) in cases
        else each
        for each in marked
    ]


def _case_of(planned: PlannedVideo) -> tuple[str, str]:
    """Return the identity of a case: with a patient, the pseudonym is the same in all sources."""
    return ("" if planned.video.patient else planned.video.source, planned.case)
