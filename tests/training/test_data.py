"""A run's config determines the samples that each rank draws."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surgrec.clips import LoaderConfig, clip_batches
from surgrec.errors import MixtureError
from surgrec.stream import Mixture
from surgrec.training._data import RunData, open_data
from surgrec.training._run_config import RunConfig
from tests.training.test_run_config import RUN

TINY = replace(
    RUN,
    encoder=replace(RUN.encoder, num_frames=8, crop_px=64),
    mixture=Mixture(block=64),
    loader=LoaderConfig(num_workers=0),
    global_batch=4,
)


def alone(config: RunConfig, first_step: int = 0, views: int = 1) -> RunData:
    """The data of a run on one process."""
    return open_data(config, rank=0, world_size=1, first_step=first_step, views=views)


def test_a_resumed_run_starts_at_the_positions_of_its_first_step(tiny_corpus: Path) -> None:
    config = replace(TINY, corpus=str(tiny_corpus))
    whole, rest = alone(config), alone(config, first_step=3, views=2)
    assert [positions[0] for positions in whole.sampler] == [0, 4, 8, 12, 16]
    assert list(rest.sampler) == list(whole.sampler)[3:]
    first, resumed = (
        list(clip_batches(whole.dataset, whole.sampler)),
        list(clip_batches(rest.dataset, rest.sampler)),
    )
    assert [batch.keys for batch in resumed] == [batch.keys for batch in first[3:]]
    assert [len(batch.frames) for batch in (first[3], resumed[0])] == [4, 8]


def test_each_rank_draws_its_slice_of_the_global_batch(tiny_corpus: Path) -> None:
    config = replace(TINY, corpus=str(tiny_corpus))
    ranks = [open_data(config, rank=rank, world_size=2, first_step=1) for rank in range(2)]
    assert [next(iter(data.sampler)) for data in ranks] == [[4, 5], [6, 7]]


def test_a_corpus_is_given_alone_or_in_a_list(tiny_corpus: Path) -> None:
    single, listed = (
        alone(replace(TINY, corpus=corpus)).stream.order.identity(20)
        for corpus in (str(tiny_corpus), [str(tiny_corpus)])
    )
    assert single == listed


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sampling_fps": 1.0}, "the 8 s of a training clip"),
        ({"sampling_fps": 60.0}, "10 of 10 clips of alpha store 8 .* a training clip has 60"),
        ({"mixture": Mixture(block=64, max_repeats=0.1)}, "raise an alpha, shorten the run"),
    ],
)
def test_a_corpus_too_small_for_the_run_is_refused(
    tiny_corpus: Path, changes: dict[str, Any], found: str
) -> None:
    with pytest.raises(MixtureError, match=found):
        alone(replace(TINY, corpus=str(tiny_corpus), **changes))


def test_repeated_frames_can_be_allowed_and_are_counted_per_source(tiny_corpus: Path) -> None:
    config = replace(TINY, corpus=str(tiny_corpus), sampling_fps=16.0, allow_repeated_frames=True)
    data = alone(config)
    counts = [(row.source, row.clips, row.of, row.least_fps) for row in data.repeated]
    assert counts == [("alpha", 10, 10, 8.0), ("beta", 6, 6, 8.0), ("gamma", 10, 10, 8.0)]
    frames = next(iter(clip_batches(data.dataset, data.sampler))).frames
    assert len(frames) == 4
