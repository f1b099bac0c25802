"""`surgrec-shard build`: videos to shards."""

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

from surgrec.errors import ConfigError
from surgrec.file_globs import select_files
from surgrec.manifest import Split, Video, read_manifest, videos_of_folder
from surgrec.picture_folder import search_pictures
from surgrec.ranges import Range
from surgrec.recordings.picture_files import HIGHEST_RATE, LOWEST_RATE
from surgrec.storage import Store, open_store
from surgrec.terminal import SOME_FAILED, escape, say, stage_progress
from surgrec.video_folder import FoundVideos, LeftOut, files_below, search_files
from surgrec_shard.build import Build, BuildConfig, BuildResult
from surgrec_shard.curation import CurateSettings
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings
from surgrec_shard.presets import read_preset, videos_of_preset
from surgrec_shard.private import PrivateFolder, default_private_folder

_SHOWN_FAILURES = 20


def build(
    *,
    out: str,
    manifest: Path | None = None,
    videos: Path | None = None,
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
    remove_unlisted: bool = False,
    exclude_overlap_with: str = "",
    only_builder: bool = False,
    encode: EncodeSettings = EncodeSettings(),
    pack: PackSettings = PackSettings(),
    curate: CurateSettings = CurateSettings(),
) -> int:
    """Build shards from videos. To continue a killed build, run the same command again.

    The sources of the listed videos become what the list says: new videos are encoded, and changed
    labels, splits, licenses or cases are written without encoding any video. Other sources stay.

    Exit status 0: every video is in the corpus. Exit status 3: some videos could not be used, a
    folder could not be searched, or it is not known what a file is.

    Args:
        out: The corpus: a folder, or s3://bucket/prefix.
        manifest: CSV file that lists videos. Required columns: path, source, domain, case, split.
            Optional columns: patient, procedure, view, license, labels, mapping, public.
        videos: Folder to search for videos, instead of a manifest. Needs --source and --domain.
            Videos are recognized by their content. Linked folders are searched too, hidden ones are
            not.
        preset: With --videos: name of a published data set (`surgrec-shard check-source list` shows
            them), or a YAML file like theirs. It gives cases, labels, license and splits instead of
            the options below.
        protocol: With --preset: name of the split. Default: the first one of the preset.
        source: With --videos: name of the source.
        domain: With --videos: laparoscopy, endoscopy, cataract, robotic, ...
        split: With --videos: the stored split.
        license: With --videos: terms of use, stored with every clip.
        case_from: With --videos: regular expression with one group, searched in each path; the
            group is the case.
        view_from: As case_from: the group is the view, such as left, and may be empty.
        include: With --videos: glob of the files to take, such as '**/*.mp4', or a list of globs,
            such as "['*.mp4', '*.avi']". Relative to the folder; one that matches a folder holds
            for all in it.
        exclude: With --videos: glob, or list of globs, of files not to take.
        frame_fps: With --videos: the videos are given as pictures, those of each folder are one.
            How many numbers of pictures pass per second.
        frames_from: With --frame_fps: regular expression, searched in the path of each picture,
            with the named groups frame (its number) and, as needed, case, view and video. Pictures
            whose other groups are equal are one video.
        ignore_columns: Columns of the manifest to skip. Other unknown columns are refused.
        public: Store case names unchanged. By default, pseudonyms made with a private key replace
            them.
        private: Folder for the key, the names behind the pseudonyms, and reports with paths. Never
            share it. Default: CORPUS.private beside a local corpus,
            ~/.local/share/surgrec/BUCKET-PREFIX.private for an object store.
        work: Folder for unfinished work, preferably on a fast local disk. Default: inside
            --private.
        workers: Videos encoded at once; 0: one per core.
        remove_unlisted: Remove videos that the corpus has in a listed source, but that are not
            listed themselves. No run may read the source meanwhile.
        exclude_overlap_with: A corpus for evaluation. Videos that show the same as one of its
            videos are left out, with the other videos of their cases.
        only_builder: No other build writes to the corpus meanwhile; needed for stores without
            conditional writes.
        encode: How clips are stored.
        pack: How clips are packed into shards.
        curate: Which stretches of a video are not stored.
    """
    store = open_store(out)
    private = private or default_private_folder(store)
    work = work or private / "work"
    _check_folders(store, videos, private, work)

    of_folder = _FolderOptions(
        source=source,
        domain=domain,
        split=split,
        license=license,
        case_from=case_from,
        view_from=view_from,
        include=_listed(include),
        exclude=_listed(exclude),
        frame_fps=frame_fps,
        frames_from=frames_from,
    )
    excluded: list[LeftOut] = []
    if preset:
        if videos is None or manifest is not None or of_folder.given or ignore_columns:
            raise ConfigError(
                f"--preset needs --videos FOLDER, and gives what --manifest, {_FOLDER_OPTIONS} and "
                "--ignore_columns would give; remove these"
            )
        to_build, left_out = videos_of_preset(read_preset(preset), videos, protocol)
    elif protocol:
        raise ConfigError("--protocol names a split of a preset; give --preset NAME as well")
    elif manifest is not None:
        if videos is not None:
            raise ConfigError("give either --manifest FILE.csv or --videos FOLDER, not both")
        if of_folder.given:
            raise ConfigError(
                f"{', '.join(of_folder.given)} need --videos; with --manifest, fill its columns "
                "instead"
            )
        to_build, left_out = read_manifest(manifest, ignore_columns=ignore_columns), []
    else:
        if videos is None:
            raise ConfigError("give either --manifest FILE.csv or --videos FOLDER")
        if ignore_columns:
            raise ConfigError(
                "--ignore_columns needs --manifest; a folder of videos has no columns"
            )
        to_build, found = _search(videos, of_folder)
        left_out, excluded = found.left_out, found.excluded
    config = BuildConfig(
        videos=to_build,
        left_out=left_out,
        excluded=excluded,
        store=store,
        private=PrivateFolder(private),
        work=work,
        encode=encode,
        pack=pack,
        curate=curate,
        public=public,
        workers=workers or len(os.sched_getaffinity(0)),
        remove_unlisted=remove_unlisted,
        exclude_overlap_with=exclude_overlap_with,
        is_alone=only_builder,
    )
    with stage_progress() as progress:
        result = Build(config, progress).run()
    _print_result(result, store)
    return SOME_FAILED if result.failures or result.unread_ends else 0


