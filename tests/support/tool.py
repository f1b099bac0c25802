"""The tool as its users run it, and what it leaves behind."""

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from surgrec_shard.commands import main

TOOL = Path(sysconfig.get_path("scripts")) / "surgrec-shard"
QUICK = (
    *("--encode.short_side_px", "64", "--encode.clip_s", "2", "--encode.min_clip_s", "1"),
    *("--encode.preset", "ultrafast", "--pack.group_videos", "2", "--pack.shard_bytes", "90000"),
)
"""Settings for small clips in small shards."""


def command(*arguments: object) -> list[str]:
    """The command line that runs the tool."""
    return [str(TOOL), *map(str, arguments)]


def run_tool(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs the tool to its end. Variables in `env` are added to those of the test."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=120,
    )


def run_here(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Does what `run_tool` does, in this process: it saves the second that a start takes, and all types are checked."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", command(*arguments)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as exit:
            status = int(exit.code or 0)
    return subprocess.CompletedProcess(
        command(*arguments), status, out.getvalue(), errors.getvalue()
    )


def refusal(run: "subprocess.CompletedProcess[str]", status: int = 1) -> str:
    """The one sentence with which the tool refused; the test fails if it did anything else."""
    lines = [line for line in run.stderr.splitlines() if "error" in line or "Traceback" in line]
    assert run.returncode == status, run.stderr
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("surgrec-shard"), run.stderr
    assert lines[0] == run.stderr.splitlines()[-1]
    return lines[0]


def ffmpeg(*arguments: object) -> None:
    """Runs ffmpeg quietly."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)],
        check=True,
        capture_output=True,
    )


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """What ffprobe says about a file, as JSON."""
    command = ["ffprobe", "-v", "error", *arguments, "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def digests(corpus: Path) -> dict[str, str]:
    """SHA-256 of every file of a corpus, by name."""
    return {
        path.relative_to(corpus).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(corpus.rglob("*"))
        if path.is_file()
    }


def same_key(private: Path, folder: Path) -> Path:
    """A new private folder with the key of another, and nothing else of it."""
    folder.mkdir(mode=0o700)
    shutil.copy(private / "key", folder / "key")
    return folder


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A manifest or a label file from its rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_report(private: Path) -> dict[str, dict[str, str]]:
    """The rows of the private list of all videos, by file name."""
    (path,) = private.glob("videos-*.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}
