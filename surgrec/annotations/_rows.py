"""Rows of annotation files: the cells that a mapping needs, from tables, JSON, and paths."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.annotations._mapping import LabelFiles, LabelMapping, Track
from surgrec.annotations._text import read_text, split_rows
from surgrec.errors import ManifestError
from surgrec.json_files import decode_json
from surgrec.user_patterns import NamedPattern
from surgrec.video_folder import printable_name

Cell = str | tuple[str, ...]
MOST_ROWS = 2_000_000
_MOST_COLUMNS = 1000
_KEY, _VALUE = "key", "value"
"""Columns of the key of a JSON object's item, and of an item that is no object and no list."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cells of a row that labels need."""

    place: str
    """File and line."""
    cells: Mapping[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One opened annotation file, from which each track takes its rows."""

    path: Path
    text: str
    content: Any
    """Content of a JSON file."""
    names: Mapping[str, str]
    """Named groups of the video's path and of the file's path."""
    rows: tuple[tuple[str, Mapping[str, str]], ...] = ()
    """Place and cells of rows that are in no file."""


def open_sources(files: LabelFiles) -> Iterator[Source]:
    """Yield the annotation files of a video, read.

    Raises:
        ManifestError: A file cannot be read, or its path does not match the mapping.
    """
    mapping = files.mapping
    if files.rows:
        yield Source(path=Path(), text="", content=None, names=files.names, rows=files.rows)
        return

    is_folder = mapping.grammar == "folder"
    paths = [*(files.paths or ([Path()] if is_folder else []))][: 1 if is_folder else None]

    for path, groups in zip(paths, _groups(mapping, paths), strict=True):
        text = "" if is_folder else read_text(path, mapping.encoding)

        content = None
        if mapping.is_json:
            content = decode_json(
                text,
                list if text.lstrip().startswith("[") else dict,
                str(path),
                error=ManifestError,
                remedy="save it again, or give another grammar",
                any_number=True,
            )

        names = {**files.names, **groups}
        yield Source(path=path, text="" if mapping.is_json else text, content=content, names=names)


def rows_of(source: Source, mapping: LabelMapping, tracks: Sequence[Track]) -> Iterator[Row]:
    """Yield the rows of a file that tracks with the same rows need.

    Raises:
        ManifestError: A column is missing, or a row is malformed.
    """
    columns = list(dict.fromkeys(name for track in tracks for name in mapping.used_columns(track)))
    if source.rows:
        yield from (Row(place=place, cells=cells) for place, cells in source.rows)
        return
    if mapping.grammar == "folder":
        yield Row(place=str(source.path), cells=source.names)
        return
    if mapping.grammar == "json":
        rows = _json_rows(source, tracks[0].at or mapping.at, columns)
    elif mapping.grammar == "coco":
        rows = _coco_rows(source, mapping.at or "annotations", columns)
    else:
        rows = _table_rows(source, mapping, columns)

    for number, row in enumerate(rows, 1):
        if mapping.first_rows and number > mapping.first_rows:
            return
        if number > MOST_ROWS:
            raise ManifestError(f"{source.path} has more than {MOST_ROWS:,} rows; split it")
        yield row


def names_at(source: Source, path: str) -> dict[str, str]:
    """Return the names that a JSON file gives to values.

    They are an object, a list, or a list of objects with `id` and `name`, as categories of COCO.

    Raises:
        ManifestError: There are no names at this path.
    """
    node = _node(source, path)
    if isinstance(node, list) and all(isinstance(item, dict) for item in node):
        node = {str(item.get("id")): item.get("name") for item in node}
    elif isinstance(node, list):
        node = {str(number): name for number, name in enumerate(node)}
    if not isinstance(node, dict) or not all(isinstance(name, str) for name in node.values()):
        raise ManifestError(f"{source.path}: {path} has no names; correct `names_at`")
    return node


def _groups(mapping: LabelMapping, paths: Sequence[Path]) -> list[dict[str, str]]:
    """Return the named groups of the paths of annotation files."""
    if not mapping.path:
        return [{} for _ in paths]
    found = NamedPattern(mapping.path, "path").search([printable_name(path) for path in paths])
    for path, groups in zip(paths, found, strict=True):
        if groups is None:
            raise ManifestError(
                f"{path}: the path does not match {mapping.path!r}; correct `path` in the mapping"
            )
    return [groups for groups in found if groups is not None]


def _table_rows(source: Source, mapping: LabelMapping, columns: Sequence[str]) -> Iterator[Row]:
    path = source.path
    rows = split_rows(path, source.text, mapping.delimiter, len(mapping.columns))
    first = next(rows, None)
    if first is None:
        if mapping.header is False or mapping.columns:
            return
        raise ManifestError(
            f"{path} has no column {', '.join(columns)} (its header is empty); add its header"
        )

    header, is_row = _header(source, first[1], mapping, columns)
    indexes = {name: header.index(name) for name in columns if name in header}
    repeated = [name for name in indexes if header.count(name) > 1]
    if repeated:
        raise ManifestError(
            f"{path} has the column {', '.join(repeated)} twice in its header; rename or remove one"
        )

    def row(line: int, cells: list[str]) -> Row:
        if len(cells) != len(header):
            cells = _fitted(f"{path}, line {line}", cells, len(header))
        found = {name: cells[index] for name, index in indexes.items()}
        return Row(place=f"{path}, line {line}", cells={**source.names, **found})

    if is_row:
        yield row(*first)
    for line, cells in rows:
        if cells != first[1] or is_row:  # a header again, where files were joined
            yield row(line, cells)


def _header(
    source: Source, first: list[str], mapping: LabelMapping, columns: Sequence[str]
) -> tuple[list[str], bool]:
    """Return the names of the columns, and whether the first line is already a row."""
    if len(first) > _MOST_COLUMNS:
        raise ManifestError(
            f"{source.path} has {len(first)} columns, more than {_MOST_COLUMNS}; remove the others"
        )
    if mapping.header is False or (mapping.header is None and mapping.columns):
        names = mapping.columns or [str(number) for number in range(1, len(first) + 1)]
        if mapping.header is None and _names_columns(first, mapping):
            return _known(source, names, mapping, columns), False
        return _known(source, names, mapping, columns), True
    if mapping.columns:
        return _known(source, mapping.columns, mapping, columns), False

    # Names that differ in upper and lower case only are those of the mapping.
    spelled = {name.casefold(): name for name in columns}
    exact = set(columns) & set(first)
    header = [
        name if name in exact else _unless(spelled.get(name.casefold(), name), exact, name)
        for name in first
    ]
    return _known(source, header, mapping, columns), False


def _unless(name: str, taken: set[str], otherwise: str) -> str:
    return otherwise if name in taken else name


def _names_columns(cells: Sequence[str], mapping: LabelMapping) -> bool:
    """Return whether a line names columns: where rows have a number, it has none."""
    wanted = [name for name in mapping.time_columns if name in mapping.columns]
    if wanted:
        indexes = [mapping.columns.index(name) for name in wanted]
        return not any(
            index < len(cells) and any(character.isdigit() for character in cells[index])
            for index in indexes
        )
    return [cell.casefold() for cell in cells] == [name.casefold() for name in mapping.columns]


def _known(
    source: Source, header: list[str], mapping: LabelMapping, columns: Sequence[str]
) -> list[str]:
    """Return a header that has the needed columns. Columns of the path need not be in it."""
    missing = [name for name in columns if name not in header and name not in source.names]
    if missing:
        nearest = difflib.get_close_matches(missing[0], header, n=1)
        hint = f", is {nearest[0]!r} meant?" if nearest else ""
        raise ManifestError(
            f"{source.path} has no column {', '.join(missing)} (its columns are "
            f"{', '.join(header[:20]) or 'empty'}{hint}); correct the mapping or the file"
        )

    extra = [name for name in header if name not in columns]
    if extra and mapping.extra_columns == "refuse":
        nearest = difflib.get_close_matches(extra[0], columns, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise ManifestError(
            f"{source.path} has an unknown column {extra[0]!r}{hint}; rename it, or remove it"
        )

    return header


def _fitted(place: str, cells: list[str], width: int) -> list[str]:
    """Return cells without empty ones behind the last column, or refuse their number."""
    if len(cells) > width and not any(cells[width:]):
        return cells[:width]
    raise ManifestError(
        f"{place}: the row has {len(cells)} cells, but the header has {width}; "
        "add or remove cells, or quote a cell that contains the delimiter"
    )


def _json_rows(source: Source, path: str, columns: Sequence[str]) -> Iterator[Row]:
    node = _node(source, path)
    items: Iterator[tuple[str, Any]]
    if isinstance(node, list):
        items = ((str(number), item) for number, item in enumerate(node))
    elif isinstance(node, dict):
        items = ((key, part) for key, item in node.items() for part in _parts(item))
    else:
        raise ManifestError(f"{source.path}: {path or 'it'} is not a list; correct `at`")

    for key, item in items:
        place = f"{source.path}, {path}[{key}]"
        fields = dict(_named(item)) | {_KEY: key}
        yield _json_row(source, place, fields, columns)


def _coco_rows(source: Source, path: str, columns: Sequence[str]) -> Iterator[Row]:
    images = _node(source, "images")
    annotations = _node(source, path)
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise ManifestError(
            f"{source.path}: images or {path} is not a list, so the file is not COCO"
        )
    by_id = {image.get("id"): image for image in images if isinstance(image, dict)}
    for number, annotation in enumerate(annotations):
        place = f"{source.path}, {path}[{number}]"
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if not isinstance(image_id, int | str) or image_id not in by_id:
            raise ManifestError(f"{place}: its image {image_id!r} is not in images; add it")
        yield _json_row(source, place, {**by_id[image_id], **annotation}, columns)


def _json_row(source: Source, place: str, fields: Mapping[str, Any], columns: Sequence[str]) -> Row:
    cells: dict[str, Cell] = dict(source.names)
    for column in columns:
        found = _field(fields, column)
        if found is not None or column not in cells:
            cells[column] = _cell(found, place, column)
    return Row(place=place, cells=cells)


def _field(fields: Any, column: str) -> Any:
    """Return the field at a path such as `ds.0`; None if there is none."""
    if isinstance(fields, Mapping) and column in fields:
        return fields[column]
    value = fields
    for part in column.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 9:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def _cell(value: Any, place: str, column: str) -> Cell:
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return tuple(str(_cell(item, place, column)) for item in value)
    if isinstance(value, list | dict):
        raise ManifestError(f"{place}: {column} is neither text nor a number; correct the mapping")
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip()


def _node(source: Source, path: str) -> Any:
    """Return the value at a path of a JSON file."""
    node = source.content
    for part in path.split(".") if path else []:
        if not isinstance(node, dict) or part not in node:
            keys = ", ".join(map(str, node))[:200] if isinstance(node, dict) else "no object"
            raise ManifestError(
                f"{source.path} has no {path} (it has {keys}); correct `at` in the mapping"
            )
        node = node[part]
    return node


def _parts(item: Any) -> list[Any]:
    """Return the rows that belong to one key: several lists or objects, or one value."""
    is_several = isinstance(item, list) and all(isinstance(part, list | dict) for part in item)
    return item if is_several else [item]


def _named(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        yield from item.items()
    elif isinstance(item, list):
        yield from ((str(number), part) for number, part in enumerate(item))
    else:
        yield _VALUE, item