@dataclass(frozen=True, kw_only=True)
class _FolderOptions:
    """The options of a folder of videos, as in `build`."""

    source: str
    domain: str
    split: Split
    license: str
    case_from: str
    view_from: str
    include: list[str]
    exclude: list[str]
    frame_fps: float
    frames_from: str

    @property
    def given(self) -> list[str]:
        """Return the options that differ from their defaults."""
        values = {name: value for name, value in asdict(self).items() if name != "split"}
        given = [name for name, value in values.items() if value]
        return [f"--{name}" for name in (*given, *(["split"] if self.split != "train" else []))]


_FOLDER_OPTIONS = ", ".join(f"--{each.name}" for each in fields(_FolderOptions))


def _listed(globs: str | list[str]) -> list[str]:
    return globs if isinstance(globs, list) else [globs] if globs else []


def _search(folder: Path, options: _FolderOptions) -> tuple[list[Video], FoundVideos]:
    """Return the videos of a folder with their metadata, and what was found there."""
    if not options.source or not options.domain:
        raise ConfigError("--videos needs --source NAME and --domain NAME")
    if options.frames_from and not options.frame_fps:
        raise ConfigError("--frames_from needs --frame_fps, the rate of the pictures' numbers")
    if 0 < options.frame_fps < LOWEST_RATE:
        raise ConfigError(f"frame_fps is {options.frame_fps:g}; give {LOWEST_RATE:g} or more")

    files = select_files(files_below(folder), options.include, options.exclude)
    if options.frame_fps:
        found = search_pictures(files, options.frame_fps, options.frames_from)
    else:
        found = search_files(files)
    for line in found.counts():
        say(escape(line))
    named = videos_of_folder(
        found,
        source=options.source,
        domain=options.domain,
        split=options.split,
        license=options.license,
        case_from=options.case_from,
        view_from=options.view_from,
    )
    return named, found


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


def _print_result(result: BuildResult, store: Store) -> None:
    for failure in result.failures[:_SHOWN_FAILURES]:
        say(f"[yellow]skipped[/yellow] {escape(f'{failure.path}: {failure.detail}')}")
    if len(result.failures) > _SHOWN_FAILURES:
        say(f"[yellow]skipped[/yellow] {len(result.failures) - _SHOWN_FAILURES} more videos")
    for path, note in list(result.unread_ends.items())[:_SHOWN_FAILURES]:
        say(f"[yellow]without its end[/yellow] {escape(f'{path}: {note}')}")
    if len(result.unread_ends) > _SHOWN_FAILURES:
        say(f"[yellow]without its end[/yellow] {len(result.unread_ends) - _SHOWN_FAILURES} more")

    for name, entry in result.corpus.sources.items():
        say(
            f"{name}: {entry.samples} clips of {entry.videos} videos, {entry.hours:.2f} h, "
            f"{entry.bytes / 1e6:.1f} MB in {len(entry.shards)} shards"
        )
    work = result.work
    say(
        f"{work.videos_encoded} videos encoded, {work.clips_reused} stored clips reused, "
        f"{work.groups_packed} groups packed"
    )
    say(escape(f"corpus: {store.address}\nprivate report on every video: {result.report}"))
