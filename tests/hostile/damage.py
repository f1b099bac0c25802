"""Damage to JSON files, and a corpus with a run and its encoder to apply it to."""

import atexit
import json
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.hostile.harness import Kind, Run
from tests.support.evaluations import shortest_evaluation
from tests.support.logged_runs import make_run
from tests.support.samples import make_clips, write_corpus

Damage = Callable[[Path], object]
"""Changes a file, or replaces it."""


@cache
def _template() -> Path:
    """Return a folder with a corpus, a run of an MAE with a checkpoint, and an evaluation."""
    folder = Path(tempfile.mkdtemp(prefix="surgrec-hostile-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    corpus = write_corpus(
        folder / "corpus", {"alpha": make_clips(6), "beta": make_clips(3, "beta")}
    )
    consumed = {"consumed": {"alpha": 4, "beta": 4}}
    make_run(folder / "run", corpus, "mae", steps=4, values=consumed)
    mixture = "mixture: {block: 8, levels: [{by: source, alpha: 0}]}"
    (folder / "run/config.yaml").write_text(f"seed: 0\n{mixture}\n")
    path = folder / "run/evaluation/phase/evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(shortest_evaluation(count=2)))
    return folder


def copy_template(folder: Path) -> None:
    """Copy `corpus` and `run` into a folder."""
    shutil.copytree(_template(), folder, dirs_exist_ok=True, symlinks=True)


def damaged(file: str, damage: Damage, command: Callable[[Path], Sequence[object]]) -> Any:
    """Return the `make` of a kind: the template with one damaged file, and a command."""

    def make(folder: Path) -> Sequence[object]:
        copy_template(folder)
        damage(folder / file)
        return command(folder)

    return make


def kinds_of(
    file: str, name: str, command: Callable[[Path], Sequence[object]], key: str, number: str
) -> list[Kind]:
    """Return kinds that damage a JSON file in every way that its reader must refuse.

    Args:
        file: Path of the file in the template.
        name: Name of the file in the names of the kinds.
        command: Maps a folder to the command that reads the file.
        key: A required key of its object.
        number: A required key whose value is a number, or leads to one.
    """
    damages: dict[str, Damage] = {
        "is empty": lambda path: path.write_bytes(b""),
        "is cut short": lambda path: path.write_bytes(path.read_bytes()[:-20]),
        "ends in NUL bytes": lambda path: path.write_bytes(path.read_bytes() + bytes(4096)),
        "is all NUL bytes": lambda path: path.write_bytes(bytes(path.stat().st_size)),
        "has a hole of NUL bytes": with_hole,
        "is nested 100,000 lists deep": lambda path: path.write_bytes(b"[" * 100_000),
        "is nested 100,000 objects deep": lambda path: path.write_bytes(b'{"a":' * 100_000),
        "has a deeply nested value": lambda path: change(path, key, nested(500)),
        "is random bytes": lambda path: path.write_bytes(random.Random(1).randbytes(5000)),
        "is UTF-16": lambda path: path.write_bytes(path.read_text().encode("utf-16")),
        "is a list": lambda path: path.write_bytes(b"[1, 2]"),
        "is null": lambda path: path.write_bytes(b"null"),
        "is a number": lambda path: path.write_bytes(b"1e400"),
        "is followed by a second value": lambda path: path.write_bytes(path.read_bytes() + b"{}"),
        "lacks a key": lambda path: change(path, key, ...),
        "has a value of another type": lambda path: change(path, key, 7.5),
        "has null in place of a value": lambda path: change(path, key, None),
        "has a key twice": lambda path: put_first(path, f'"{key}": 1,'),
        "has NaN in place of a number": lambda path: change(path, number, float("nan")),
        "has a number of 400 digits": lambda path: change(path, number, 10**400),
        "has half a surrogate pair": lambda path: change(path, key, "\ud800"),
        "has a number of commas that would fill memory": lambda path: path.write_bytes(
            b"[" + b"0," * 11_000_000 + b"0]"
        ),
        "is a pipe": lambda path: replaced(path, os.mkfifo),
        "is a socket": lambda path: replaced(path, lambda p: os.mknod(p, stat.S_IFSOCK | 0o600)),
        "is a link to itself": lambda path: replaced(path, lambda p: p.symlink_to(p.name)),
        "is a link to a device without end": lambda path: replaced(
            path, lambda p: p.symlink_to("/dev/zero")
        ),
        "is a folder": lambda path: replaced(path, Path.mkdir),
        "is a sparse file of 1 TiB": lambda path: os.truncate(path, 1 << 40),
    }
    return [
        Kind(name=f"{name} that {words} is refused", make=damaged(file, damage, command))
        for words, damage in damages.items()
    ]


def with_hole(path: Path) -> None:
    """Replace the middle third of a file with NUL bytes, as a power failure does."""
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])


def nested(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def change(path: Path, key: str, value: Any) -> None:
    """Set a key of the object in a JSON file, by its dotted name; `...` removes it."""
    content = json.loads(path.read_text())
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    parent = content
    for part in parents:
        parent = parent[part]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    path.write_text(json.dumps(content))


def put_first(path: Path, text: str) -> None:
    """Insert a text behind the first brace of a file."""
    path.write_text(path.read_text().replace("{", "{" + text, 1))


def replaced(path: Path, create: Callable[[Path], object]) -> None:
    """Create something else in place of a file."""
    path.unlink()
    create(path)


def right_if(text: str) -> Callable[[Path, Run], None]:
    """Return a check that a command's output has a text."""

    def check(folder: Path, run: Run) -> None:
        assert text in run.out + run.errors, run

    return check
