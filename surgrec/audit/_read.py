"""Read the rows of a split from its files: lists, tables and JSON."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.audit._clips import PARTS, Clip, parse_time
from surgrec.audit._columns import Columns, chosen_columns, header_of
from surgrec.errors import ConfigError, ManifestError, cut, shown
from surgrec.json_files import decode_json
from surgrec.regular_files import read_regular
from surgrec.table_files import read_table_rows, read_text
from surgrec.video_lists import read_video_list

Tell = Callable[[str], None]

_MOST_ROWS = 5_000_000
_MOST_CHARACTERS = 4096
"""Longest name of a clip."""
_SUFFIXES = frozenset({"", ".csv", ".tsv", ".txt", ".list", ".json", ".jsonl"})
_SPELLINGS = {
    **{part: part for part in PARTS},
    "training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test",
}  # fmt: skip
_NAMES_FILES = ("label_map.json", "label_mapping.json")


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The content of the files of a split."""

    clips: list[Clip]
    label_names: dict[str, str]
    digests: dict[str, str]


def read_split_files(
    paths: Sequence[str], columns: Columns = Columns(), tell: Tell = lambda line: None
) -> SplitFiles:
    """Read the rows of a split.

    Args:
        paths: A folder with files for train, val and test; or such files, as `FILE` or
            `PART=FILE`; or one file that names the part of each row.
        columns: Names of columns.
        tell: Called with a sentence about each file that is not UTF-8.

    Raises:
        ConfigError: No file says which part its rows belong to.
        ManifestError: A file cannot be read, or a row is malformed.
    """
    names: dict[str, str] = {}
    files = [_part_and_file(path) for path in paths]
    if len(files) == 1 and files[0][1].is_dir():
        folder = files[0][1]
        names = _label_names([folder / name for name in _NAMES_FILES], tell)
        files = _files_of(folder)

    clips: list[Clip] = []
    for part, path in files:
        for clip in _rows(path, part, columns, tell):
            if len(clips) == _MOST_ROWS:
                raise ManifestError(
                    f"{path} brings the split to more than {_MOST_ROWS:,} rows; audit a part of it"
                )
            if len(clip.path) > _MOST_CHARACTERS:
                raise ManifestError(
                    f"{path}: the name {cut(clip.path)!r} has {len(clip.path)} characters; give "
                    f"at most {_MOST_CHARACTERS}"
                )
            clips.append(clip)
    if not clips:
        raise ManifestError(f"{', '.join(map(str, paths))} has no rows; add clips")
    digests = {str(path): _digest(path) for _, path in files}
    return SplitFiles(clips=clips, label_names=names, digests=digests)


def _part_and_file(text: str) -> tuple[str, Path]:
    """Return the part and the path of `PART=FILE` or `FILE`; the part is empty if unknown."""
    word, equals, rest = text.partition("=")
    if equals and word.lower() in _SPELLINGS and not Path(text).exists():
        return _SPELLINGS[word.lower()], Path(rest)
    return _part_of(Path(text).name), Path(text)


def _part_of(name: str) -> str:
    """Return the part that a file name names; empty if it names none or several."""
    words = re.split("[^a-z]+", name.lower())
    parts = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
    return parts.pop() if len(parts) == 1 else ""


def _files_of(folder: Path) -> list[tuple[str, Path]]:
    """Return the files of a folder whose names name a part."""
    files = [
        (part, path)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _SUFFIXES and (part := _part_of(path.name)) and path.is_file()
    ]
    if not files:
        raise ConfigError(
            f"{folder} has no file with train, val or test in its name; give files as PART=FILE"
        )
    return files


def _digest(path: Path) -> str:
    return hashlib.sha256(read_regular(path, 1 << 30)).hexdigest()


def _label_names(paths: Sequence[Path], tell: Tell) -> dict[str, str]:
    """Return the names of labels from the first JSON file that exists.

    It has `name: label` or `label: name`, or the latter as `index_to_label`.
    """
    path = next(filter(Path.exists, paths), None)
    if path is None:
        return {}
    tree = _json(path, read_text(path, tell))
    if isinstance(tree, dict):
        tree = tree.get("index_to_label", tree)
    if not isinstance(tree, dict) or not all(isinstance(v, (str, int)) for v in tree.values()):
        raise ManifestError(f"{path} is not a mapping of names to labels; correct or remove it")
    if all(isinstance(value, int) for value in tree.values()):
        return {str(value): name for name, value in tree.items()}
    return {name: str(value) for name, value in tree.items()}


