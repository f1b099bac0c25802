"""Videos before sharding: from a manifest, or from a folder of video files."""

import difflib
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

from surgrec.annotations import PLAIN, LabelFiles, LabelMapping, Track, read_mapping
from surgrec.errors import ConfigError, ManifestError
from surgrec.recordings.picture_files import HIGHEST_RATE, LOWEST_RATE, PictureFiles
from surgrec.recordings.view import Box, parse_boxes
from surgrec.table_files import read_table_rows
from surgrec.user_patterns import UserPattern
from surgrec.video_folder import FoundVideos, printable_name
from surgrec.video_lists import ListedVideo, read_video_list

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
KNOWN_DOMAINS = ("laparoscopy", "endoscopy", "cataract", "robotic", "open", "microscopy", "other")
REQUIRED_COLUMNS = ("path", "source", "domain", "case", "split")
OPTIONAL_COLUMNS = (
    *(
        "patient",
        "procedure",
        "view",
        "license",
        "labels",
        "mapping",
        "public",
        "fps",
        "drop",
        "mask",
    ),
)
PLAIN_SUFFIXES = (".csv", ".tsv")
"""Suffixes of files of labels that need no mapping."""
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
ListUnit = Literal["s", "frame"]
_LISTED = Track(task="label", column="label")
_WHOLE = LabelMapping(grammar="folder", tracks=[_LISTED])
"""The mapping of a label that holds for a whole video."""
_DOMAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


CASE_BYTES = 1000
"""Longest name of a case in a corpus, in UTF-8."""
CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f" "\u2028\u2029]"
"""Regular expression of characters that no name of a case in a corpus has: it is one line."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video with its metadata."""

    path: Path
    """The file, or the folder of the pictures. It stays on the machine that builds the corpus."""
    source: str
    """The dataset that contains it."""
    domain: str
    """Clinical field: laparoscopy, endoscopy, cataract, robotic, ..."""
    case: str
    """Procedure or patient, as the hospital names it. Empty: each video is a separate case."""
    split: Split
    """Split in which it is stored. Streams draw `train` by default."""
    procedure: str = ""
    """Such as `cholecystectomy`."""
    view: str = ""
    """Such as `left`, for several videos of one case."""
    license: str = ""
    """Terms of use, stored with every clip."""
    labels: tuple[LabelFiles, ...] = ()
    """Annotation files of the video, with their mappings."""
    public: bool = False
    """Store names unchanged in the corpus; by default pseudonyms replace them."""
    patient: str = ""
    """Name of the patient, if several cases or sources may show the same one."""
    drop: Path | None = None
    """CSV file of stretches that are not stored."""
    mask: tuple[Box, ...] = ()
    """Boxes that are painted black."""
    pictures: PictureFiles | None = None
    """The pictures, if the video is given as such."""

    def __post_init__(self) -> None:
        if not SOURCE_NAME.fullmatch(self.source):
            raise ManifestError(
                f"{self.path}: source {self.source!r} is not a valid name; "
                "use letters, digits and '-', at most 40 characters"
            )

        if not _DOMAIN_NAME.fullmatch(self.domain):
            raise ManifestError(
                f"{self.path}: domain {self.domain!r} is not one lower-case word; use "
                f"{_domains()} or another such word"
            )
        nearest = difflib.get_close_matches(self.domain, KNOWN_DOMAINS, n=1, cutoff=0.75)
        if nearest and self.domain not in KNOWN_DOMAINS:
            raise ManifestError(
                f"{self.path}: domain {self.domain!r} looks like a misspelling; use {nearest[0]!r}"
            )

        stored = (self.patient or self.case) if self.public else ""
        if len(stored.encode()) > CASE_BYTES or re.search(CONTROL_CHARACTERS, stored):
            raise ManifestError(
                f"{self.path}: the public name of its case, {stored!r:.80}, is not one line of at "
                f"most {CASE_BYTES} bytes; use another name"
            )

        if self.split not in SPLITS:
            raise ManifestError(f"{self.path}: split is {self.split!r}; use {_splits()}")


