"""World size and workers never change the samples or pixels of a run.

The tests use real processes, real decoding, flips, two views and bad samples.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from surgrec.clips import LoaderConfig, StepSampler
from surgrec.shards import open_corpus
from surgrec.stream import Level, Mixture, Stage, Stream
from tests.support.loading import Load, Loaded, LoadedSample, load_ranks

GLOBAL_BATCH, STEPS = 8, 6
MIXTURE = Mixture(
    block=16,
    stages=[
        Stage(start=16, weights={"gamma": 3.0}),
        Stage(start=30, levels=[Level(by="source", alpha=0.0)]),
    ],
)
"""Three stages of 16 samples each."""
WORLDS = [(world_size, workers) for world_size in (1, 2, 4) for workers in (0, 1, 2, 3)]
COVERING = {(1, 1), (1, 3), (2, 0), (2, 2), (4, 1)}
"""Every world size and every number of workers once."""


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a real corpus with a flipped bit in three samples that the first steps draw."""
    root = Path(shutil.copytree(tiny_corpus, tmp_path_factory.mktemp("exactness") / "corpus"))
    stream = Stream(open_corpus([root]), MIXTURE, seed=5)
    for draw in stream.draws(np.array([3, 17, 40])):
        sample = stream.sample(draw)
        path = root / sample.clip.source / sample.shard
        data = bytearray(path.read_bytes())
        data[sample.mp4_offset + sample.mp4_size // 2] ^= 4
        path.write_bytes(data)
    return root


def load_world(
    corpus: Path, folder: Path, world_size: int, workers: int, steps: range = range(STEPS)
) -> tuple[list[LoadedSample], list[dict[str, object]]]:
    """Load with one process per rank; return all samples in stream order, and the bad ones."""
    loads = [
        Load(
            corpora=[corpus],
            mixture=MIXTURE,
            loader=LoaderConfig(num_workers=workers, timeout_s=60),
            samplers=[
                StepSampler(
                    global_batch=GLOBAL_BATCH,
                    rank=rank,
                    world_size=world_size,
                    start_step=steps.start,
                    steps=steps.stop,
                )
            ],
        )
        for rank in range(world_size)
    ]
    ranks = load_ranks(loads, folder)
    for rank, loaded in enumerate(ranks):
        assert (loaded.broken, loaded.error) == ("", "")
        assert [sample.position for sample in loaded.samples] == share_of(rank, world_size, steps)
    return in_order(ranks)


def share_of(rank: int, world_size: int, steps: range) -> list[int]:
    """Return the positions of a rank by the contract: its slice of each global batch."""
    share = GLOBAL_BATCH // world_size
    return [step * GLOBAL_BATCH + rank * share + slot for step in steps for slot in range(share)]


def in_order(ranks: Sequence[Loaded]) -> tuple[list[LoadedSample], list[dict[str, object]]]:
    samples = sorted(
        (sample for rank in ranks for sample in rank.samples), key=lambda sample: sample.position
    )
    bad = [entry for rank in ranks for entry in rank.quarantined]
    return samples, sorted(bad, key=lambda entry: int(str(entry["position"])))


@pytest.fixture(scope="module")
def alone(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[LoadedSample], list[dict[str, object]]]:
    """Return the samples and bad samples of a single rank without workers."""
    samples, bad = load_world(corpus, tmp_path_factory.mktemp("alone"), world_size=1, workers=0)
    assert [sample.position for sample in samples] == list(range(GLOBAL_BATCH * STEPS))
    assert len({entry["key"] for entry in bad}) == 3
    assert {view[0] for sample in samples for view in sample.views} == {True, False}
    assert all(len(sample.views) == 2 for sample in samples)
    digests = {view[2] for sample in samples for view in sample.views}
    assert len(digests) > 1.9 * len(samples), "the views of a sample differ, and so do samples"
    return samples, bad


@pytest.mark.parametrize(
    ("world_size", "workers"),
    [
        world if world in COVERING else pytest.param(*world, marks=pytest.mark.slow)
        for world in WORLDS
    ],
)
def test_world_size_and_workers_do_not_change_keys_or_pixels(
    corpus: Path,
    alone: tuple[list[LoadedSample], list[dict[str, object]]],
    tmp_path: Path,
    world_size: int,
    workers: int,
) -> None:
    assert load_world(corpus, tmp_path, world_size, workers) == alone


def test_resuming_on_4_then_2_then_1_ranks_equals_an_uninterrupted_run(
    corpus: Path, alone: tuple[list[LoadedSample], list[dict[str, object]]], tmp_path: Path
) -> None:
    parts = [
        load_world(corpus, tmp_path, world_size, workers, steps)
        for world_size, workers, steps in (
            (4, 1, range(0, 1)),
            (2, 2, range(1, 4)),
            (1, 3, range(4, STEPS)),
        )
    ]
    assert [sample for samples, _ in parts for sample in samples] == alone[0]
    assert [entry for _, bad in parts for entry in bad] == alone[1]
