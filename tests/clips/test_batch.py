import pickle
from dataclasses import replace

import numpy as np
import torch

from surgrec.clips import ClipBatch, Quarantined
from tests.support.batches import make_batch, random_clips


def three_clips() -> ClipBatch:
    """Return clips of three sizes with a value in every field."""
    bad = Quarantined(
        position=8, source="beta", key="beta_0", clip="beta_0", reason="cut", substitute="beta_1"
    )
    batch = make_batch(
        random_clips([(10, 12), (7, 5), (1, 1)]), flips=[True, False, True], quarantined=[bad]
    )
    return replace(
        batch,
        positions=np.array([7, 8, 9]),
        keys=["alpha_1", "beta_1", "alpha_2"],
        sources=["alpha", "beta", "alpha"],
    )


def test_pickling_a_batch_changes_nothing() -> None:
    batch = three_clips()
    received = pickle.loads(pickle.dumps(batch))
    assert received.positions.tolist() == [7, 8, 9]
    for name in ("keys", "sources", "views", "quarantined", "read_stats"):
        assert getattr(received, name) == getattr(batch, name)
    for before, after in zip(batch.frames, received.frames, strict=True):
        assert torch.equal(before, after)
        assert before.stride() == after.stride()


def test_all_clips_of_a_received_batch_share_one_memory() -> None:
    received = pickle.loads(pickle.dumps(three_clips()))
    assert len({frames.untyped_storage().data_ptr() for frames in received.frames}) == 1