def read_manifest(
    path: Path,
    *,
    ignore_columns: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> list[Video]:
    """Return the videos of a manifest, in the order of its rows.

    Args:
        path: A CSV file with a header, whose delimiter is `,`, `;` or a tab, or a file with a JSON
            object on each line. Paths in it are relative to its folder.
        ignore_columns: Columns to skip. All other unknown columns are refused.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file is missing or empty, a column is missing or unknown, or a row is
            invalid.

    Example:
        >>> [video.source for video in read_manifest(Path("videos.csv"))]
        ['cholec80', 'cholec80', 'cataract101']
    """
    if os.path.isdir(path):  # unlike Path.is_dir, False for a name that is too long
        raise ManifestError(
            f"{path} is a folder, not a manifest; for a folder of videos use --videos"
        )

    videos = []
    rows = read_table_rows(
        path,
        required=REQUIRED_COLUMNS,
        optional=OPTIONAL_COLUMNS,
        ignored=ignore_columns,
        tell=tell,
    )
    mapping_of = functools.cache(read_mapping)
    for line, row in rows:
        context = f"{path}, line {line}"
        if not row["path"]:
            raise ManifestError(
                f"{context}: the path is empty; enter a video file or remove the row"
            )
        try:
            videos.append(_video(path.parent, row, mapping_of))
        except (ManifestError, ConfigError) as error:
            raise ManifestError(f"{context}: {error}") from None

    if not videos:
        raise ManifestError(f"{path} lists no videos below its header; add a row for each video")
    _check_sources(path, videos)
    return videos


@dataclass(frozen=True, kw_only=True)
class SharedMetadata:
    """Metadata of all videos of a folder or of a list."""

    source: str
    domain: str
    split: Split = "train"
    license: str = ""
    case_from: str = ""
    """A regular expression with one group, searched in the path of each video; the group is the
    case. Empty: each video is a separate case."""
    view_from: str = ""
    """As `case_from`; the group is the view, which may be empty."""

    def of_videos(
        self, names: Sequence[str], of_pictures: Sequence[Mapping[str, str]] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield the fields of each video.

        Args:
            names: The paths of the videos.
            of_pictures: Named groups of the paths of videos that are given as pictures.

        Raises:
            ManifestError: An expression does not match a path.
        """
        cases = _groups(names, self.case_from, "case", of_pictures)
        views = _groups(names, self.view_from, "view", of_pictures)
        for case, view in zip(cases, views, strict=True):
            yield {
                "source": self.source,
                "domain": self.domain,
                "split": self.split,
                "license": self.license,
                "case": case,
                "view": view,
            }


def videos_of_folder(found: FoundVideos, metadata: SharedMetadata) -> list[Video]:
    """Return the videos that a search of a folder found, with their metadata.

    Args:
        found: The videos.
        metadata: Metadata of all of them. Expressions are searched in paths relative to the folder.

    Raises:
        ManifestError: An expression does not match a path.
    """
    names = [printable_name(path.relative_to(found.folder)) for path in found.paths]
    of_pictures = [found.names.get(path, {}) for path in found.paths]
    return [
        Video(path=path, pictures=found.pictures.get(path), **fields)
        for path, fields in zip(found.paths, metadata.of_videos(names, of_pictures), strict=True)
    ]


def videos_of_list(
    path: Path,
    metadata: SharedMetadata,
    *,
    unit: ListUnit = "s",
    tell: Callable[[str], None] = lambda line: None,
) -> list[Video]:
    """Return the videos of a list without a header, with their labels as the task `label`.

    Args:
        path: The list. Paths in it are relative to its folder.
        metadata: Metadata of all videos. Expressions are searched in paths as they are written.
        unit: Unit of the starts and ends of segments.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The list cannot be read, or an expression does not match a path.
    """
    listed = read_video_list(path, tell)
    names = [printable_name(Path(video.path)) for video in listed]
    segments = LabelMapping(
        grammar="segments", tracks=[_LISTED], start="start", end="end", unit=unit
    )

    return [
        Video(path=path.parent / video.path, labels=_labels_of(video, segments), **fields)
        for video, fields in zip(listed, metadata.of_videos(names), strict=True)
    ]


def _labels_of(video: ListedVideo, segments: LabelMapping) -> tuple[LabelFiles, ...]:
    """Return the labels of a video of a list."""
    whole = dict.fromkeys(value for _, value in video.labels)
    return (
        *(LabelFiles(mapping=_WHOLE, names={"label": value}) for value in whole),
        *([LabelFiles(mapping=segments, rows=tuple(video.segments))] if video.segments else []),
    )


def _video(folder: Path, row: dict[str, str], mapping_of: Callable[[Path], LabelMapping]) -> Video:
    split = row["split"]
    if split not in SPLITS:
        raise ManifestError(f"split is {split!r}; use {_splits()}")
    public = row.get("public", "").lower()
    if public not in ("", "true", "false"):
        raise ManifestError(f"public is {row['public']!r}; use true or false")

    labels, mapping = row.get("labels"), row.get("mapping")
    if mapping and not labels:
        raise ManifestError(f"mapping is {mapping!r}, but labels is empty; fill in both")
    if labels and not mapping and Path(labels).suffix.lower() not in PLAIN_SUFFIXES:
        raise ManifestError(
            f"{labels} has the suffix {Path(labels).suffix!r}, but a file of labels without a "
            f"mapping ends in {' or '.join(PLAIN_SUFFIXES)}; name a mapping in the column mapping"
        )

    return Video(
        path=folder / row["path"],
        source=row["source"],
        domain=row["domain"],
        case=row["case"],
        split=split,  # type: ignore[arg-type]  # narrowed by the check above
        procedure=row.get("procedure", ""),
        view=row.get("view", ""),
        license=row.get("license", ""),
        labels=(
            LabelFiles(
                paths=(folder / labels,),
                mapping=mapping_of(folder / mapping) if mapping else PLAIN,
            ),
        )
        if labels
        else (),
        public=public == "true",
        patient=row.get("patient", ""),
        drop=folder / row["drop"] if row.get("drop") else None,
        mask=parse_boxes(row.get("mask", ""), "mask"),
        pictures=PictureFiles(rate=_rate(row["fps"])) if row.get("fps") else None,
    )


def _rate(text: str) -> float:
    """Return a rate of pictures, 1/s: `25`, `29.97` or `30000/1001`."""
    try:
        rate = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = 0.0
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ManifestError(
            f"fps is {text!r:.40}; give the rate of a folder of pictures, a number from "
            f"{LOWEST_RATE:g} to {HIGHEST_RATE:g}, and leave it empty for a video file"
        )
    return rate


def _check_sources(path: Path, videos: Sequence[Video]) -> None:
    """Refuse a source with two domains, and sources that differ only in upper and lower case."""
    domains: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for video in videos:
        domain = domains.setdefault(video.source, video.domain)
        if domain != video.domain:
            raise ManifestError(
                f"{path}: source {video.source!r} has the domains {domain!r} and {video.domain!r}; "
                "a source has one domain, so split it in two"
            )

        spelling = spellings.setdefault(video.source.lower(), video.source)
        if spelling != video.source:
            raise ManifestError(
                f"{path}: sources {spelling!r} and {video.source!r} differ only in upper and lower "
                "case, and some file systems cannot hold both; rename one"
            )


def _groups(
    names: Sequence[str], expression: str, what: str, of_pictures: Sequence[Mapping[str, str]] = ()
) -> list[str]:
    """Return the case or the view that an expression finds in the path of each video.

    Args:
        names: The paths.
        expression: The expression. Empty: the group of the pictures, if there is one.
        what: `case` or `view`.
        of_pictures: The groups of videos that are given as pictures.
    """
    if not expression:
        return [groups.get(what, "") for groups in of_pictures] or [""] * len(names)
    if any(what in groups for groups in of_pictures):
        raise ManifestError(f"frames_from finds the {what} already; remove --{what}_from")

    pattern = UserPattern(expression, f"{what}_from")
    found = []
    for name, group in zip(names, pattern.search(names), strict=True):
        if group is None or (what == "case" and not group):
            optional = r", such as '(?:_(left|right))?\.mp4$' for files with and without a view"
            raise ManifestError(
                f"{what}_from {pattern.text!r} finds no {what} in {name}; change the expression"
                f"{optional if what == 'view' else ''}"
            )
        found.append(group)
    return found


def _domains() -> str:
    return ", ".join(KNOWN_DOMAINS)


def _splits() -> str:
    return f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
