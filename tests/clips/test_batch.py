import pickle

import numpy as np
import torch
from einops import rearrange

from surgrec.clips import ClipBatch, Quarantined


def make_batch() -> ClipBatch:
    """Clips of three sizes in the memory layout of the decoder: channels last."""
    chance = torch.Generator().manual_seed(0)
    sizes = [(4, 10, 12), (4, 7, 5), (4, 1, 1)]
    stored = [
        torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=chance) for size in sizes
    ]
    return ClipBatch(
        positions=np.array([7, 8, 9]),
        keys=["alpha_1", "beta_1", "alpha_2"],
        sources=["alpha", "beta", "alpha"],
        frames=[rearrange(frames, "t h w c -> t c h w") for frames in stored],
        flipped=[True, False, True],
        quarantined=[
            Quarantined(position=8, source="beta", key="beta_0", reason="cut", substitute="beta_1")
        ],
    )


def test_a_batch_crosses_processes_as_it_was() -> None:
    batch = make_batch()
    arrived = pickle.loads(pickle.dumps(batch))
    assert arrived.positions.tolist() == [7, 8, 9]
    for name in ("keys", "sources", "flipped", "quarantined"):
        assert getattr(arrived, name) == getattr(batch, name)
    for sent, received in zip(batch.frames, arrived.frames, strict=True):
        assert torch.equal(sent, received)
        assert sent.stride() == received.stride()


def test_all_clips_of_an_arrived_batch_share_one_memory() -> None:
    arrived = pickle.loads(pickle.dumps(make_batch()))
    assert len({frames.untyped_storage().data_ptr() for frames in arrived.frames}) == 1
