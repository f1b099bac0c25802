"""CSV files with a header, read strictly: every problem is reported with its file and line."""

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from surgrec.errors import ManifestError
from surgrec.regular_files import read_regular

_MOST_COLUMNS = 1000
_MOST_BYTES = 1 << 30
"""Largest file: ten million rows."""


def read_csv_rows(
    path: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the values of each row, stripped of surrounding spaces.

    The delimiter is `,`, `;` or a tab: the one that occurs most often in the header.

    Args:
        path: A text file in UTF-8, with or without a byte order mark.
        required: Columns that the file must have.
        optional: Columns that it may have.
        ignored: Further columns to skip. All other columns are refused.

    Raises:
        ManifestError: The file cannot be read, a column is missing, unknown or repeated, or a row
            is malformed.
    """
    text = _read_text(path)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(
            f"{path}, line {line}: the file has NUL bytes, so it is damaged or no text; save it as "
            "a CSV file in UTF-8"
        )
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)

    # strict: a quote that is never closed would otherwise swallow the rows below it.
    reader = csv.DictReader(
        io.StringIO(text), delimiter=delimiter, restkey="", restval=None, strict=True
    )
    try:
        columns = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        _check_columns(path, columns, required, optional, ignored)

        for row in reader:
            if "" in row or None in row.values():
                found = sum(value is not None for name, value in row.items() if name)
                found += len(row.get("", ()))
                raise ManifestError(
                    f"{path}, line {reader.line_num}: the row has {found} cells, but the header "
                    f"has {len(columns)}; add or remove cells, or quote a cell that contains "
                    f"{delimiter!r}"
                )
            values = {name: value.strip() for name, value in row.items() if name not in ignored}
            yield reader.line_num, values
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.reader.line_num}: invalid CSV ({error}); "
            "look for a stray quote in this line or above"
        ) from None


def _read_text(path: Path) -> str:
    try:
        data = read_regular(path, _MOST_BYTES)
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist; check the path") from None
    except IsADirectoryError:
        raise ManifestError(f"{path} is a folder; give a CSV file") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path} is not UTF-8 text; save it as a CSV file in UTF-8") from None
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read ({error.strerror}); check its permissions and its disk"
        ) from None


def _check_columns(
    path: Path,
    columns: Sequence[str],
    required: Sequence[str],
    optional: Sequence[str],
    ignored: Sequence[str],
) -> None:
    if len(columns) > _MOST_COLUMNS:
        raise ManifestError(
            f"{path} has {len(columns)} columns in its header, more than {_MOST_COLUMNS}; remove "
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
            f"{path} has no column {', '.join(missing)} (its header is "
            f"{', '.join(columns) or 'empty'}); add it, as {', '.join(required)} are required"
        )
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ManifestError(
            f"{path} has the column {', '.join(repeated)} twice in its header; rename or remove one"
        )

    known = (*required, *optional)
    for column in columns:
        if column not in known and column not in ignored:
            nearest = difflib.get_close_matches(column, known, n=1)
            hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
            remedy = "skip it with --ignore_columns" if optional else "remove it"
            raise ManifestError(
                f"{path} has an unknown column {column!r}{hint}; rename it, or {remedy}"
            )
