import gc
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange

from surgrec.clips import ClipBatch
from surgrec.clips.frame_memory import Block, FrameMemory, PackedBatch

SIZES = [(10, 12), (7, 5), (1, 1)]


def decoded(value: int, sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Clips of four frames of random colors in the memory layout of the decoder: channels last."""
    chance = torch.Generator().manual_seed(value)
    stored = [
        torch.randint(0, 256, (4, *size, 3), dtype=torch.uint8, generator=chance) for size in sizes
    ]
    return [rearrange(frames, "t h w c -> t c h w") for frames in stored]


def made_in(block: Block, value: int, sizes: list[tuple[int, int]]) -> ClipBatch:
    return ClipBatch(
        positions=np.arange(len(sizes)),
        keys=[f"alpha_{value}"] * len(sizes),
        sources=["alpha"] * len(sizes),
        frames=[block.add(frames) for frames in decoded(value, sizes)],
        flipped=[False] * len(sizes),
        quarantined=[],
    )


def sent(
    memory: FrameMemory, value: int, sizes: list[tuple[int, int]] = SIZES
) -> tuple[ClipBatch, bool]:
    """A batch as it arrives, and whether it went through a block."""
    block = memory.free_block(0)
    packed = memory.pack(made_in(block, value, sizes), block)
    return pickle.loads(pickle.dumps(packed)), isinstance(packed, PackedBatch)


def is_equal(batch: ClipBatch, value: int, sizes: list[tuple[int, int]] = SIZES) -> bool:
    return batch.keys[0] == f"alpha_{value}" and all(
        torch.equal(found, made) and found.stride() == made.stride()
        for found, made in zip(batch.frames, decoded(value, sizes), strict=True)
    )


def places(batch: ClipBatch) -> set[int]:
    return {frames.untyped_storage().data_ptr() for frames in batch.frames}


def content(kept: torch.Tensor | np.ndarray | torch.UntypedStorage) -> bytes:
    return bytes(kept) if isinstance(kept, torch.UntypedStorage) else np.asarray(kept).tobytes()


@pytest.fixture
def memory() -> Any:
    """Of one worker with two blocks."""
    memory = FrameMemory(workers=1, blocks=2)
    yield memory
    memory.close()


def test_a_batch_arrives_as_it_was_made(memory: FrameMemory) -> None:
    batch, in_block = sent(memory, 1)
    assert in_block
    assert is_equal(batch, 1)


def test_memory_of_a_batch_that_is_gone_is_filled_again(memory: FrameMemory) -> None:
    seen = set()
    for value in range(20):
        batch, in_block = sent(memory, value)
        assert in_block
        assert is_equal(batch, value)
        seen |= places(batch)
        del batch
    assert len(seen) == 1, "the first block was always free again"


@pytest.mark.parametrize(
    "kept_of",
    [
        lambda batch: batch.frames[2],
        lambda batch: batch.frames[0][1:2, :, 3:],
        lambda batch: batch.frames[1].numpy(),
        lambda batch: rearrange(batch.frames[0], "t c h w -> c t h w"),
        lambda batch: batch.frames[0].untyped_storage(),
    ],
    ids=["a clip", "a slice", "an array", "another view", "the storage"],
)
def test_what_is_kept_of_a_batch_is_never_overwritten(memory: FrameMemory, kept_of: Any) -> None:
    batch, _ = sent(memory, 1)
    kept = kept_of(batch)
    before = content(kept)
    del batch
    gc.collect()
    later = [sent(memory, value)[0] for value in range(2, 12)]
    assert content(kept) == before
    assert all(is_equal(batch, value) for value, batch in enumerate(later, 2))


def test_batches_that_are_all_kept_travel_in_memory_of_their_own(memory: FrameMemory) -> None:
    kept = [sent(memory, value) for value in range(1, 6)]
    assert [in_block for _, in_block in kept] == [True, True, False, False, False]
    assert all(is_equal(batch, value) for value, (batch, _) in enumerate(kept, 1))
    del kept[0]
    assert sent(memory, 9)[1], "the block of the one that is gone is used"


def test_a_larger_batch_makes_its_block_larger(memory: FrameMemory) -> None:
    larger = [(64, 64)] * 40
    assert is_equal(sent(memory, 1)[0], 1)
    for value in (2, 3):
        batch, in_block = sent(memory, value, larger)
        assert in_block
        assert is_equal(batch, value, larger)
        del batch
    assert is_equal(sent(memory, 4)[0], 4), "and smaller ones still fit"


def test_a_batch_that_half_fits_is_whole_when_it_is_sent_after_the_next_is_made(
    memory: FrameMemory,
) -> None:
    """A worker's batches are pickled by another thread, at any time after they were packed."""
    sent(memory, 0)
    larger = [*SIZES, (64, 64), *SIZES]
    first = memory.free_block(0)
    packed = memory.pack(made_in(first, 1, larger), first)
    second = memory.free_block(0)
    assert second.number != first.number
    following = memory.pack(made_in(second, 2, larger), second)
    assert is_equal(pickle.loads(pickle.dumps(packed)), 1, larger)
    assert is_equal(pickle.loads(pickle.dumps(following)), 2, larger)


def test_a_forked_process_that_lets_go_of_a_batch_does_not_give_its_block_back(
    memory: FrameMemory,
) -> None:
    kept = [sent(memory, 1)[0]]
    child = multiprocessing.get_context("fork").Process(target=kept.clear)
    child.start()
    child.join()
    assert child.exitcode == 0
    later = [sent(memory, value)[0] for value in (2, 3)]
    assert is_equal(kept[0], 1)
    assert all(is_equal(batch, value) for value, batch in enumerate(later, 2))


def test_frames_outlive_the_loader(memory: FrameMemory) -> None:
    batch, in_block = sent(memory, 1)
    assert in_block
    memory.close()
    gc.collect()
    assert is_equal(batch, 1)


def test_every_worker_fills_its_own_blocks() -> None:
    memory = FrameMemory(workers=2, blocks=2)
    context = multiprocessing.get_context("fork")
    queues, all_received = [context.SimpleQueue() for _ in range(2)], context.Event()

    def work(worker: int) -> None:
        for value in range(6):
            block = memory.free_block(worker)
            queues[worker].put(memory.pack(made_in(block, 10 * worker + value, SIZES), block))
        all_received.wait(
            timeout=60
        )  # memory that is no block is asked of the process that made it

    workers = [context.Process(target=work, args=(worker,), daemon=True) for worker in range(2)]
    for each in workers:
        each.start()
    kept = {(worker, value): queues[worker].get() for value in range(6) for worker in range(2)}
    all_received.set()
    for each in workers:
        each.join()
    assert all(is_equal(batch, 10 * worker + value) for (worker, value), batch in kept.items())
    memory.close()
