"""What touches all clips of a corpus: time and memory of each command at the paper's size.

    .venv/bin/python -m benchmarks.scale --folder DIR [--share 0.25] [--only '[open, order]']

The corpus is made up: 10,535 videos with lengths of a log-normal distribution and 858,000 clips in
eight sources, with labels and all columns of an index, and without shards. Every row of the table
is a process of its own. This script imports little, since a process inherits the peak of its
parent. A share of 0.25 shows what grows faster than the corpus.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from surgrec.cli import parse
from surgrec.ranges import Range

CLIPS, VIDEOS = 858_000, 10_535
ROWS = (
    *("open, and make the cache", "open", "labels", "split rules"),
    *("publish the indexes", "surgrec cluster, behind the tree"),
    "surgrec-shard dedup, beside hashes",
)
"""Rows that are no command, in `scale_rows.py`."""

LEVELS = "[5000, 500, 50]"
"""Clusters by level."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A made-up corpus, and the commands to measure on it."""

    folder: Path
    """Folder of the corpora, their features and their cache, about 3 GB."""
    share: Annotated[float, Range(0, 100, above=True)] = 1.0
    """Size of the corpus, as a share of the paper's."""
    only: list[str] = field(default_factory=list)
    """Rows of the table; empty: all."""


def main(config: Scale) -> None:
    """Measure each command in a process of its own, and print the table."""
    clips, videos = round(CLIPS * config.share), round(VIDEOS * config.share)
    corpus = config.folder / f"corpus-{clips}"
    os.environ["SURGREC_CACHE"] = str(config.folder / f"cache-{clips}")
    if not (corpus / "corpus.json").exists():
        _run([*_SELF, "make", str(corpus), str(clips), str(videos)])
    features = corpus.with_name(f"features-{corpus.name}")
    if not (features / "features.json").exists():  # it is written last
        shutil.rmtree(features, ignore_errors=True)
        _run([*_SELF, "features", str(corpus)])
    (config.folder / "split.yaml").write_text(
        "name: made\ntrain: {sources: [source00]}\ntest: {sources: [source01]}\n"
    )

    print(f"{clips:,} clips of {videos:,} videos, {os.cpu_count()} cores")
    print("| command | wall s | processor s | peak MB |\n|---|---|---|---|")
    for name, command in commands(corpus, config.folder).items():
        if not config.only or name in config.only:
            wall_s, used_s, peak_mb = _run(command)
            print(f"| {name} | {wall_s:.1f} | {used_s:.1f} | {peak_mb:,.0f} |", flush=True)


def commands(corpus: Path, folder: Path) -> dict[str, list[str]]:
    """Return the command line of each row of the table."""
    bin_folder = Path(sys.executable).parent
    user, shard = str(bin_folder / "surgrec"), str(bin_folder / "surgrec-shard")
    root, split = str(corpus), str(folder / "split.yaml")
    by_cluster = '{"levels": [{"by": "source", "alpha": 0.5}, {"by": "cluster_3", "alpha": 0}]}'
    balanced = '{"clusters": {"policy": "balance", "share": 0.5}}'
    steps = ("--global_batch", "3072", "--num_steps", "20")
    features = str(corpus.with_name(f"features-{corpus.name}"))
    own = {name: [*_SELF, name, root] for name in ROWS}
    return {
        "start of Python with torch": [sys.executable, "-c", "import torch"],
        **own,
        "open again, with clusters": own["open"],
        "surgrec cluster": [user, "cluster", root, "--features", features, "--levels", LEVELS],
        "surgrec-shard info": [shard, "info", root],
        "surgrec-shard verify, no shards": [shard, "verify", root],
        "surgrec mix": [user, "mix", root, "--samples", "17280000"],
        "surgrec order": [user, "order", root, *steps],
        "surgrec order, levels by cluster": [user, "order", root, "--mixture", by_cluster, *steps],
        "surgrec order, balance": [user, "order", root, "--mixture", balanced, *steps],
        "surgrec audit": [user, "audit", split, "--corpus", root, "--task", "phase"],
        "surgrec audit, pretraining": [
            *(user, "audit", split, "--corpus", root, "--pretraining", root)
        ],
    }


_SELF = [sys.executable, "-m", "benchmarks.scale_rows"]


def _run(command: list[str]) -> tuple[float, float, float]:
    """Return wall and processor time in seconds, and the peak of memory in MB, of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # 1: findings, such as the shards that are not there.
    if process.returncode not in (0, 1) or "Traceback" in complaint:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {complaint}")
    wall_s = time.perf_counter() - start
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


if __name__ == "__main__":
    main(parse(Scale, prog="benchmarks/scale.py"))
