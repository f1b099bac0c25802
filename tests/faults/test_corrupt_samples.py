"""One in a hundred samples is bad, each in another way; all are found, reported and replaced."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from accelerate import Accelerator

from surgrec.clips import (
    AugmentConfig,
    ClipBatch,
    ClipDataset,
    LoaderConfig,
    StepSampler,
    clip_batches,
)
from surgrec.errors import TrainingError
from surgrec.parquet import parquet_bytes
from surgrec.runs import read_rows
from surgrec.shards import Clip, Sample, open_corpus
from surgrec.shards.layout import INDEX_FILE
from surgrec.stream import Mixture, Stream
from surgrec.training._metrics import LogConfig, RunLog
from tests.support.documents import parse_config
from tests.support.loading import SAMPLING, Load, Loaded, load_ranks
from tests.support.processes import ROOT, load_recipe
from tests.support.samples import write_corpus

COPIES = 20
GLOBAL_BATCH, STEPS = 16, 40
"""More than one epoch of every source."""
MIXTURE = Mixture(levels=[], block=104)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A corpus with bad samples."""

    root: Path
    reasons: dict[str, str]
    """Expected reason of each bad sample, by key."""


def samples_of(root: Path, source: str) -> list[Sample]:
    index = open_corpus([root])[source].index
    return [index.sample(row) for row in range(index.num_rows)]


