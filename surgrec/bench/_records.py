"""Records of finished steps, by which a benchmark continues after a kill."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from surgrec.bench._steps import Step
from surgrec.errors import ConfigError
from surgrec.json_files import read_json
from surgrec.storage import file_sha256, open_store

RECORDS = "steps"
"""Folder of the records within that of a benchmark."""
_HASHED_BYTES = 64 << 20
"""Largest output whose bytes are hashed; of larger ones the size alone is compared."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """How a step ended."""

    step: str
    digest: str
    """Digest of everything that the outputs depend on."""
    status: int
    """Exit status of the command."""
    is_done: bool
    sentence: str
    """Why it failed; empty if it did not."""
    command: str
    outputs: dict[str, str]
    """Size and SHA-256 of each file that it wrote."""

    @property
    def outputs_digest(self) -> str:
        """SHA-256 of the names and contents of all outputs."""
        return hashlib.sha256(json.dumps(self.outputs, sort_keys=True).encode()).hexdigest()


class Records:
    """The records of a benchmark, one file per step.

    Args:
        out: Folder of the benchmark.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / RECORDS

    def read(self, step: Step) -> StepRecord | None:
        """Return the record of a step; None if it has never ended.

        Raises:
            ConfigError: The record is damaged.
        """
        return self._read(step.name)

    def _read(self, name: str) -> StepRecord | None:
        path = self._path(name)
        if not path.exists():
            return None
        record: StepRecord = read_json(
            path,
            StepRecord,
            error=ConfigError,
            remedy="remove this file, and the step runs again",
            file_names=True,
        )
        return record

    def finished(self, step: Step, digest: str) -> StepRecord | None:
        """Return the record of a step whose inputs are the same and whose outputs are whole."""
        record = self.read(step)
        if record is None or not record.is_done or record.digest != digest:
            return None
        found = output_files(self._out, step.written)
        return record if found in (record.outputs, self._amended(step)) else None

    def write(self, step: Step, digest: str, status: int, sentence: str) -> StepRecord:
        """Write the record of a step that ended.

        Args:
            step: The step.
            digest: Digest of everything that its outputs depend on.
            status: Exit status of its command.
            sentence: Why it failed; empty if it did not.
        """
        record = StepRecord(
            step=step.name,
            digest=digest,
            status=status,
            is_done=not sentence,
            sentence=sentence,
            command=step.command,
            outputs={} if sentence else output_files(self._out, step.written),
        )
        text = json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"
        open_store(self._folder).write(f"{step.name}.json", text.encode())
        return record

    def _amended(self, step: Step) -> dict[str, str] | None:
        """Return the outputs of a step as the step that continued them left them."""
        record = self._read(step.amended_by) if step.amended_by else None
        if record is None or not record.is_done:
            return None
        return {
            name: state
            for name, state in record.outputs.items()
            if any(Path(name).is_relative_to(written) for written in step.written)
        }

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def output_files(out: Path, written: Sequence[str]) -> dict[str, str]:
    """Return size and digest of each file below some files and folders, by its relative path."""
    found = {}
    for name in written:
        for path in _files_below(out / name):
            size = path.stat().st_size
            digest = f" {file_sha256(path)}" if size <= _HASHED_BYTES else ""
            found[path.relative_to(out).as_posix()] = f"{size}{digest}"
    return dict(sorted(found.items()))


def _files_below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)
