"""Tables with named columns, as CSV or as JSON lines, read strictly.

Every problem is reported with its file and line.
"""

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from surgrec.errors import ManifestError, cut, reason
from surgrec.json_files import decode_json
from surgrec.regular_files import read_regular
from surgrec.text import marked_encoding

_MOST_COLUMNS = 1000
_MOST_BYTES = 1 << 30
"""Largest file: ten million rows."""
_WESTERN = "cp1252"
_NO_FILE_NAME = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half characters that Python does not use for the bytes of file names."""
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""First bytes of files of spreadsheet programs."""


def read_table_rows(
    path: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    ignored: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the values of each row, stripped of surrounding spaces.

    A file whose first character is `{` has a JSON object on each line. Any other one is CSV with a
    header; the delimiter is `,`, `;` or a tab: the one that occurs most often in the header.

    Args:
        path: A text file, see `read_text`.
        required: Columns that the file must have.
        optional: Columns that it may have.
        ignored: Further columns to skip. All other columns are refused.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file cannot be read, a column is missing, unknown or repeated, or a row
            is malformed.
    """
    text = read_text(path, tell)
    columns_of = _Columns(required=required, optional=optional, ignored=ignored)
    if text.lstrip().startswith("{"):
        yield from _json_rows(path, text, columns_of)
    else:
        yield from _csv_rows(path, text, columns_of)


def read_text(path: Path, tell: Callable[[str], None] = lambda line: None) -> str:
    """Return the text of a file, without its byte order mark.

    Its encoding is that of its byte order mark, else UTF-8. Text that is not valid as UTF-8 is read
    as cp1252, in which Western versions of Windows write.

    Args:
        path: The file.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file cannot be read, or is no text.
    """
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist; check the path") from None
    except IsADirectoryError:
        raise ManifestError(f"{path} is a folder; give a text file") from None
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read ({error.strerror}); check its permissions and its disk"
        ) from None
    if data.startswith(_SPREADSHEETS):
        raise ManifestError(f"{path} is a spreadsheet or a zip archive; save its table as CSV")

    encoding = marked_encoding(data)
    if not encoding:
        encoding = "utf-8" if _is_utf8(data) else _WESTERN
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        raise ManifestError(
            f"{path} is not text ({reason(error):.100}); save it as a CSV file in UTF-8"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(
            f"{path}, line {line}: the file has NUL bytes, so it is damaged or not text; save it "
            "as a CSV file in UTF-8"
        )
    if not encoding.startswith("utf-8"):
        guess = "; if names look wrong, save it in UTF-8" if encoding == _WESTERN else ""
        tell(f"{path} is not UTF-8: it is read as {encoding}{guess}")
    # All ends of lines become one.
    return io.StringIO(text, newline=None).read() if "\r" in text else text


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _Columns:
    """The columns that a table must and may have."""

    def __init__(
        self, *, required: Sequence[str], optional: Sequence[str], ignored: Sequence[str]
    ) -> None:
        self._required, self._optional, self.ignored = required, optional, ignored

    def check(self, place: str, columns: Sequence[str], what: str) -> None:
        """Refuse columns that are missing, repeated or unknown."""
        _check_columns(place, what, columns, self._required, self._optional, self.ignored)


def _csv_rows(path: Path, text: str, expected: _Columns) -> Iterator[tuple[int, dict[str, str]]]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)

    # strict: a quote that is never closed would otherwise swallow the rows below it.
    reader = csv.DictReader(
        io.StringIO(text), delimiter=delimiter, restkey="", restval=None, strict=True
    )
    try:
        columns = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        expected.check(str(path), columns, "header")

        for row in reader:
            if "" in row or None in row.values():
                found = sum(value is not None for name, value in row.items() if name)
                found += len(row.get("", ()))
                raise ManifestError(
                    f"{path}, line {reader.line_num}: the row has {found} cells, but the header "
                    f"has {len(columns)}; add or remove cells, or quote a cell that contains "
                    f"{delimiter!r}"
                )
            yield (
                reader.line_num,
                {
                    name: value.strip()
                    for name, value in row.items()
                    if name not in expected.ignored
                },
            )
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.reader.line_num}: invalid CSV ({error}); "
            "look for a stray quote in this line or above"
        ) from None


def _json_rows(path: Path, text: str, expected: _Columns) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue

        place = f"{path}, line {number}"
        row: dict[str, Any] = decode_json(
            line,
            dict,
            place,
            error=ManifestError,
            remedy="write one JSON object on each line",
            file_names=True,
        )

        expected.check(place, list(row), "object")
        yield (
            number,
            {
                name: _cell(value, f"{place}: {name}")
                for name, value in row.items()
                if name not in expected.ignored
            },
        )


def _cell(value: object, place: str) -> str:
    """Return a value of JSON as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value or _NO_FILE_NAME.search(value):
            raise ManifestError(f"{place} has a character that no name can have; remove it")
        return value.strip()
    if isinstance(value, (int, float)):
        return str(value)
    raise ManifestError(f"{place} is a list or an object; write a text")


def _check_columns(
    path: str,
    what: str,
    columns: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str],
    ignored: Sequence[str],
) -> None:
    if len(columns) > _MOST_COLUMNS:
        raise ManifestError(
            f"{path} has {len(columns)} columns in its {what}, more than {_MOST_COLUMNS}; remove "
            "the others"
        )
    not_ignorable = [column for column in ignored if column in required]
    if not_ignorable:
        raise ManifestError(
            f"the column {', '.join(not_ignorable)} is required; remove it from --ignore_columns"
        )
    missing = [column for column in required if column not in columns]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)} (its {what} is "
            f"{cut(', '.join(columns), 200) or 'empty'}); add it, as {', '.join(required)} are "
            "required"
        )
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ManifestError(
            f"{path} has the column {', '.join(repeated)} twice in its {what}; rename or remove one"
        )

    known = (*required, *optional)
    for column in columns:
        if column not in known and column not in ignored:
            nearest = difflib.get_close_matches(column, known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            remedy = "skip it with --ignore_columns" if optional else "remove it"
            raise ManifestError(
                f"{path} has an unknown column {column!r:.80}{hint}; rename it, or {remedy}"
            )
