"""What exists before sharding: the videos of a hospital or a public set, with their source, domain, case and split."""

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from surgrec.errors import ManifestError

Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
KNOWN_DOMAINS = ("laparoscopy", "endoscopy", "cataract", "robotic", "open", "microscopy", "other")
VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".wmv",
        ".mpg",
        ".mpeg",
        ".mxf",
        ".ts",
        ".mts",
        ".m2ts",
        ".flv",
        ".vob",
        ".ogv",
        ".3gp",
    ]
)
REQUIRED_COLUMNS = ("path", "source", "domain", "case", "split")
OPTIONAL_COLUMNS = ("procedure", "view", "license", "labels", "public")
_LABEL_COLUMNS = ("task", "start_s", "end_s", "value")
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Label:
    """One labeled stretch of a video or of a clip."""

    task: str
    """What is labeled, such as `phase`."""
    start_s: float
    """Seconds from the start of the video (in a manifest) or of the clip (in a shard)."""
    end_s: float
    """End of the stretch, seconds, after `start_s`."""
    value: str
    """The label itself, such as `dissection`."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video file and what is known of it."""

    path: Path
    """Where the file is. Never leaves the machine that builds."""
    source: str
    """The dataset it belongs to."""
    domain: str
    """Kind of procedure: laparoscopy, endoscopy, cataract, robotic, ..."""
    case: str
    """The operation or patient, in the hospital's own words; empty when unknown, then each video is its own case."""
    split: Split
    """Where it is stored; streams draw `train` unless told otherwise."""
    procedure: str = ""
    """Such as `cholecystectomy`."""
    view: str = ""
    """Such as `left`, for several recordings of one case."""
    license: str = ""
    """Terms of use, kept with every clip."""
    labels: Path | None = None
    """A CSV of labeled stretches: task, start_s, end_s, value."""
    public: bool = False
    """Whether the case name may appear in the corpus as it is."""

    def __post_init__(self) -> None:
        if not SOURCE_NAME.fullmatch(self.source):
            raise ManifestError(
                f"{self.path}: source {self.source!r} is not a name of letters, digits and '-', at most 40; rename it"
            )
        if not _WORD.fullmatch(self.domain):
            raise ManifestError(
                f"{self.path}: domain {self.domain!r} is not one lower-case word; use {_domains()}"
            )
        near = difflib.get_close_matches(self.domain, KNOWN_DOMAINS, n=1, cutoff=0.75)
        if near and self.domain not in KNOWN_DOMAINS:
            raise ManifestError(
                f"{self.path}: domain {self.domain!r} looks like {near[0]!r} misspelt; use {_domains()}"
            )
        if self.split not in SPLITS:
            raise ManifestError(
                f"{self.path}: split {self.split!r} is not one of {', '.join(SPLITS)}"
            )


def read_manifest(path: Path, *, ignore_columns: Sequence[str] = ()) -> list[Video]:
    """The videos of a CSV with a header; paths in it are relative to its folder.

    The delimiter is the one of `,`, `;` and tab that the header uses.

    Args:
        path: The CSV file.
        ignore_columns: Columns to leave out knowingly. Any other unknown column is refused.

    Raises:
        ManifestError: The file is missing or empty, a column is missing or unknown, or a row cannot be used.
    """
    videos = []
    for line, row in _rows(path, REQUIRED_COLUMNS, OPTIONAL_COLUMNS, ignore_columns):
        where = f"{path}, line {line}"
        if not row["path"]:
            raise ManifestError(f"{where}: the path is empty; name a video file or remove the row")
        try:
            videos.append(_video(path.parent, row))
        except ManifestError as error:
            raise ManifestError(f"{where}: {error}") from None
    if not videos:
        raise ManifestError(f"{path}: no video is listed below the header")
    _check_sources(path, videos)
    return videos


