"""The text of an annotation file, and its delimiter."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from surgrec.errors import ManifestError, reason
from surgrec.regular_files import read_regular
from surgrec.text import marked_encoding

_MOST_BYTES = 1 << 27
_BINARY = (
    (b"PK\x03\x04", "is a spreadsheet or a zip archive", "save its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old spreadsheet", "save its table as CSV"),
    (b"\x80\x02", "is a pickle, which is never opened because it can run code", "convert it"),
    (b"\x80\x03", "is a pickle, which is never opened because it can run code", "convert it"),
    (b"\x80\x04", "is a pickle, which is never opened because it can run code", "convert it"),
    (b"\x80\x05", "is a pickle, which is never opened because it can run code", "convert it"),
)
_DELIMITERS = "\t;,|"
_LINES_SEEN = 20


def read_text(path: Path, encoding: str = "") -> str:
    """Return the text of a file, without its byte order mark.

    Args:
        path: The file.
        encoding: Its encoding. Empty: that of its byte order mark, or UTF-8.

    Raises:
        ManifestError: The file cannot be read, is too large, or is no text in this encoding.
    """
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist; check the path") from None
    except IsADirectoryError:
        raise ManifestError(f"{path} is a folder; give a file of labels") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ManifestError(
            f"{path} cannot be read ({reason(error)}); check its permissions and its disk"
        ) from None

    for begin, finding, remedy in _BINARY:
        if data.startswith(begin):
            raise ManifestError(f"{path} {finding}; {remedy}")
    marked = marked_encoding(data)
    name = marked or encoding or "utf-8"
    try:
        text = data.decode(name).removeprefix("\ufeff")
    except (UnicodeError, ValueError):
        remedy = "correct `encoding` in the mapping" if encoding else "save it as UTF-8"
        hint = "" if encoding or marked else ", or name its encoding in a mapping"
        shown = name.removesuffix("-sig").upper()
        raise ManifestError(f"{path} is not {shown} text; {remedy}{hint}") from None

    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ManifestError(
            f"{path}, line {line}: the file has NUL bytes, so it is damaged or not text; save it "
            "as UTF-8"
        )
    return text


def split_rows(
    path: Path, text: str, delimiter: str, width: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row, stripped of spaces. Skip empty rows.

    Args:
        path: The file, for messages.
        text: Its text.
        delimiter: Character between cells; a space matches any number of spaces and tabs. Empty:
            found in the first lines.
        width: Number of columns if it is known, else 0. With spaces as the delimiter, the last
            column takes the rest of the line.

    Raises:
        ManifestError: A line has a quote that is not closed, or a cell that is too long.
    """
    lines = io.StringIO(text, newline=None)  # all ends of lines become one
    delimiter = delimiter or find_delimiter(list(itertools.islice(lines, 4 * _LINES_SEEN)))
    lines.seek(0)
    if delimiter == " ":
        for number, line in enumerate(lines, 1):
            if cells := line.split(None, width - 1 if width else -1):
                yield number, [cell.strip() for cell in cells]
        return

    # strict: a quote that is never closed would otherwise swallow the rows below it.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.line_num}: invalid CSV ({error}); "
            "look for a stray quote in this line or above"
        ) from None


def find_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that all of these lines have equally often, and most often.

    Without tabs, `;`, `,` and `|`, it is a space.
    """
    seen = [line for line in lines if line.strip()][:_LINES_SEEN]

    def rank(delimiter: str) -> tuple[bool, int]:
        counts = [line.count(delimiter) for line in seen] or [0]
        return min(counts) == max(counts), counts[0]

    present = [one for one in _DELIMITERS if seen and one in seen[0]]
    return max(present, key=rank, default=" ")
