import gc
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange

from surgrec.clips import ClipBatch
from surgrec.clips._frame_memory import FrameBuffer, FrameMemory, PackedBatch
from tests.support.batches import make_batch, random_clips

SIZES = [(10, 12), (7, 5), (1, 1)]


def batch_in(buffer: FrameBuffer, seed: int, sizes: list[tuple[int, int]]) -> ClipBatch:
    """Return a batch whose frames were added to a buffer."""
    frames = [buffer.add(clip) for clip in random_clips(sizes, seed=seed)]
    return make_batch(frames, key=f"alpha_{seed}")


def send(
    memory: FrameMemory, seed: int, sizes: list[tuple[int, int]] = SIZES
) -> tuple[ClipBatch, bool]:
    """Return a batch as the parent receives it, and whether it traveled in a buffer."""
    buffer = memory.free_buffer(0)
    packed = memory.pack(batch_in(buffer, seed, sizes), buffer)
    return pickle.loads(pickle.dumps(packed)), isinstance(packed, PackedBatch)


def is_intact(batch: ClipBatch, seed: int, sizes: list[tuple[int, int]] = SIZES) -> bool:
    return batch.keys[0] == f"alpha_{seed}_0" and all(
        torch.equal(received, original) and received.stride() == original.stride()
        for received, original in zip(batch.frames, random_clips(sizes, seed=seed), strict=True)
    )


def addresses(batch: ClipBatch) -> set[int]:
    return {frames.untyped_storage().data_ptr() for frames in batch.frames}


def content(kept: torch.Tensor | np.ndarray | torch.UntypedStorage) -> bytes:
    return bytes(kept) if isinstance(kept, torch.UntypedStorage) else np.asarray(kept).tobytes()


@pytest.fixture
def memory() -> Any:
    """One worker with two buffers."""
    memory = FrameMemory(workers=1, buffers=2)
    yield memory
    memory.close()


def test_a_batch_arrives_unchanged(memory: FrameMemory) -> None:
    batch, in_buffer = send(memory, 1)
    assert in_buffer
    assert is_intact(batch, 1)


def test_the_buffer_of_a_released_batch_is_reused(memory: FrameMemory) -> None:
    used = set()
    for seed in range(20):
        batch, in_buffer = send(memory, seed)
        assert in_buffer
        assert is_intact(batch, seed)
        used |= addresses(batch)
        del batch
    assert len(used) == 1, "the first buffer was always free again"


@pytest.mark.parametrize(
    "part_of",
    [
        lambda batch: batch.frames[2],
        lambda batch: batch.frames[0][1:2, :, 3:],
        lambda batch: batch.frames[1].numpy(),
        lambda batch: rearrange(batch.frames[0], "t c h w -> c t h w"),
        lambda batch: batch.frames[0].untyped_storage(),
    ],
    ids=["a clip", "a slice", "an array", "another view", "the storage"],
)
def test_any_part_of_a_batch_in_use_is_never_overwritten(memory: FrameMemory, part_of: Any) -> None:
    batch, _ = send(memory, 1)
    kept = part_of(batch)
    before = content(kept)
    del batch
    gc.collect()
    later = [send(memory, seed)[0] for seed in range(2, 12)]
    assert content(kept) == before
    assert all(is_intact(batch, seed) for seed, batch in enumerate(later, 2))


def test_with_all_buffers_in_use_batches_travel_in_separate_memory(memory: FrameMemory) -> None:
    kept = [send(memory, seed) for seed in range(1, 6)]
    assert [in_buffer for _, in_buffer in kept] == [True, True, False, False, False]
    assert all(is_intact(batch, seed) for seed, (batch, _) in enumerate(kept, 1))
    del kept[0]
    assert send(memory, 9)[1], "the buffer of the released batch is used"


def test_a_larger_batch_enlarges_its_buffer(memory: FrameMemory) -> None:
    larger = [(64, 64)] * 40
    assert is_intact(send(memory, 1)[0], 1)
    for seed in (2, 3):
        batch, in_buffer = send(memory, seed, larger)
        assert in_buffer
        assert is_intact(batch, seed, larger)
        del batch
    assert is_intact(send(memory, 4)[0], 4), "and smaller batches still fit"


def test_a_half_fitting_batch_is_whole_even_if_sent_after_the_next(memory: FrameMemory) -> None:
    """Another thread pickles a worker's batches, at any time after they were packed."""
    send(memory, 0)
    larger = [*SIZES, (64, 64), *SIZES]
    first = memory.free_buffer(0)
    packed = memory.pack(batch_in(first, 1, larger), first)
    second = memory.free_buffer(0)
    assert second.index != first.index
    following = memory.pack(batch_in(second, 2, larger), second)
    assert is_intact(pickle.loads(pickle.dumps(packed)), 1, larger)
    assert is_intact(pickle.loads(pickle.dumps(following)), 2, larger)


def test_a_forked_process_that_drops_a_batch_does_not_free_its_buffer(memory: FrameMemory) -> None:
    kept = [send(memory, 1)[0]]
    child = multiprocessing.get_context("fork").Process(target=kept.clear)
    child.start()
    child.join()
    assert child.exitcode == 0
    later = [send(memory, seed)[0] for seed in (2, 3)]
    assert is_intact(kept[0], 1)
    assert all(is_intact(batch, seed) for seed, batch in enumerate(later, 2))


def test_frames_outlive_the_loader(memory: FrameMemory) -> None:
    batch, in_buffer = send(memory, 1)
    assert in_buffer
    memory.close()
    gc.collect()
    assert is_intact(batch, 1)


def test_every_worker_fills_its_own_buffers() -> None:
    memory = FrameMemory(workers=2, buffers=2)
    context = multiprocessing.get_context("fork")
    queues, all_received = [context.SimpleQueue() for _ in range(2)], context.Event()

    def work(worker: int) -> None:
        for number in range(6):
            buffer = memory.free_buffer(worker)
            queues[worker].put(memory.pack(batch_in(buffer, 10 * worker + number, SIZES), buffer))
        # The parent asks the sender for memory that is not in a buffer.
        all_received.wait(timeout=60)

    workers = [context.Process(target=work, args=(worker,), daemon=True) for worker in range(2)]
    for process in workers:
        process.start()
    kept = {(worker, number): queues[worker].get() for number in range(6) for worker in range(2)}
    all_received.set()
    for process in workers:
        process.join()
    assert all(is_intact(batch, 10 * worker + number) for (worker, number), batch in kept.items())
    memory.close()
