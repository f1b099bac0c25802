"""Which videos a build takes: from a manifest, a folder, a list, or a published data set."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from surgrec.errors import ConfigError
from surgrec.file_globs import select_files
from surgrec.manifest import (
    ListUnit,
    SharedMetadata,
    Video,
    read_manifest,
    videos_of_folder,
    videos_of_list,
)
from surgrec.picture_folder import search_pictures
from surgrec.recordings.picture_files import LOWEST_RATE
from surgrec.text import counted
from surgrec.video_folder import LeftOut, files_below, search_files
from surgrec_shard.found_source import videos_of_preset
from surgrec_shard.preset_splits import name_of_split
from surgrec_shard.presets import read_preset

_METADATA = ("source", "domain", "split", "license", "case_from", "view_from")
_FILES = ("include", "exclude", "frame_fps", "frames_from")


@dataclass(frozen=True, kw_only=True)
class ChosenVideos:
    """The videos of a build, and the files left out."""

    videos: Sequence[Video]
    left_out: Sequence[LeftOut] = ()
    noted: Sequence[LeftOut] = ()
    """Files that only the report names: those that the user excluded, and optional ones that are
    not there."""
    split_rule: str = ""
    """Published split that the videos follow, with its status; empty: none is known."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The options of `surgrec-shard build` that choose the videos. The command describes them."""

    manifest: Path | None
    videos: Path | None
    video_list: Path | None
    list_unit: ListUnit
    preset: str
    protocol: str
    metadata: SharedMetadata
    include: list[str]
    exclude: list[str]
    frame_fps: float
    frames_from: str
    ignore_columns: list[str]

    def read(self, tell: Callable[[str], None]) -> ChosenVideos:
        """Return the videos with their metadata.

        Args:
            tell: Called with each sentence that the user should read.

        Raises:
            ConfigError: The options do not fit together.
            ManifestError: A file or folder cannot be used.
        """
        if self.protocol and not self.preset:
            raise ConfigError("--protocol names a split of a preset; give --preset NAME as well")
        if self.list_unit != "s" and self.video_list is None:
            raise ConfigError("--list_unit needs --video_list; remove it")
        if self.preset:
            return self._of_preset(tell)

        given = [self.manifest, self.videos, self.video_list]
        if len(given) - given.count(None) != 1:
            raise ConfigError("give one of --manifest FILE, --videos FOLDER and --video_list FILE")
        if self.manifest is not None:
            self._require_unset((*_METADATA, *_FILES), "with --manifest, fill its columns instead")
            return ChosenVideos(
                videos=read_manifest(self.manifest, ignore_columns=self.ignore_columns, tell=tell)
            )

        place = "--videos" if self.videos is not None else "--video_list"
        if self.ignore_columns:
            raise ConfigError(f"--ignore_columns needs --manifest; {place} has no columns")
        if not self.metadata.source or not self.metadata.domain:
            raise ConfigError(f"{place} needs --source NAME and --domain NAME")
        return self._of_folder(tell) if self.videos is not None else self._of_list(tell)

    def _of_preset(self, tell: Callable[[str], None]) -> ChosenVideos:
        if self.videos is None or self.manifest is not None or self.video_list is not None:
            raise ConfigError("--preset needs --videos FOLDER; remove --manifest and --video_list")

        preset = read_preset(self.preset)
        files = tuple(name for name in _FILES if name != "frame_fps" or not preset.needs_rate)
        self._require_unset(
            (*_METADATA, *files, "ignore_columns"),
            "a preset gives cases, labels, splits and known rates itself",
        )
        self._require_rate()

        found = videos_of_preset(preset, self.videos, self.protocol, frame_fps=self.frame_fps)
        if found.absent:
            number = counted(
                len(found.absent), "optional annotation file is", "optional annotation files are"
            )
            tell(f"{number} not there (the first, {found.absent[0].path}); the report lists all")

        return ChosenVideos(
            videos=found.videos,
            left_out=found.left_out,
            noted=found.absent,
            split_rule=name_of_split(preset, self.protocol),
        )

    def _of_folder(self, tell: Callable[[str], None]) -> ChosenVideos:
        assert self.videos is not None
        if self.frames_from and not self.frame_fps:
            raise ConfigError("--frames_from needs --frame_fps, the rate of the pictures' numbers")
        self._require_rate()

        files = select_files(files_below(self.videos), self.include, self.exclude)
        if self.frame_fps:
            found = search_pictures(files, self.frame_fps, self.frames_from)
        else:
            found = search_files(files)
        for line in found.counts():
            tell(line)
        videos = videos_of_folder(found, self.metadata)
        left_out = [*found.left_out, *found.beside]
        return ChosenVideos(videos=videos, left_out=left_out, noted=list(found.rows()))

    def _of_list(self, tell: Callable[[str], None]) -> ChosenVideos:
        assert self.video_list is not None
        self._require_unset(_FILES, "only a folder of videos has them")

        videos = videos_of_list(self.video_list, self.metadata, unit=self.list_unit, tell=tell)
        return ChosenVideos(videos=videos)

    def _require_rate(self) -> None:
        if 0 < self.frame_fps < LOWEST_RATE:
            raise ConfigError(f"frame_fps is {self.frame_fps:g}; give {LOWEST_RATE:g} or more")

    def _require_unset(self, options: Sequence[str], why: str) -> None:
        """Refuse options that have no effect here."""
        values = {name: getattr(self, name, None) for name in options} | {
            name: value for name, value in asdict(self.metadata).items() if name in options
        }
        given = [
            name for name, value in values.items() if value and (name, value) != ("split", "train")
        ]
        if given:
            words = ", ".join(f"--{name}" for name in given)
            raise ConfigError(f"{words} cannot be used here: {why}; remove it")
