"""Run `surgrec-shard` and `surgrec` as their users do, and read their results."""

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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from surgrec_shard.commands import main as surgrec_shard_main

from surgrec.commands.main import main as surgrec_main

TOOL = Path(sysconfig.get_path("scripts")) / "surgrec-shard"
QUICK = (
    *("--encode.short_side_px", "64", "--encode.clip_s", "2", "--encode.min_clip_s", "1"),
    *("--encode.preset", "ultrafast", "--pack.group_videos", "2", "--pack.shard_bytes", "90000"),
)
"""Settings for small clips in small shards."""


HEAVY_MODULES = ("torch", "torchcodec", "timm", "accelerate", "einops", "cv2", "boto3", "ray")
"""Modules that slow the start of a command down."""


def build_folder(videos: Path) -> tuple[object, ...]:
    """Return the words that build a folder of videos as the laparoscopy source `lap`."""
    return ("build", "--videos", videos, "--source", "lap", "--domain", "laparoscopy")


def command(*arguments: object) -> list[str]:
    """Return the command line that runs `surgrec-shard`."""
    return [str(TOOL), *map(str, arguments)]


def run_tool(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `surgrec-shard` in a process. `env` is added to the test's environment."""
    return _run_process(command(*arguments), env, cwd)


def run_surgrec(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m surgrec` in a process. `env` is added to the test's environment."""
    return _run_process([sys.executable, "-m", "surgrec", *map(str, arguments)], env, cwd)


def run_here(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `surgrec-shard` in this process: it starts a second faster, and all types are checked."""
    return _run_main(surgrec_shard_main, command(*arguments))


def surgrec_here(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `surgrec` in this process: it starts a second faster, and all types are checked."""
    return _run_main(surgrec_main, ["surgrec", *map(str, arguments)])


def heavy_modules_of(entry_module: str, commands: Sequence[Sequence[object]]) -> list[str]:
    """Run commands through `main` of a module, in one new process.

    Returns:
        The names in `HEAVY_MODULES` that the process imported.
    """
    program = """
import contextlib, importlib, io, json, sys
entry_module, commands, heavy = json.loads(sys.argv[1])
main = importlib.import_module(entry_module).main
for command in commands:
    sys.argv = ["command", *command]
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as exit:
            assert not exit.code, errors.getvalue()
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    words = [[str(word) for word in arguments] for arguments in commands]
    argument = json.dumps([entry_module, words, HEAVY_MODULES])
    run = _run_process([sys.executable, "-c", program, argument])
    assert run.returncode == 0, run.stderr
    imported: list[str] = json.loads(run.stdout)
    return imported


def refusal(run: "subprocess.CompletedProcess[str]", status: int = 1) -> str:
    """Return the one sentence with which a command refused; fail if it did anything else."""
    lines = [line for line in run.stderr.splitlines() if "error" in line or "Traceback" in line]
    assert run.returncode == status, run.stderr
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith(Path(run.args[0]).name), run.stderr
    assert lines[0] == run.stderr.splitlines()[-1]
    return lines[0]


def _run_process(
    words: list[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        timeout=120,
    )


def _run_main(main: Callable[[], None], words: list[str]) -> "subprocess.CompletedProcess[str]":
    out, errors = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as exit:
            status = int(exit.code or 0)
    return subprocess.CompletedProcess(words, status, out.getvalue(), errors.getvalue())


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg quietly."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)],
        check=True,
        capture_output=True,
    )


def ffprobe(path: Path, *arguments: str) -> dict[str, Any]:
    """Return the output of ffprobe about a file."""
    command = ["ffprobe", "-v", "error", *arguments, "-of", "json", str(path)]
    output: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return output


def digests(corpus: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a corpus, by name, without the history of its changes."""
    return {
        path.relative_to(corpus).as_posix(): hashlib.sha256(_without_history(path)).hexdigest()
        for path in sorted(corpus.rglob("*"))
        if path.is_file()
    }


def _without_history(path: Path) -> bytes:
    if path.name != "corpus.json":
        return path.read_bytes()
    content = json.loads(path.read_text())
    return json.dumps({**content, "history": []}, sort_keys=True).encode()


def fixed_key(private: Path) -> Path:
    """Create a private folder with the same key as in all other tests, unless it exists."""
    if not private.exists():
        private.mkdir(mode=0o700, parents=True)
        (private / "key").write_text("5a" * 32)
        (private / "key").chmod(0o600)
    return private


def same_key(private: Path, folder: Path) -> Path:
    """Create a private folder with the key of another one, and nothing else."""
    folder.mkdir(mode=0o700)
    shutil.copy(private / "key", folder / "key")
    return folder


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a manifest or a label file. Return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_report(private: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the private list of all videos, by file name."""
    (path,) = private.glob("videos-*.csv")
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {Path(row["path"]).name: row for row in csv.DictReader(file)}