def flip_a_bit(root: Path, sample: Sample) -> None:
    path = root / sample.clip.source / sample.shard
    data = bytearray(path.read_bytes())
    data[sample.mp4_offset + sample.mp4_size // 2] ^= 4
    path.write_bytes(data)


def swap_digests(root: Path, source: str, one: Sample, other: Sample) -> None:
    """Swap the digests and the checksums of two samples in the index."""
    table = open_corpus([root])[source].index.table()
    rows = [table.column("key").to_pylist().index(sample.key) for sample in (one, other)]
    for name in ("sha256", "xxh3_64"):
        values = table.column(name).to_pylist()
        values[rows[0]], values[rows[1]] = values[rows[1]], values[rows[0]]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
    (root / source / INDEX_FILE).write_bytes(parquet_bytes(table))


@pytest.fixture(scope="module")
def healthy(
    tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[Clip, bytes], Path]:
    """Return five hundred real clips, copies of a few at other times, and their corpus."""
    mp4s: dict[Clip, bytes] = {}
    for source in ("alpha", "beta", "gamma"):
        for sample in samples_of(tiny_corpus, source):
            path = tiny_corpus / source / sample.shard
            mp4 = path.read_bytes()[sample.mp4_offset : sample.mp4_offset + sample.mp4_size]
            for copy in range(COPIES if sample.clip.split == "train" else 0):
                mp4s[replace(sample.clip, start_s=sample.clip.start_s + 1000.0 * copy)] = mp4
    return mp4s, write_clips(tmp_path_factory.mktemp("healthy") / "corpus", mp4s)


def write_clips(root: Path, mp4s: dict[Clip, bytes]) -> Path:
    by_source: dict[str, list[Clip]] = {}
    for clip in mp4s:
        by_source.setdefault(clip.source, []).append(clip)
    return write_corpus(root, by_source, clips_per_shard=40, mp4=mp4s.__getitem__)


@pytest.fixture(scope="module")
def planted(
    healthy: tuple[dict[Clip, bytes], Path], tmp_path_factory: pytest.TempPathFactory
) -> Planted:
    """Return the corpus with a truncated clip, two flipped bits and two swapped digests."""
    mp4s, root = healthy
    cut = samples_of(root, "beta")[50]
    mp4s = {
        clip: mp4[: len(mp4) * 2 // 3] if clip == cut.clip else mp4 for clip, mp4 in mp4s.items()
    }
    root = write_clips(tmp_path_factory.mktemp("planted") / "corpus", mp4s)
    flipped = [samples_of(root, "alpha")[row] for row in (11, 150)]
    for sample in flipped:
        flip_a_bit(root, sample)
    of_gamma = samples_of(root, "gamma")
    # Copies of one clip have equal digests, so choose two with different ones.
    one, other = next((a, b) for a in of_gamma[30:] for b in of_gamma[30:] if a.sha256 != b.sha256)
    swap_digests(root, "gamma", one, other)
    changed = dict.fromkeys(
        (sample.key for sample in (*flipped, one, other)), "its bytes have the XXH3 checksum"
    )
    return Planted(root=root, reasons=changed | {cut.key: "frames, but the index lists 32"})


def load(root: Path, folder: Path, world_size: int = 1, workers: int = 0) -> list[Loaded]:
    loads = [
        Load(
            corpora=[root],
            mixture=MIXTURE,
            loader=LoaderConfig(num_workers=workers, timeout_s=60),
            samplers=[
                StepSampler(
                    global_batch=GLOBAL_BATCH,
                    rank=rank,
                    world_size=world_size,
                    start_step=0,
                    steps=STEPS,
                )
            ],
        )
        for rank in range(world_size)
    ]
    ranks = load_ranks(loads, folder)
    assert [(rank.broken, rank.error) for rank in ranks] == [("", "")] * world_size
    return ranks


def together(ranks: list[Loaded]) -> tuple[list[object], list[dict[str, object]]]:
    samples = sorted(
        (sample for rank in ranks for sample in rank.samples), key=lambda sample: sample.position
    )
    bad = [entry for rank in ranks for entry in rank.quarantined]
    return list(samples), sorted(bad, key=lambda entry: int(str(entry["position"])))


def test_every_bad_sample_is_found_and_replaced_alike_in_every_world(
    healthy: tuple[dict[Clip, bytes], Path], planted: Planted, tmp_path: Path
) -> None:
    assert 0.005 < len(planted.reasons) / len(healthy[0]) < 0.015
    samples, bad = together(load(planted.root, tmp_path))
    assert {entry["key"] for entry in bad} == set(planted.reasons)
    for entry in bad:
        assert planted.reasons[str(entry["key"])] in str(entry["reason"])
        assert str(entry["substitute"]).startswith(f"{entry['source']}_")
    replaced = {entry["position"]: entry["substitute"] for entry in bad}
    expected, none = together(load(healthy[1], tmp_path))
    assert none == []
    for sample, undisturbed in zip(samples, expected, strict=True):
        if sample.position in replaced:  # type: ignore[attr-defined]
            assert sample.key == replaced[sample.position]  # type: ignore[attr-defined]
            assert sample.key not in planted.reasons  # type: ignore[attr-defined]
        else:
            assert sample == undisturbed
    for world_size, workers in ((1, 0), (1, 3), (2, 1)):
        assert together(load(planted.root, tmp_path, world_size, workers)) == (samples, bad)


def batches(root: Path) -> Iterator[ClipBatch]:
    dataset = ClipDataset(
        Stream(open_corpus([root]), MIXTURE, 5),
        SAMPLING,
        AugmentConfig(),
        LoaderConfig(num_workers=0),
    )
    return clip_batches(
        dataset,
        StepSampler(global_batch=GLOBAL_BATCH, rank=0, world_size=1, start_step=0, steps=STEPS),
    )


def log_batches(root: Path, run_dir: Path) -> None:
    """Log batches as a recipe does, without training on them."""
    log = RunLog(
        run_dir=run_dir,
        accelerator=Accelerator(cpu=True),
        config=LogConfig(),
        finish_save=lambda: None,
    )
    for step, batch in enumerate(batches(root)):
        log.add(
            step,
            batch,
            torch.ones(len(batch.keys)),
            flops=1.0,
            began=0.0,
            data_wait_s=0.0,
            values={},
        )
        if step % 4 == 3:
            log.flush(stop=False, diagnostics={})


def test_bad_samples_are_written_down_and_counted_by_source(
    planted: Planted, tmp_path: Path
) -> None:
    log_batches(planted.root, tmp_path)
    rows = read_rows(tmp_path / "quarantine.jsonl")
    assert {row["key"] for row in rows} == set(planted.reasons)
    assert all(planted.reasons[row["key"]] in row["reason"] for row in rows)
    last = read_rows(tmp_path / "metrics.jsonl")[-1]
    assert last["quarantined"] == dict(sorted(Counter(row["source"] for row in rows).items()))
    assert set(last["quarantined"]) == {"alpha", "beta", "gamma"}


@pytest.fixture(scope="module")
def mostly_bad(
    healthy: tuple[dict[Clip, bytes], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a corpus with one source damaged as by a failing disk."""
    root = write_clips(tmp_path_factory.mktemp("bad") / "corpus", healthy[0])
    for sample in samples_of(root, "gamma")[::3]:
        flip_a_bit(root, sample)
    return root


def test_past_the_share_that_may_be_bad_a_run_stops_with_one_sentence(
    mostly_bad: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        TrainingError,
        match=r"^gamma: \d\d of \d+ samples were bad.*log\.quarantine_share 0\.01[^\n]*$",
    ):
        log_batches(mostly_bad, tmp_path)
    assert {row["source"] for row in read_rows(tmp_path / "quarantine.jsonl")} == {"gamma"}


def test_a_recipe_stops_too(mostly_bad: Path, tmp_path: Path) -> None:
    mae = load_recipe("mae")
    words = ["--config", str(ROOT / "recipes/configs/mae_tiny.yaml"), "--corpus", str(mostly_bad)]
    words += [
        "--run_dir",
        str(tmp_path / "run"),
        "--steps",
        "40",
        "--log.every",
        "4",
        "--loader.num_workers",
        "0",
    ]
    words += ["--mixture.block", "104"]
    with pytest.raises(
        TrainingError, match=r"^gamma: \d+ of \d+ samples were bad.*run surgrec-shard verify$"
    ):
        mae.main(parse_config({"mae": mae}, "mae", words))
    assert len(read_rows(tmp_path / "run/metrics.jsonl")) % 4 == 0
