"""`verify` finds every kind of damage, each planted here, and nothing in a sound corpus."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from surgrec_shard.groups import PackSettings
from surgrec_shard.verify import Findings, verify

from surgrec.errors import ShardError
from surgrec.manifest import Video
from surgrec.shards import Dropped, open_corpus
from surgrec.shards._index import rows_to_parquet
from surgrec.shards._write import idx_path
from tests.support.tool import run_here
from tests.support.videos import build_corpus, make_video


def first_shard(corpus: Path) -> Path:
    """Return the path of the shard that is damaged."""
    (path,) = (corpus / "lap").glob("lap-train-00000000-*.tar")
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a corpus of two sources: `lap` has two shards, `cat` has one."""
    folder = tmp_path_factory.mktemp("sound")
    videos = [
        Video(
            path=make_video(folder / f"{name}.mp4", seconds=seconds),
            source=name,
            domain="other",
            case="",
            split="train",
        )
        for name, seconds in (("lap", 16), ("cat", 8))
    ]
    packing = PackSettings(shard_bytes=90_000)
    build_corpus(folder / "corpus", videos, private=folder / "private", pack=packing)
    return folder / "corpus"


@pytest.fixture
def corpus(sound: Path, tmp_path: Path) -> Path:
    """Return a copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "corpus"))


def test_a_sound_corpus_has_no_problems(sound: Path) -> None:
    for decode_all in (False, True):
        findings = check(sound, decode_all=decode_all)
        assert findings.problems == []
        assert (findings.shards, findings.samples, findings.decoded) == (
            3,
            6,
            6 if decode_all else 3,
        )


def test_verify_exits_with_0_for_a_sound_corpus_and_1_for_a_damaged_one(corpus: Path) -> None:
    run = run_here("verify", corpus)
    assert (run.returncode, "no problems" in run.stderr) == (0, True), run.stderr
    lost = first_shard(corpus)
    lost.unlink()
    run = run_here("verify", corpus)
    assert (run.returncode, str(lost) in run.stderr) == (1, True), run.stderr
    run = run_here("verify", corpus, "--json")
    found = json.loads(run.stdout)
    assert (run.returncode, str(lost) in found["problems"][0]) == (1, True)


def flip_a_byte_of_a_clip(corpus: Path) -> None:
    row = parquet.read_table(corpus / "lap" / "index.parquet").to_pylist()[0]
    with (corpus / "lap" / row["shard"]).open("r+b") as file:
        file.seek(row["mp4_offset"] + row["mp4_size"] // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def flip_a_byte_of_a_tar_header(corpus: Path) -> None:
    data = bytearray(first_shard(corpus).read_bytes())
    data[20] ^= 1
    first_shard(corpus).write_bytes(data)


def truncate_a_shard(corpus: Path) -> None:
    data = first_shard(corpus).read_bytes()
    first_shard(corpus).write_bytes(data[: len(data) // 2])


def empty_a_shard(corpus: Path) -> None:
    first_shard(corpus).write_bytes(b"")


def lose_a_shard(corpus: Path) -> None:
    first_shard(corpus).unlink()


def lose_an_idx(corpus: Path) -> None:
    idx_path(first_shard(corpus)).unlink()


def change_an_idx(corpus: Path) -> None:
    data = idx_path(first_shard(corpus)).read_bytes()
    idx_path(first_shard(corpus)).write_bytes(data[:8] + data[16:])


def add_a_shard(corpus: Path) -> None:
    shutil.copy(first_shard(corpus), corpus / "lap" / "lap-train-00077000-01234567.tar")


def add_a_shard_of_no_source(corpus: Path) -> None:
    (corpus / "omega").mkdir()
    shutil.copy(first_shard(corpus), corpus / "omega" / "omega-train-00000000.tar")


def swap_two_shards(corpus: Path) -> None:
    one, other = sorted((corpus / "lap").glob("*.tar"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def lose_the_labels(corpus: Path) -> None:
    (corpus / "lap" / "labels.parquet").unlink()


def lose_a_count_of_failed_videos(corpus: Path) -> None:
    row = Dropped(video="0" * 12, start_s=0.0, end_s=0.0, reason="truncated")
    (corpus / "lap" / "dropped.parquet").write_bytes(rows_to_parquet(Dropped, [row]))


def damage_the_dropped_rows(corpus: Path) -> None:
    (corpus / "lap" / "dropped.parquet").write_bytes(b"PAR1 no table PAR1")


def change_the_digest(corpus: Path) -> None:
    change_the_entry(corpus, digest="0" * 64)


def change_the_entry(corpus: Path, **values: object) -> None:
    path = corpus / "corpus.json"
    content = json.loads(path.read_text())
    content["sources"]["lap"] |= values
    path.write_text(json.dumps(content))


def change_a_number(corpus: Path, column: str, change: Callable[[int], int]) -> None:
    path = corpus / "lap" / "index.parquet"
    table = parquet.read_table(path)
    values = table.column(column).to_pylist()
    place = table.column_names.index(column)
    values = pa.array([change(values[0]), *values[1:]], table.schema.field(column).type)
    parquet.write_table(table.set_column(place, column, values), path)


def change_a_checksum(corpus: Path) -> None:
    change_a_number(corpus, "xxh3_64", lambda value: value ^ 1)


def change_a_clock(corpus: Path) -> None:
    for column in ("timescale", "frame_ticks"):
        change_a_number(corpus, column, lambda value: value * 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_a_checksum, "the mp4 does not have the checksum xxh3_64 of the index"),
        (change_a_clock, "the mp4 does not have the clock of the index"),
        (change_a_clock, "the frames of the mp4 are not at the times of the index"),
        (flip_a_byte_of_a_clip, "the mp4 does not have the digest of the index"),
        (flip_a_byte_of_a_tar_header, "has the SHA-256"),
        (flip_a_byte_of_a_tar_header, "cannot be read to its end"),
        (truncate_a_shard, "bytes, but corpus.json lists"),
        (empty_a_shard, "has 0 bytes, but corpus.json lists"),
        (lose_a_shard, "does not exist"),
        (lose_an_idx, ".tar.idx does not exist"),
        (change_an_idx, "the .idx does not have the offsets of the index"),
        (add_a_shard, "lap-train-00077000-01234567.tar: corpus.json does not list this file"),
        (
            add_a_shard_of_no_source,
            "omega-train-00000000.tar: corpus.json does not list this file",
        ),
        (swap_two_shards, "has the SHA-256"),
        (lose_the_labels, "labels.parquet is missing"),
        (
            lose_a_count_of_failed_videos,
            "dropped.parquet lists 1 whole video, but corpus.json has only 0 as videos_failed",
        ),
        (damage_the_dropped_rows, "/dropped.parquet"),
        (change_the_digest, "corpus.json lists 000000000000"),
    ],
)
def test_damage_is_found(damage: Callable[[Path], None], message: str, corpus: Path) -> None:
    damage(corpus)
    problems = check(corpus).problems
    assert any(message in problem for problem in problems), problems
    assert all("/cat/" not in problem for problem in problems), "in the damaged source alone"


@pytest.mark.parametrize(
    ("total", "wrong", "right"),
    [
        ("hours", 99.0, "0.004444"),
        ("cases", 77, "1"),
        ("videos", 5, "1"),
        ("bytes", 1, None),
        ("domain", "robotic", "other"),
    ],
)
def test_a_wrong_total_in_corpus_json_is_found(
    total: str, wrong: object, right: str | None, corpus: Path
) -> None:
    shards = (corpus / "lap").glob("*.tar")
    right = right or str(sum(path.stat().st_size for path in shards))
    change_the_entry(corpus, **{total: wrong})
    whose = "shards have" if total == "bytes" else "index has"
    assert check(corpus).problems == [
        f"{corpus}/lap: the {whose} the {total} {right}, but corpus.json lists {wrong}"
    ]


def test_a_shard_that_is_listed_twice_is_refused(corpus: Path) -> None:
    path = corpus / "corpus.json"
    shards = json.loads(path.read_text())["sources"]["lap"]["shards"]
    change_the_entry(corpus, shards=[*shards, shards[0]])
    with pytest.raises(ShardError, match=rf"sources\.lap\.shards lists '{shards[0]['name']}' twi"):
        open_corpus(corpus)


@pytest.mark.parametrize("suffix", ["", ".idx"])
def test_a_file_of_another_size_is_not_copied(suffix: str, corpus: Path) -> None:
    shard = first_shard(corpus)
    os.truncate(f"{shard}{suffix}", 300 << 30)
    (problem,) = check(corpus).problems
    assert problem.startswith(f"{shard}: the {suffix or 'shard'} ")
    assert f"{300 << 30} bytes" in problem


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("start_s", lambda value: value + 1.0),
        ("case", lambda value: "somebody"),
        ("num_frames", lambda value: value - 1),
        ("offset", lambda value: value + 512),
        ("size", lambda value: value - 512),
        ("mp4_offset", lambda value: value - 1),
        ("mp4_offset", lambda value: -value),
        ("mp4_size", lambda value: value - 1),
        ("sha256", lambda value: value[::-1]),
        ("key", lambda value: value[:-1] + "1"),
    ],
)
def test_a_changed_row_of_the_index_is_found(
    column: str, change: Callable[[Any], Any], corpus: Path
) -> None:
    path = corpus / "lap" / "index.parquet"
    table = parquet.read_table(path)
    values = table[column].to_pylist()
    values[1] = change(values[1])
    index = table.column_names.index(column)
    parquet.write_table(
        table.set_column(index, table.field(index), pa.array(values, table.field(index).type)), path
    )
    try:
        problems = check(corpus).problems
    except ShardError as error:  # no sample can have such a row
        problems = [str(error)]
    assert problems
    assert all("lap" in problem for problem in problems), problems


def test_several_workers_find_the_same_in_the_same_order(corpus: Path) -> None:
    truncate_a_shard(corpus)
    for shard in sorted((corpus / "cat").glob("*.tar")):
        shard.unlink()
    change_an_idx(corpus)
    done: list[int] = []

    alone = check(corpus, workers=1)
    together = verify(
        str(corpus),
        decode_all=False,
        workers=4,
        progress=lambda stage, number, total: done.append(number),
    )
    assert together == alone
    assert len(alone.problems) > 1
    assert done == list(range(1, len(done) + 1))


def check(corpus: Path, *, decode_all: bool = False, workers: int = 2) -> Findings:
    return verify(
        str(corpus),
        decode_all=decode_all,
        workers=workers,
        progress=lambda stage, done, total: None,
    )
