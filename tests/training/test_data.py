"""From a run's config to what a rank draws."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from surgrec.clips import LoaderConfig, clip_batches
from surgrec.errors import MixtureError
from surgrec.stream import Mixture
from surgrec.training import open_data
from tests.training.test_run_config import RUN

TINY = replace(
    RUN,
    encoder=replace(RUN.encoder, num_frames=8, crop_px=64),
    mixture=Mixture(block=64),
    loader=LoaderConfig(num_workers=0),
    global_batch=4,
)


def test_a_run_goes_on_with_the_positions_of_its_first_step(tiny_corpus: Path) -> None:
    accelerator = Accelerator(cpu=True)
    config = replace(TINY, corpus=str(tiny_corpus))
    whole, rest = open_data(config, accelerator, 0), open_data(config, accelerator, 3, views=2)
    assert [positions[0] for positions in whole.sampler] == [0, 4, 8, 12, 16]
    assert list(rest.sampler) == list(whole.sampler)[3:]
    first, resumed = (
        list(clip_batches(whole.dataset, whole.sampler)),
        list(clip_batches(rest.dataset, rest.sampler)),
    )
    assert [batch.keys for batch in resumed] == [batch.keys for batch in first[3:]]
    assert [len(batch.frames) for batch in (first[3], resumed[0])] == [4, 8]


def test_a_corpus_is_given_alone_or_in_a_list(tiny_corpus: Path) -> None:
    alone, listed = (
        open_data(replace(TINY, corpus=corpus), Accelerator(cpu=True), 0).stream.order.identity(20)
        for corpus in (str(tiny_corpus), [str(tiny_corpus)])
    )
    assert alone == listed


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sampling_fps": 1.0}, "the 8 s that a training clip spans"),
        ({"mixture": Mixture(block=64, max_repeats=0.1)}, "raise an alpha, shorten the run"),
    ],
)
def test_a_run_that_its_corpus_cannot_feed_is_refused(
    tiny_corpus: Path, changes: dict[str, Any], found: str
) -> None:
    with pytest.raises(MixtureError, match=found):
        open_data(replace(TINY, corpus=str(tiny_corpus), **changes), Accelerator(cpu=True), 0)
