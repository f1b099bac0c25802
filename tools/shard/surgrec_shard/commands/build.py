"""`surgrec-shard build`: videos to shards."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from surgrec.errors import ConfigError
from surgrec.manifest import ListUnit, SharedMetadata, Split
from surgrec.ranges import Range
from surgrec.recordings.picture_files import HIGHEST_RATE
from surgrec.shards import CorpusFile
from surgrec.storage import Store, open_store
from surgrec.terminal import SOME_FAILED, escape, say, stage_progress, warn
from surgrec.text import counted
from surgrec_shard.build import Build, BuildConfig, BuildResult
from surgrec_shard.curation import CurateSettings
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.engines import EngineName, open_engine
from surgrec_shard.footage_progress import FootageProgress
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PackSettings
from surgrec_shard.inputs import Inputs
from surgrec_shard.overlay_report import OverlaySummary
from surgrec_shard.parts import PartResult, parse_part
from surgrec_shard.private import PrivateFolder, default_private_folder
from surgrec_shard.removal import NOT_REACHED

_SHOWN_FAILURES = 20
_SHOWN_OVERLAYS = 5


def build(
    *,
    out: str,
    manifest: Path | None = None,
    videos: Path | None = None,
    video_list: Path | None = None,
    list_unit: ListUnit = "s",
    preset: str = "",
    protocol: str = "",
    source: str = "",
    domain: str = "",
    split: Split = "train",
    license: str = "",
    case_from: str = "",
    view_from: str = "",
    include: str | list[str] = "",
    exclude: str | list[str] = "",
    frame_fps: Annotated[float, Range(0, HIGHEST_RATE)] = 0.0,
    frames_from: str = "",
    ignore_columns: list[str] = [],  # noqa: B006 - only read; a tuple would not parse as a list
    public: bool = False,
    private: Path | None = None,
    work: Path | None = None,
    workers: Annotated[int, Range(0, 1024)] = 0,
    engine: EngineName = "local",
    address: str = "",
    part: str = "",
    remove_unlisted: bool = False,
    exclude_overlap_with: str = "",
    only_builder: bool = False,
    encode: EncodeSettings = EncodeSettings(),
    pack: PackSettings = PackSettings(),
    curate: CurateSettings = CurateSettings(),
) -> int:
    """Build shards from videos. To continue a killed build, run the same command again.

    The sources of the listed videos follow the list: new videos are encoded, and changed labels,
    splits, licenses or cases are written without encoding any video. Other sources stay.

    Exit status 0: every video is in the corpus. Exit status 3: some videos could not be used, a
    folder could not be searched, or the content of a file is unknown.

    Args:
        out: The corpus: a folder, or s3://bucket/prefix.
        manifest: CSV file, or JSON lines, that lists videos. Required columns: path, source,
            domain, case, split.
            Optional columns: patient, procedure, view, license, labels, mapping, public, fps,
            drop, mask.
        videos: Folder to search for videos, instead of a manifest. Needs --source and --domain.
            Videos are recognized by their content. Linked folders are searched too, hidden ones are
            not.
        video_list: List of videos without a header, instead of a manifest: a line is `path label`,
            or `path start end label` for a segment. Needs --source and --domain.
        list_unit: Unit of the segments of a list: s or frame.
        preset: With --videos: name of a published data set (`surgrec-shard check-source list` shows
            them), or a YAML file like theirs. It gives cases, labels, license and splits instead of
            the options below.
        protocol: With --preset: name of the split. Default: the first one of the preset.
        source: With --videos or --video_list: name of the source.
        domain: Likewise: laparoscopy, endoscopy, cataract, robotic, ...
        split: Likewise: the stored split.
        license: Likewise: terms of use, stored with every clip.
        case_from: Likewise: regular expression with one group, searched in each path; the
            group is the case.
        view_from: As case_from: the group is the view, such as left, and may be empty.
        include: With --videos: glob of the files to take, such as '**/*.mp4', or a list of globs,
            such as "['*.mp4', '*.avi']". Relative to the folder; one that matches a folder holds
            for all in it.
        exclude: With --videos: glob, or list of globs, of files not to take.
        frame_fps: With --videos, for folders of pictures, each of which is a video: rate of the
            picture numbers, per second. With --preset: for a set of pictures whose rate is not
            published.
        frames_from: With --frame_fps: regular expression, searched in the path of each picture,
            with the named groups frame (its number) and, as needed, case, view and video. Pictures
            whose other groups are equal are one video.
        ignore_columns: Columns of the manifest to skip. Other unknown columns are refused.
        public: Store case names unchanged. By default, pseudonyms made with a private key replace
            them.
        private: Folder for the key, the names behind the pseudonyms, and reports with paths. Never
            share it. Default: CORPUS.private beside a local corpus,
            ~/.local/share/surgrec/BUCKET%2FPREFIX.private for an object store.
        work: Folder for unfinished work, preferably on a fast local disk. Default: inside
            --private.
        workers: Videos encoded at once; 0: one per core. A long video has several decoders where a
            worker is idle; the clips are the same.
        engine: local: this machine. ray: a Ray cluster, whose machines share the folders of
            the videos, of the corpus and --work under the same paths (docs/many-machines.md).
        address: With --engine ray: HOST:PORT of the cluster. Default: that of RAY_ADDRESS, or else
            Ray is started on this machine.
        part: I/N: encode and pack only the I-th of N parts, and publish nothing. Parts may run at
            once on machines that share the folders. The same command without --part publishes.
        remove_unlisted: Remove videos that the corpus has in a listed source, but that are not
            listed themselves. No run may read the source meanwhile.
        exclude_overlap_with: A corpus for evaluation. Videos that show the same as one of its
            videos are left out, with the other videos of their cases.
        only_builder: No other build writes to the corpus meanwhile; needed for stores without
            conditional writes.
        encode: How clips are stored.
        pack: How clips are packed into shards.
        curate: Which stretches of a video are not stored.

    Example:
        surgrec-shard build --videos recordings --source clinic --domain laparoscopy --out corpus
        surgrec-shard build --manifest videos.csv --out s3://hospital/corpus --workers 16
    """
    chosen_part = parse_part(part) if part else None
    if chosen_part and engine != "local":
        raise ConfigError(
            f"--part {part} and --engine {engine} are two ways to use many machines; leave out one"
        )
    store = open_store(out)
    workers = workers or len(os.sched_getaffinity(0))
    private = private or default_private_folder(store)
    work = work or private / "work"
    _check_folders(store, videos, private, work)
    _require_key(store, private)

    # The private folder keeps the paths of videos, which other folders must understand, too.
    chosen = Inputs(
        manifest=manifest and manifest.absolute(),
        videos=videos and videos.absolute(),
        video_list=video_list and video_list.absolute(),
        list_unit=list_unit,
        preset=preset,
        protocol=protocol,
        metadata=SharedMetadata(
            source=source,
            domain=domain,
            split=split,
            license=license,
            case_from=case_from,
            view_from=view_from,
        ),
        include=_globs(include),
        exclude=_globs(exclude),
        frame_fps=frame_fps,
        frames_from=frames_from,
        ignore_columns=ignore_columns,
    ).read(lambda line: say(escape(line)))
    key = PrivateFolder(private)
    config = BuildConfig(
        videos=chosen.videos,
        left_out=chosen.left_out,
        noted=chosen.noted,
        split_rule=chosen.split_rule,
        store=store,
        private=key,
        work=work,
        encode=encode,
        pack=pack,
        curate=curate,
        public=public,
        workers=workers,
        remove_unlisted=remove_unlisted,
        exclude_overlap_with=exclude_overlap_with,
        is_alone=only_builder,
    )
    with (
        open_engine(
            engine, address, workers=workers, work=key.folder_in(work), encode=encode
        ) as running,
        stage_progress() as progress,
    ):
        show = FootageProgress(progress)
        ready = Build(replace(config, engine=running, footage=show), progress)
        if chosen_part:
            return _print_part(ready.run_part(chosen_part), part)
        result = ready.run()
    _print_result(result, store, is_masked=curate.overlays == "mask")
    return SOME_FAILED if result.failures or result.unread_ends else 0


def _print_part(result: PartResult, part: str) -> int:
    """Print the result of a part. Return the exit status."""
    _print_failures(result.failures)
    say(
        f"part {part}: {result.groups} of {counted(result.all_groups, 'group')} packed; when all "
        "parts are done, run the same command without --part"
    )
    return SOME_FAILED if result.failures else 0


def _require_key(store: Store, private: Path) -> None:
    """Refuse a folder without a key for a corpus that has one, before a new key is made."""
    if (private / "key").exists():
        return
    corpus = CorpusFile.read(store)
    if corpus and corpus.key:
        raise ConfigError(
            f"{store.address} was built with the key {corpus.key}, and {private} has no key; give "
            "the folder of that key with --private, or build into another --out"
        )


def _globs(globs: str | list[str]) -> list[str]:
    """Return one glob or a list of globs as a list."""
    return globs if isinstance(globs, list) else [globs] if globs else []


def _check_folders(store: Store, videos: Path | None, private: Path, work: Path) -> None:
    """Refuse private files inside the corpus, and unfinished clips among the videos to build."""
    for flag, folder in (("--private", private), ("--work", work)):
        if store.is_local and folder.resolve().is_relative_to(Path(store.address).resolve()):
            raise ConfigError(
                f"{flag} {folder} lies inside the corpus {store.address}; give a folder outside it"
            )
        if videos is not None and folder.resolve().is_relative_to(videos.resolve()):
            raise ConfigError(
                f"{flag} {folder} lies inside --videos {videos}; give a folder outside it"
            )


def _print_overlays(overlays: OverlaySummary, *, is_masked: bool) -> None:
    """Print how many videos show text or logos that stay, and the boxes of most videos."""
    if overlays.unclear:
        videos = counted(overlays.unclear, "video")
        say(escape(f"static overlays cannot be detected in {videos}: {overlays.report} says why"))

    if not overlays.shared:
        return
    advice = (
        "they are painted black"
        if is_masked
        else "paint them black with --curate.overlays mask, or boxes of them with --curate.mask"
    )

    videos = counted(overlays.num_videos, "video")
    say(
        escape(
            f"text or logos stay in {videos}: {overlays.report} lists them, with pictures; {advice}"
        )
    )

    for overlay in overlays.shared[:_SHOWN_OVERLAYS]:
        width, height = overlay.size
        view = f" {overlay.view}" if overlay.view else ""
        say(
            escape(
                f"  {overlay.box} of {width} x {height} pixels in "
                f"{counted(len(overlay.videos), 'video')} of {overlay.source}{view}"
            )
        )
    if len(overlays.shared) > _SHOWN_OVERLAYS:
        say(f"  {len(overlays.shared) - _SHOWN_OVERLAYS} more")


def _print_removed(result: BuildResult) -> None:
    """Print the videos that --remove_unlisted removed, and what it does not reach."""
    for source, names in result.removed.videos.items():
        words = ", ".join(names) or "none stored"
        say(escape(f"{source}: removed {counted(len(names), 'video')}: {words}"))
    for sentence in result.other_corpora:
        say(escape(sentence))
    if result.removed.videos:
        say(NOT_REACHED.strip())


def _print_failures(failures: Sequence[VideoFailure]) -> None:
    for failure in failures[:_SHOWN_FAILURES]:
        warn(escape(f"{failure.path}: {failure.detail}"), word="skipped")
    if len(failures) > _SHOWN_FAILURES:
        warn(f"{len(failures) - _SHOWN_FAILURES} more", word="skipped")


def _print_result(result: BuildResult, store: Store, *, is_masked: bool) -> None:
    _print_failures(result.failures)
    for path, note in list(result.unread_ends.items())[:_SHOWN_FAILURES]:
        warn(escape(f"{path}: {note}"), word="without its end")
    if len(result.unread_ends) > _SHOWN_FAILURES:
        warn(f"{len(result.unread_ends) - _SHOWN_FAILURES} more", word="without its end")

    if result.twins:
        say(
            f"{result.twins} videos may be copies of each other, by name and length; the report "
            "names them"
        )
    _print_removed(result)
    if result.overlays:
        _print_overlays(result.overlays, is_masked=is_masked)
    for name, entry in result.corpus.sources.items():
        say(
            f"{name}: {counted(entry.samples, 'clip')} of {counted(entry.videos, 'video')}, "
            f"{entry.hours:.2f} h, {entry.bytes / 1e6:.1f} MB in "
            f"{counted(len(entry.shards), 'shard')}"
        )
    work = result.work
    several = f" ({work.videos_by_several} by several decoders)" if work.videos_by_several else ""
    say(
        f"{counted(work.videos_encoded, 'video')} encoded{several}, "
        f"{counted(work.clips_reused, 'stored clip')} reused, "
        f"{counted(work.groups_packed, 'group')} packed"
    )
    say(escape(f"corpus: {store.address}\nprivate report on every video: {result.report}"))