def _rows(path: Path, part: str, columns: Columns, tell: Tell) -> Iterator[Clip]:
    """Yield the rows of a file of any of the known forms."""
    text = read_text(path, tell)

    # The suffix, or else the first line, tells the form.
    first = next((line for line in text.split("\n") if line.strip()), "")
    if path.suffix.lower() == ".json":
        yield from _json_rows(path, _json(path, text), part, columns)
        return
    header = header_of(first, columns)
    del text
    if header or first.startswith("{"):
        yield from _table_rows(path, header, part, columns, tell)
        return

    # A list without a header: one name per line, or names with labels or times.
    if columns != Columns():
        raise ConfigError(
            f"{path} has no header with a column for the name of a clip, but --columns is given; "
            "name this column with --columns.path, or leave --columns out"
        )
    if not re.search(r"[\s,;]", first.strip()):
        for line in read_text(path, tell).split("\n"):
            if line.strip():
                yield _clip(str(path), part, {"path": line.strip()})
    else:
        for video in read_video_list(path, tell):
            for place, label in video.labels:
                yield _clip(place, part, {"path": video.path, "label": label})
            for place, segment in video.segments:
                yield _clip(place, part, {"path": video.path, **segment})


def _table_rows(
    path: Path, header: Sequence[str], part: str, columns: Columns, tell: Tell
) -> Iterator[Clip]:
    if not header:  # JSON lines: the first object names the columns
        text = read_text(path, tell)
        first = next(line for line in text.split("\n") if line.strip())
        header = list(_json(path, first))
        del text
    chosen = chosen_columns(str(path), header, columns)
    used = list(chosen.values())
    ignored = [name for name in header if name not in used]
    rows = read_table_rows(path, required=used, ignored=ignored, tell=tell)
    for number, row in rows:
        values = {key: row[column] for key, column in chosen.items()}
        yield _clip(f"{path}, line {number}", part, values)


def _json(path: Path, text: str) -> Any:
    is_list = text.lstrip().startswith("[")
    remedy = "give a list of rows, or a mapping of train, val and test to lists"
    kind: type = list if is_list else dict
    return decode_json(text, kind, str(path), error=ManifestError, remedy=remedy)


def _json_rows(path: Path, tree: Any, part: str, columns: Columns) -> Iterator[Clip]:
    """Yield rows of a list, or of a mapping of parts to lists."""
    if isinstance(tree, list):
        yield from _json_items(str(path), tree, part, columns)
        return
    unknown = [key for key in tree if key.lower() not in _SPELLINGS]
    if unknown:
        raise ManifestError(
            f"{path} has the unknown key {cut(unknown[0])!r}; use train, val and test, or a list"
        )
    for key, items in tree.items():
        if not isinstance(items, list):
            raise ManifestError(f"{path}: {key} is {shown(items)}; give a list of rows")
        yield from _json_items(f"{path}, {key}", items, _SPELLINGS[key.lower()], columns)


def _json_items(place: str, items: list[Any], part: str, columns: Columns) -> Iterator[Clip]:
    for number, item in enumerate(items, 1):
        here = f"{place}, row {number}"

        if columns != Columns() and isinstance(item, (str, list)):
            raise ConfigError(
                f"{here} is {shown(item)}, but --columns is given; give an object, or leave "
                "--columns out"
            )

        if isinstance(item, str):
            yield _clip(here, part, {"path": item})
        elif isinstance(item, list) and len(item) == 2:
            yield _clip(here, part, dict(zip(("path", "label"), map(_cell, item), strict=True)))
        elif isinstance(item, dict):
            chosen = chosen_columns(here, list(item), columns)
            yield _clip(here, part, {key: _cell(item[name]) for key, name in chosen.items()})
        else:
            raise ManifestError(
                f"{here} is {shown(item)}; give a name, a pair of name and label, or an object"
            )


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)


def _clip(place: str, part: str, values: Mapping[str, str]) -> Clip:
    """Return a row as a clip, with its checked part and time."""
    # The row names its part, or else it has that of its file.
    word = values.get("part", "").strip().lower()
    if word:
        if word not in _SPELLINGS:
            raise ManifestError(
                f"{place}: the part {cut(word)!r} is not known; use train, val, test"
            )
        part = _SPELLINGS[word]
    if not part:
        raise ConfigError(
            f"{place} does not say its part; give files as PART=FILE, or a column split"
        )

    path = values["path"]
    if not path:
        raise ManifestError(f"{place} has no name of a clip; add it, or remove the row")
    start, end = (parse_time(values.get(key, ""), f"{place}, {key}") for key in ("start", "end"))
    case = values.get("case", "")
    if start is not None and end is not None and end < start:
        raise ManifestError(f"{place} ends at {end:g}, before its start {start:g}; correct it")

    # With times, the path names the recording; without, the case does.
    return Clip(
        part=part,
        path=path,
        label=values.get("label", ""),
        case=case,
        patient=values.get("patient", ""),
        video=path if start is not None else case,
        start=start,
        end=end if end is not None else start,
    )
