"""Runs as pages show them: curves of their logs, read on while the run trains."""

import os
import time
from array import array
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
import numpy as np

from surgrec.browse._inside import check_inside
from surgrec.errors import ConfigError, SurgrecError
from surgrec.json_files import decode_json
from surgrec.runs import CountedRow, Plan, RunFiles, StartRow, read_plan, read_rows, read_watched

_POINTS = 300
"""Points of a curve: means over as many spans of steps."""
_MOST_NEW_BYTES = 64 << 20
"""Bytes of a log that are read at once."""
_REMEDY = "restore the file from a copy"


class MetricsLog:
    """The numbers of a `metrics.jsonl`, which grows while it is read.

    A resumed run replaces the file, which is then read anew.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._inode, self._read = -1, 0
        self.last: dict[str, Any] = {}
        self._steps: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._values: dict[str, array[float]] = defaultdict(lambda: array("d"))

    def refresh(self) -> None:
        """Read the complete lines that were added.

        Raises:
            ConfigError: The file cannot be read, or a line is damaged.
        """
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    self._read_new(file)
            except FileNotFoundError:
                self._forget()
            except OSError as error:
                raise ConfigError(f"{self._path} cannot be read ({error.strerror})") from None

    def _read_new(self, file: Any) -> None:
        state = os.fstat(file.fileno())
        if state.st_ino != self._inode or state.st_size < self._read:
            self._forget()
            self._inode = state.st_ino
        file.seek(self._read)
        while data := file.read(_MOST_NEW_BYTES):
            end = data.rfind(b"\n") + 1
            for line in data[:end].splitlines():
                self._add(line)
            self._read += end
            file.seek(self._read)
            if not end:
                break  # the last line is being written

    def _add(self, line: bytes) -> None:
        self.last = row = _parsed(line, str(self._path))
        step = float(row["step"])
        for name, value in row.items():
            if isinstance(value, dict) and name == "loss_by_source":
                for source, loss in value.items():
                    self._append(f"loss of {source}", step, loss)
            elif name != "step":
                self._append(name, step, value)

    def _append(self, name: str, step: float, value: object) -> None:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self._steps[name].append(step)
            self._values[name].append(float(value))

    def names(self) -> list[str]:
        """Return the names of all columns of numbers."""
        return list(self._values)

    def curve(self, name: str) -> dict[str, list[float]]:
        """Return a column as means over spans of steps, with the least and the largest value."""
        steps = np.array(self._steps[name])
        values = np.array(self._values[name])
        return thinned(steps, values)


def _parsed(line: bytes, context: str) -> dict[str, Any]:
    """Return a row. The quick parser knows no NaN; the thorough one names the fault."""
    try:
        row = msgspec.json.decode(line)
        msgspec.convert(row, CountedRow)
    except (msgspec.MsgspecError, RecursionError):
        row = decode_json(
            line, CountedRow, context, error=ConfigError, remedy=_REMEDY, any_number=True
        )
    return dict(row)


def thinned(steps: np.ndarray, values: np.ndarray) -> dict[str, list[float]]:
    """Return steps and values as at most 300 points.

    Args:
        steps: Steps, ascending.
        values: A value for each step; those that are not finite are left out.

    Returns:
        `step`, `mean`, `low` and `high` of each point.
    """
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    parts = min(_POINTS, len(values))
    if not parts:
        return {"step": [], "mean": [], "low": [], "high": []}
    starts = np.linspace(0, len(values), parts, endpoint=False).astype(np.int64)
    counts = np.diff([*starts, len(values)])
    return {
        "step": (np.add.reduceat(steps, starts) / counts).tolist(),
        "mean": (np.add.reduceat(values, starts) / counts).tolist(),
        "low": np.minimum.reduceat(values, starts).tolist(),
        "high": np.maximum.reduceat(values, starts).tolist(),
    }


class BrowsedRun:
    """A run folder, which may be training.

    Args:
        address: The folder, as it was given.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.folder = Path(address)
        """The folder."""
        self._files = RunFiles(self.folder)
        self._log = MetricsLog(self._files.metrics)

    def state(self) -> dict[str, Any]:
        """Return how far the run is, its plan, and the names of its curves.

        Raises:
            ConfigError: A file of the run is damaged, or a link that leads out of its folder.
        """
        files = self._files
        check_inside(self.folder, [files.metrics, files.plan, files.starts])
        self._log.refresh()

        # A run that has not logged yet has no age.
        try:
            age_s = time.time() - self._files.metrics.stat().st_mtime
        except OSError:
            age_s = None

        # A broken plan is shown as a problem; the curves are still there.
        plan: Plan | None = None
        problem = ""
        try:
            plan = read_plan(self.folder)
        except SurgrecError as error:
            problem = str(error)

        return {
            "address": self.address,
            "age_s": age_s,
            "last": self._log.last,
            "names": self._log.names(),
            "plan": plan,
            "problem": problem,
            "starts": read_rows(self._files.starts, StartRow),
        }

    def curves(self, names: list[str]) -> dict[str, Any]:
        """Return curves of the log, and all rows of probe, drift and alarms.

        Args:
            names: Columns of `metrics.jsonl`; unknown ones give empty curves.

        Raises:
            ConfigError: A file of the run is damaged, or a link that leads out of its folder.
        """
        files = self._files
        check_inside(self.folder, [files.metrics, files.probe, files.drift, files.alarms])
        self._log.refresh()
        known = set(self._log.names())
        watched = read_watched(self.folder, metrics=False)
        return {
            "curves": {name: self._log.curve(name) for name in names if name in known},
            "probes": watched.probes,
            "drift": watched.drift,
            "alarms": watched.alarms,
        }
