"""The raw answers of a model: a JSON-lines file that a kill does not harm."""

import json
import os
import threading
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from surgrec.errors import ConfigError
from surgrec.json_files import read_json_lines

_REMEDY = "restore the file from a copy, or remove this line"


class AnswerRow(TypedDict):
    """A row of `answers.jsonl`: an answer, or the reason why a window could not be shown."""

    key: str
    """Digest of everything that decides the answer."""
    condition: str
    source: str
    case: str
    video: str
    start_s: float
    mode: str
    """How the answer was constrained."""
    text: str
    finish: str
    unreadable: NotRequired[str]
    """Why the frames of the window could not be read; there is then no answer."""


class AnswerFile:
    """The answers so far, by their keys.

    Args:
        path: The file.
        writable: Whether answers will be added. A last line that a kill cut short is then removed.

    Raises:
        ConfigError: A line is damaged.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._writable = writable
        if writable:
            _remove_cut_line(path)
        rows: Any = read_json_lines(path, AnswerRow, error=ConfigError, remedy=_REMEDY)
        self._rows: dict[str, AnswerRow] = {}
        for row in rows:
            self._take(row)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> AnswerRow | None:
        """Return the answer with a key, if there is one."""
        with self._lock:
            return self._rows.get(key)

    def add(self, row: AnswerRow) -> None:
        """Append an answer. It is on the disk when this returns."""
        assert self._writable
        line = (json.dumps(row) + "\n").encode("ascii")
        with self._lock:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._take(row)

    def _take(self, row: AnswerRow) -> None:
        """Keep the first answer of a key, unless the frames could not be read later.

        The window then leaves the evaluation: its further prompts can have no answer.
        """
        if "unreadable" in row:
            self._rows[row["key"]] = row
        else:
            self._rows.setdefault(row["key"], row)


def _remove_cut_line(path: Path) -> None:
    """Remove the text after the last line break, which a kill cut short."""
    try:
        with path.open("r+b") as file:
            size = end = file.seek(0, os.SEEK_END)

            # Search for the last line break, backwards and block by block.
            while end > 0:
                begin = max(0, end - 65_536)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    end = begin + found + 1
                    break
                end = begin

            if end < size:
                file.truncate(end)
    except FileNotFoundError:
        return
