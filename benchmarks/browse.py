"""The pages of `surgrec browse` at the paper's size: time and processor time of each."""

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

import psutil

from benchmarks.scale import CLIPS, VIDEOS
from benchmarks.synthetic_index import write_synthetic
from surgrec.cli import parse
from surgrec.ranges import Range

PARTS = (0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.007, 0.003)
"""Shares of the clips, by source."""
MIXTURE = {"levels": [{"by": "procedure", "alpha": 0.3}, {"by": "source", "alpha": 0.5}]}
NAMED = [{"column": "procedure", "comparison": "is", "value": "two"}]
LONG_VIDEOS = [{"column": "start_s", "comparison": "at least", "value": 3600}]
CLIP_PAGE = "/api/corpora/0/clips"


@dataclass(frozen=True, kw_only=True)
class Browse:
    """Amount of work."""

    folder: Path
    """Folder of the index and its cache, made once: 285 MB for 858,000 clips."""
    clips: Annotated[int, Range(1_000, 10**8)] = CLIPS
    """Clips in all sources together."""
    rounds: Annotated[int, Range(1, 100)] = 5
    """Times that the server starts and answers for each page once."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one answer took."""

    wall_s: float
    cpu_s: float
    """Processor time of the server."""
    size: int
    """Bytes."""


class Server:
    """A started server, and requests to it as a browser sends them."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        address = urlsplit(url)
        self._usage = psutil.Process(process.pid)
        self._port = int(address.port or 0)
        self._cookie = f"surgrec-{self._port}={address.query.removeprefix('token=')}"

    def cpu_s(self) -> float:
        """Return the processor time since the start."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    def ask(self, path: str, query: Mapping[str, object]) -> Cost:
        """Return what an answer costs; the page must exist."""
        target = f"{path}?{urlencode(query)}" if query else path
        before_s, start = self.cpu_s(), time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        connection.request("GET", target, headers={"Cookie": self._cookie})
        answer = connection.getresponse()
        body = answer.read()
        wall_s = time.perf_counter() - start
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{target}: status {answer.status}: {body[:300]!r}")
        return Cost(wall_s=wall_s, cpu_s=self.cpu_s() - before_s, size=len(body))

    def memory_mb(self) -> float:
        """Return the resident memory, mapped files included."""
        return float(self._usage.memory_info().rss) / 1e6


@contextmanager
def run_server(corpus: Path) -> Iterator[Server]:
    """Start `surgrec browse` and wait for its address."""
    words = [sys.executable, "-m", "surgrec", "browse", str(corpus), "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            text = ""
            while not text.rstrip().endswith("}"):
                line = process.stdout.readline() if process.stdout else ""
                if not line:
                    raise SystemExit("the server ended before it printed its address")
                text += line
            yield Server(process, json.loads(text)["url"])
        finally:
            process.send_signal(signal.SIGINT)


def requests(clips: int) -> dict[str, list[tuple[str, dict[str, object]]]]:
    """Return the requests of each page about a corpus of so many clips."""
    filters, later = json.dumps(NAMED), json.dumps(LONG_VIDEOS)
    clip = clips // 2
    return {
        "overview": [("/", {}), ("/static/app.js", {}), ("/api/subjects", {})],
        "corpus": [("/api/corpora/0", {})],
        "clips, all": [(CLIP_PAGE, {})],
        "clips, last page": [(CLIP_PAGE, {"offset": max(0, clips - 200)})],
        "clips, search": [(CLIP_PAGE, {"search": "a1"})],
        "clips, filter by text": [(CLIP_PAGE, {"filters": filters, "search": "source0"})],
        "clips, filter by number": [(CLIP_PAGE, {"filters": later})],
        "clips, sorted by key": [(CLIP_PAGE, {"sort": "key", "descending": "true"})],
        "a clip": [(f"{CLIP_PAGE}/{clip}", {})],
        "another clip of its source": [(f"{CLIP_PAGE}/{clip + 1}", {})],
        "dropped": [("/api/corpora/0/dropped", {})],
        "mixture": [("/api/mixture", {"samples": 10 * clips})],
        "mixture, other levels": [
            ("/api/mixture", {"mixture": json.dumps(MIXTURE), "samples": 10 * clips})
        ],
    }


def main(config: Browse) -> None:
    """Measure and print."""
    corpus = config.folder / f"browse-{config.clips}"
    os.environ["SURGREC_CACHE"] = str(config.folder / "index-cache")
    if not (corpus / "corpus.json").exists():
        videos = [max(1, round(VIDEOS * config.clips / CLIPS * part)) for part in PARTS]
        write_synthetic(corpus, [round(config.clips * part) for part in PARTS], videos=videos)

    # A new server in each round: the last queries are remembered, and labels are read once.
    costs: dict[str, list[Cost]] = {}
    starts, memory = [], []
    for _ in range(config.rounds):
        start = time.perf_counter()
        with run_server(corpus) as server:
            wall_s = time.perf_counter() - start
            starts.append(Cost(wall_s=wall_s, cpu_s=server.cpu_s(), size=0))
            for name, asked in requests(config.clips).items():
                parts = [server.ask(path, query) for path, query in asked]
                costs.setdefault(name, []).append(_sum(parts))
            memory.append(server.memory_mb())

    print("| page | wall s | processor s, median (range) | KB |\n|---|---|---|---|")
    for name, rows in {"start": starts, **costs}.items():
        cpu = [each.cpu_s for each in rows]
        wall_s = statistics.median(each.wall_s for each in rows)
        used = f"{statistics.median(cpu):.2f} ({min(cpu):.2f}-{max(cpu):.2f})"
        print(f"| {name} | {wall_s:.2f} | {used} | {rows[0].size / 1e3:.0f} |")
    print(f"resident memory after all pages: {statistics.median(memory):.0f} MB")


def _sum(parts: list[Cost]) -> Cost:
    return Cost(
        wall_s=sum(each.wall_s for each in parts),
        cpu_s=sum(each.cpu_s for each in parts),
        size=sum(each.size for each in parts),
    )


if __name__ == "__main__":
    main(parse(Browse, prog="benchmarks/browse.py"))
