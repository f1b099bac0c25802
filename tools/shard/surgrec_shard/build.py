"""The build: hash -> plan -> encode -> pack -> publish, with everything finished kept when it is killed."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from surgrec.errors import ManifestError, ShardError
from surgrec.manifest import Video, read_labels
from surgrec.shards import CorpusFile, Dropped, read_corpus_file, write_corpus_file
from surgrec.storage import Store
from surgrec_shard.build_report import write_report
from surgrec_shard.disk import writing_to
from surgrec_shard.encode import EncodedVideo, EncodeSettings, encode_video
from surgrec_shard.ffmpeg import encoder_versions
from surgrec_shard.group_records import Failure, GroupRecords, PackedGroup, is_stored
from surgrec_shard.groups import Group, PackSettings, PlannedVideo, make_groups, source_plan_digest
from surgrec_shard.pack import pack_group
from surgrec_shard.private import PrivateFolder
from surgrec_shard.publish import publish_source, remove_stale_shards
from surgrec_shard.video_facts import BadVideoError

Progress = Callable[[str, int, int], None]
"""Called with the stage, what is done and what there is to do."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What to build, and where."""

    videos: Sequence[Video]
    store: Store
    private: PrivateFolder
    work: Path
    encode: EncodeSettings
    pack: PackSettings
    public: bool
    workers: int
    replace: bool = False
    """Build a source again that the corpus has from other videos, cases or labels."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What was built."""

    corpus: CorpusFile
    failures: list[Failure]
    report: Path
    """The private list of all videos."""


def build(request: BuildRequest, progress: Progress) -> BuildResult:
    """Builds the sources of the request into the corpus. The same request again does only what is missing.

    Raises:
        ManifestError: No video can be used.
        ShardError: The corpus has a source of the same name with other content, or other settings.
        StorageError: A disk or the store does not take what is written.
    """
    request.store.check_writable()
    with request.private.locked():
        corpus = _corpus_to_extend(request)
        planned, failures = _plan_videos(request, progress)
        groups = make_groups(planned, request.encode.digest(), request.pack)
        by_source: dict[str, list[Group]] = defaultdict(list)
        for group in groups:
            by_source[group.source].append(group)
        complete = {
            source
            for source, members in by_source.items()
            if _is_complete(request, corpus, members)
        }
        packed = _pack_all(request, groups, complete, progress)
        paths = {(video.video.source, video.id): video.video.path for video in planned}
        failures += [
            replace(
                failure, path=paths[failure.source, failure.video]
            )  # where it is now: a record may be older
            for group in packed.values()
            for failure in group.failures
        ]
        report = write_report(request.private, request.videos, planned, packed, failures)
        if not complete and not any(group.samples for group in packed.values()):
            raise ManifestError(
                f"none of the {len(request.videos)} videos can be used; {report} says why for each"
            )
        entries = {
            source: publish_source(request.store, members, packed, failures)
            for source, members in by_source.items()
            if source not in complete and any(packed[group.name].samples for group in members)
        }
        corpus = _corpus_to_extend(
            request
        )  # again, as another build may have added a source in these hours
        if entries:
            corpus = replace(corpus, sources=corpus.sources | entries)
            write_corpus_file(request.store, corpus)
        for source in by_source.keys() & corpus.sources.keys():
            remove_stale_shards(request.store, source, corpus.sources[source])
    return BuildResult(corpus=corpus, failures=failures, report=report)


def _corpus_to_extend(request: BuildRequest) -> CorpusFile:
    """The corpus that is there, or an empty one with this build's settings."""
    settings = asdict(request.encode) | asdict(request.pack)
    corpus = read_corpus_file(request.store)
    if corpus is None:
        return CorpusFile(settings=settings, encoder=encoder_versions())
    for what, there, here in (
        ("settings", corpus.settings, settings),
        ("encoder", corpus.encoder, encoder_versions()),
    ):
        if there != here:
            different = ", ".join(
                f"{key} {there.get(key)!r} (now {here[key]!r})"
                for key in here
                if there.get(key) != here[key]
            )
            raise ShardError(
                f"{request.store.address} was built with other {what}: {different}; use the same, or build into another --out"
            )
    return corpus


def _plan_videos(
    request: BuildRequest, progress: Progress
) -> tuple[list[PlannedVideo], list[Failure]]:
    """Names every readable video; a file listed twice in a source is taken once."""
    planned: dict[tuple[str, str], PlannedVideo] = {}
    failures = []
    with ThreadPoolExecutor(request.workers) as pool:
        hashes = pool.map(lambda video: _sha256(request.private, video), request.videos)
        for number, (video, sha256) in enumerate(zip(request.videos, hashes, strict=True), 1):
            progress("reading", number, len(request.videos))
            if isinstance(sha256, Failure):
                failures.append(sha256)
            elif (video.source, sha256) in planned:
                first = planned[video.source, sha256].video.path
                failures.append(
                    _failure(
                        video,
                        sha256[:12],
                        "duplicate",
                        f"the same bytes as {first}, which was taken",
                    )
                )
            else:
                planned[video.source, sha256] = _plan_video(request, video, sha256)
    return list(planned.values()), failures