def scan_folder(
    folder: Path,
    *,
    source: str,
    domain: str,
    split: Split = "train",
    license: str = "",
    case_from: str = "",
) -> list[Video]:
    """Every video file under a folder, in the order of their paths.

    Args:
        folder: Searched recursively; hidden files and folders are left out.
        source: Name of the source that all of them form.
        domain: Domain of all of them.
        split: Stored split of all of them.
        license: Terms of use of all of them.
        case_from: A regular expression with one group, searched in the path relative to the folder; the group is the
            case. Empty: each video is its own case.

    Raises:
        ManifestError: The folder is missing or holds no video, or the expression does not match a path.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder; give the folder that holds the videos")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise ManifestError(
            f"{folder} holds no video file (looked for {' '.join(sorted(VIDEO_SUFFIXES))}, recursively)"
        )
    pattern = _case_pattern(case_from)
    return [
        Video(
            path=path,
            source=source,
            domain=domain,
            case=_case_of(pattern, path.relative_to(folder)) if pattern else "",
            split=split,
            license=license,
        )
        for path in paths
    ]


def read_labels(path: Path) -> list[Label]:
    """The labeled stretches of one video, from a CSV with the columns task, start_s, end_s, value; sorted by time.

    Raises:
        ManifestError: The file is missing, or a row is not a stretch of time with a task and a value.
    """
    labels = []
    for line, row in _rows(path, _LABEL_COLUMNS, (), ()):
        where = f"{path}, line {line}"
        try:
            start_s, end_s = float(row["start_s"]), float(row["end_s"])
        except ValueError:
            raise ManifestError(
                f"{where}: {row['start_s']!r} to {row['end_s']!r} are not seconds"
            ) from None
        if not 0 <= start_s < end_s < float("inf"):
            raise ManifestError(
                f"{where}: {start_s} s to {end_s} s is not a stretch of time; end_s must be after start_s"
            )
        if not row["task"] or not row["value"]:
            raise ManifestError(
                f"{where}: task {row['task']!r} with value {row['value']!r}; neither may be empty"
            )
        labels.append(Label(task=row["task"], start_s=start_s, end_s=end_s, value=row["value"]))
    return sorted(labels, key=lambda label: (label.start_s, label.end_s, label.task, label.value))


def _video(folder: Path, row: dict[str, str]) -> Video:
    split = row["split"]
    if split not in SPLITS:
        raise ManifestError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    public = row.get("public", "").lower()
    if public not in ("", "true", "false"):
        raise ManifestError(f"public is {row['public']!r}; write true or false")
    return Video(
        path=folder / row["path"],
        source=row["source"],
        domain=row["domain"],
        case=row["case"],
        split=split,  # type: ignore[arg-type]  # narrowed by the check above, which mypy does not follow
        procedure=row.get("procedure", ""),
        view=row.get("view", ""),
        license=row.get("license", ""),
        labels=folder / row["labels"] if row.get("labels") else None,
        public=public == "true",
    )


def _rows(
    path: Path, required: Sequence[str], optional: Sequence[str], ignored: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ManifestError(
            f"{path} is a folder; a CSV file is needed (for a folder of videos use --videos)"
        ) from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path} is not a text file in UTF-8; save it as a CSV") from None
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read ({error.strerror}); check its permissions and its disk"
        ) from None
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    # strict: a quote that is never closed would otherwise swallow the rows below it
    reader = csv.DictReader(
        io.StringIO(text), delimiter=delimiter, restkey="", restval=None, strict=True
    )
    try:
        columns = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        _check_columns(path, columns, required, optional, ignored)
        for row in reader:
            if "" in row or None in row.values():
                raise ManifestError(
                    f"{path}, line {reader.line_num}: the row does not have {len(columns)} columns"
                )
            yield (
                reader.line_num,
                {key: value.strip() for key, value in row.items() if key not in ignored},
            )
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.reader.line_num}: not a row of a CSV ({error}); look for a stray quote there or above"
        ) from None


def _check_columns(
    path: Path,
    columns: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str],
    ignored: Sequence[str],
) -> None:
    known = (*required, *optional)
    needed = [column for column in ignored if column in required]
    if needed:
        raise ManifestError(
            f"the column {', '.join(needed)} cannot be left out; take it from --ignore_columns"
        )
    missing = [column for column in required if column not in columns]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}; its header is {', '.join(columns) or 'empty'}, "
            f"and {', '.join(required)} are needed"
        )
    if len(set(columns)) < len(columns):
        raise ManifestError(f"{path} names a column twice: {', '.join(columns)}")
    for column in columns:
        if column not in known and column not in ignored:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ManifestError(
                f"{path} has the column {column!r}, which means nothing here: {hint}"
                f"rename it, or {'leave it out knowingly with --ignore_columns' if optional else 'remove it'}"
            )


def _check_sources(path: Path, videos: Sequence[Video]) -> None:
    domains: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for video in videos:
        if domains.setdefault(video.source, video.domain) != video.domain:
            raise ManifestError(
                f"{path}: source {video.source!r} has the domains {domains[video.source]!r} and {video.domain!r}; "
                "a source has one domain, so split it in two"
            )
        if spellings.setdefault(video.source.lower(), video.source) != video.source:
            raise ManifestError(
                f"{path}: sources {spellings[video.source.lower()]!r} and {video.source!r} differ only in case; "
                "some file systems cannot hold both"
            )


def _case_pattern(case_from: str) -> re.Pattern[str] | None:
    if not case_from:
        return None
    try:
        pattern = re.compile(case_from)
    except re.error as error:
        raise ManifestError(
            f"case_from {case_from!r} is not a regular expression: {error}"
        ) from None
    if pattern.groups != 1:
        raise ManifestError(
            f"case_from {case_from!r} has {pattern.groups} groups; it needs exactly one, the case"
        )
    return pattern


def _case_of(pattern: re.Pattern[str], path: Path) -> str:
    match = pattern.search(path.as_posix())
    if not match or not match.group(1):
        raise ManifestError(
            f"case_from {pattern.pattern!r} finds no case in {path}; widen the expression"
        )
    return match.group(1)


def _domains() -> str:
    return ", ".join(KNOWN_DOMAINS)
