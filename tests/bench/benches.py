"""`surgrec bench` on small copies, with tiny encoders, as its user runs it."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from surgrec.models import Encoder, save_encoder
from tests.support.browser import CHROMIUM, open_in_browser
from tests.support.evaluations import TINY
from tests.support.needs import missing

_LIMIT_S = 3000


@dataclass(frozen=True, kw_only=True)
class SmallBench:
    """A benchmark to run."""

    root: Path
    """Folder of the copies."""
    tasks: Sequence[str]
    encoders: Mapping[str, Path | Sequence[Path]]
    """Files or runs by the name of the method; several are its pretraining seeds."""
    out: Path
    options: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command line."""
        seeds = {
            name: [paths] if isinstance(paths, Path) else paths
            for name, paths in self.encoders.items()
        }
        encoders = ",".join(f"{name}={path}" for name, paths in seeds.items() for path in paths)
        return [
            *(sys.executable, "-m", "surgrec", "bench", "--root", str(self.root)),
            *("--tasks", ",".join(self.tasks), "--encoders", encoders, "--out", str(self.out)),
            *("--allow_incomplete", "true", "--allow_unknown_pretraining", "true"),
            *("--temporal", "false", "--device", "cpu", "--batch", "64", *self.options),
        ]

    def run(self) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self.words, capture_output=True, text=True, check=False, timeout=_LIMIT_S
        )

    @property
    def rows(self) -> dict[tuple[str, str], dict[str, str]]:
        """Rows of `scores.csv` by task and method."""
        with (self.out / "scores.csv").open(encoding="utf-8", newline="") as file:
            return {(row["task"], row["method"]): row for row in csv.DictReader(file)}

    @property
    def content(self) -> dict[str, Any]:
        """The content of `bench.json`."""
        return dict(json.loads((self.out / "bench.json").read_text(encoding="utf-8")))

    @property
    def page(self) -> str:
        """The page."""
        return (self.out / "index.html").read_text(encoding="utf-8")

    def tables(self) -> dict[str, bytes]:
        """The bytes of everything that a reader of the results sees."""
        return {
            name: (self.out / name).read_bytes()
            for name in ("index.html", "scores.csv", "bench.json", "comparison/pairs.csv")
        }


def started(run: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the names of the steps that a run started."""
    return steps_in(run.stderr)


def steps_in(text: str) -> list[str]:
    """Return the names of the steps in what a run printed."""
    lines = [line for line in text.splitlines() if line.startswith("[")]
    return [line.partition("] ")[2].partition(": ")[0] for line in lines]


def write_encoder(
    path: Path, *, seed: int = 0, num_frames: int = 4, constant: bool = False
) -> Path:
    """Write the file of a tiny encoder with random weights, or of one with constant features."""
    torch.manual_seed(seed)
    encoder = Encoder(replace(TINY, num_frames=num_frames))
    if constant:
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.zero_()
    save_encoder(encoder, path, {"config": {"sampling_fps": 4.0}, "init_from": None})
    return path


def assert_the_page_opens(page: Path, folder: Path) -> None:
    """Assert that a browser shows a page at two widths without a request or a message."""
    assert "<script" not in page.read_text(encoding="utf-8")
    if CHROMIUM is None:
        missing("no Chromium is installed")
    for width_px in (1240, 400):
        found = open_in_browser(page, folder / f"browser-{width_px}", width_px=width_px)
        assert found == ([], "")
