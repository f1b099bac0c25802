"""Real processes, real decoding, flips, two views, bad samples: the world and the workers change nothing of what is trained on."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from surgrec.clips import LoaderConfig, StepSampler
from surgrec.shards import open_corpus
from surgrec.stream import Level, Mixture, Stream
from surgrec.stream.mixture import Stage
from tests.support.loading import Load, Loaded, LoadedSample, load_ranks

GLOBAL_BATCH, STEPS = 8, 6
MIXTURE = Mixture(
    block=16,
    stages=[
        Stage(start=16, weights={"gamma": 3.0}),
        Stage(start=30, levels=[Level(by="source", alpha=0.0)]),
    ],
)
"""Three stages, of 16, 16 and 16 samples."""
WORLDS = [(world_size, workers) for world_size in (1, 2, 4) for workers in (0, 1, 2, 3)]
COVERING = {(1, 1), (1, 3), (2, 0), (2, 2), (4, 1)}
"""Every world size, every number of workers."""


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real corpus, with a bit flipped in some samples that the first steps draw."""
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
    """What the ranks of a world got together, in the order of the stream, and which samples were bad: a process per rank."""
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
    """The positions of a rank, by the contract's words: its slice of each global batch."""
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
    """One rank, no worker."""
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
def test_every_world_and_every_number_of_workers_gives_the_same_keys_and_pixels(
    corpus: Path,
    alone: tuple[list[LoadedSample], list[dict[str, object]]],
    tmp_path: Path,
    world_size: int,
    workers: int,
) -> None:
    assert load_world(corpus, tmp_path, world_size, workers) == alone


def test_a_run_resumed_on_4_then_2_then_1_ranks_through_its_stages_gives_what_one_without_a_break_gives(
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