def _sha256(private: PrivateFolder, video: Video) -> str | Failure:
    try:
        if (
            video.path.exists() and not video.path.is_file()
        ):  # a folder; or a pipe, which would be read for ever
            return _failure(video, "", "unreadable", "it is not a file")
        return private.file_sha256(video.path)
    except FileNotFoundError:
        return _failure(video, "", "missing", "the file does not exist")
    except OSError as error:
        return _failure(video, "", "unreadable", f"the file cannot be read: {error.strerror}")


def _plan_video(request: BuildRequest, video: Video, sha256: str) -> PlannedVideo:
    public = request.public or video.public
    if not video.case:
        case = sha256[:12]
    else:
        case = video.case if public else request.private.pseudonym(video.source, video.case)
    labels = tuple(read_labels(video.labels)) if video.labels else ()
    return PlannedVideo(video=video, sha256=sha256, case=case, labels=labels)


def _is_complete(request: BuildRequest, corpus: CorpusFile, groups: Sequence[Group]) -> bool:
    """Whether the corpus already has this source, from the same plan, with every shard in place."""
    source = groups[0].source
    entry = corpus.sources.get(source)
    if entry is None:
        return False
    if entry.plan != source_plan_digest(groups):
        if request.replace:
            return False
        raise ShardError(
            f"{request.store.address} already has a source {source!r} built from other videos, cases, labels or another "
            "--private key; replace it with --replace true while no run reads it, give this one another name, or build into "
            "another --out"
        )
    return all(is_stored(request.store, source, shard) for shard in entry.shards)


def _pack_all(
    request: BuildRequest, groups: Sequence[Group], complete: Collection[str], progress: Progress
) -> dict[str, PackedGroup]:
    """Encodes and packs what is not finished yet. Encoding of a group goes on while the one before is packed."""
    records = GroupRecords(request.private.path / "groups")
    todo, packed = [], {}
    for group in groups:
        record = records.read(group, request.store)
        if record is not None:
            packed[group.name] = record
            _forget_encodings(request, group)
        elif group.source not in complete:
            todo.append(group)
    total = sum(len(group.videos) for group in todo)
    done = 0
    pool = ThreadPoolExecutor(request.workers)
    try:
        for group, encodings in _ahead(pool, todo, request):
            encoded: dict[str, EncodedVideo] = {}
            failures: list[Failure] = []
            for planned, encoding in zip(group.videos, encodings, strict=True):
                try:
                    encoded[planned.id] = encoding.result()
                except BadVideoError as error:
                    failures.append(_failure(planned.video, planned.id, error.reason, str(error)))
                done += 1
                progress("encoding", done, total)
            packed[group.name] = _pack(request, group, encoded, failures)
            records.write(group, packed[group.name])
            _forget_encodings(request, group)
    finally:
        pool.shutdown(cancel_futures=True)
    return packed


def _ahead(
    pool: ThreadPoolExecutor, groups: Sequence[Group], request: BuildRequest
) -> Iterator[tuple[Group, list[Future[EncodedVideo]]]]:
    """Groups with their encodings under way; one group ahead, so that disk use stays within two groups."""
    with writing_to(request.work):
        request.work.mkdir(parents=True, exist_ok=True)

    def start(group: Group) -> list[Future[EncodedVideo]]:
        return [
            pool.submit(
                encode_video, planned.video.path, request.encode, _spool_folder(request, planned)
            )
            for planned in group.videos
        ]

    started = start(groups[0]) if groups else []
    for place, group in enumerate(groups):
        current = started
        started = start(groups[place + 1]) if place + 1 < len(groups) else []
        yield group, current


def _spool_folder(request: BuildRequest, planned: PlannedVideo) -> Path:
    return (
        request.work / "videos" / request.encode.digest() / f"{planned.video.source}-{planned.id}"
    )


def _forget_encodings(request: BuildRequest, group: Group) -> None:
    """Removes the encoded videos of a packed group; after a kill between the two, the next build does."""
    for planned in group.videos:
        shutil.rmtree(_spool_folder(request, planned), ignore_errors=True)


def _pack(
    request: BuildRequest,
    group: Group,
    encoded: Mapping[str, EncodedVideo],
    failures: list[Failure],
) -> PackedGroup:
    shards, samples = pack_group(
        group,
        encoded,
        config=request.encode.digest(),
        shard_bytes=request.pack.shard_bytes,
        store=request.store,
        work=request.work,
    )
    dropped = [
        Dropped(video=name, start_s=video.tail[0], end_s=video.tail[1], reason="short_tail")
        for name, video in encoded.items()
        if video.tail
    ]
    dropped += [
        Dropped(video=failure.video, start_s=0.0, end_s=0.0, reason=failure.reason)
        for failure in failures
    ]
    damaged = {name: video.complaints for name, video in encoded.items() if video.complaints}
    return PackedGroup(
        shards=shards, samples=samples, dropped=dropped, failures=failures, damaged=damaged
    )


def _failure(video: Video, name: str, reason: str, detail: str) -> Failure:
    return Failure(path=video.path, source=video.source, video=name, reason=reason, detail=detail)
