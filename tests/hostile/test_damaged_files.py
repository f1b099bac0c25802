"""Recordings of all containers with random damage, in one build.

Each is in the corpus or in the report with its reason, and the good one beside them is packed.
"""

import random
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import run_command
from tests.recordings.test_mutated_recordings import CONTAINERS, mutate
from tests.recordings.test_mutated_recordings import KINDS as DAMAGES
from tests.support.clocks import record_clock
from tests.support.tool import QUICK, build_folder, read_report

SECONDS = 2.0
SECONDS_OF_BUILD = 900.0
PER_CONTAINER = 2 * len(DAMAGES)


def damaged_files() -> list[tuple[str, str, int]]:
    """Return suffix, kind of damage and number of each file."""
    return [
        (suffix, DAMAGES[number % len(DAMAGES)], number)
        for suffix in CONTAINERS
        for number in range(PER_CONTAINER)
    ]


@pytest.mark.slow
def test_each_damaged_file_is_in_the_corpus_or_in_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "input"
    videos = folder / "videos"
    videos.mkdir(parents=True)
    whole = {
        suffix: record_clock(tmp_path / f"whole{suffix}", seconds=SECONDS, size="64x64")
        for suffix in CONTAINERS
    }
    record_clock(videos / "good.mp4", seconds=SECONDS, rate=20, size="64x64")
    for suffix, kind, number in damaged_files():
        data = mutate(whole[suffix].read_bytes(), kind, random.Random(f"{suffix} {number}"))
        (videos / f"{number}-{kind}{suffix}").write_bytes(data)

    words = (*build_folder(videos), "--out", folder / "corpus", "--workers", 2, *QUICK)
    run = run_command(("surgrec-shard", *words), folder, {}, SECONDS_OF_BUILD)
    assert run.status == 3, run.errors
    assert "Traceback" not in run.errors + run.out, run.errors

    report = read_report(folder / "corpus.private")
    assert sorted(report) == sorted(path.name for path in videos.iterdir())
    assert report["good.mp4"]["status"] == "packed"
    stored = set(
        parquet.read_table(folder / "corpus" / "lap" / "index.parquet")["video"].to_pylist()
    )
    for row in report.values():
        is_packed = row["status"] == "packed"
        assert is_packed == (row["corpus_video"] in stored) or row["status"] == "duplicate", row
        assert is_packed or row["detail"], row
