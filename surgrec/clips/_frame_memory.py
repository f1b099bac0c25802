"""Shared memory through which workers pass frames to the training process.

Buffers are mapped once and reused: page faults on fresh memory cost more than the copy itself.
"""

import math
import mmap
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from surgrec.clips._batch import ClipBatch, clip_at
from surgrec.clips.loader_memory import HEADROOM

ClipLocation: TypeAlias = tuple[int, tuple[int, ...]]
"""Start of a clip in its buffer, bytes, and the shape of the clip."""

_receivers: "weakref.WeakValueDictionary[int, FrameMemory]" = weakref.WeakValueDictionary()
"""Every FrameMemory by its id, which survives the fork: PackedBatch finds the parent's side by
it."""


class FrameMemory:
    """Buffers that workers fill and their parent reads. Create it before the workers are forked.

    A buffer is reused only after the last reference to its frames in the parent is gone, so a batch
    is never overwritten while any code still holds it. The memory is anonymous (memfd): the size of
    /dev/shm, small in containers, does not limit it.

    Args:
        workers: Number of workers. Each fills its own buffers.
        buffers: Buffers per worker. While all of them are in use, batches travel in separate
            memory.
    """

    def __init__(self, workers: int, buffers: int) -> None:
        self._buffers = buffers
        self._files = [
            os.memfd_create(f"surgrec-frames-{index}") for index in range(workers * buffers)
        ]

        self._in_use = mmap.mmap(-1, len(self._files))
        """One byte per buffer, shared by all processes: set by the worker that fills it, cleared by
        the parent."""

        self._maps: dict[int, mmap.mmap] = {}
        """The mappings of this process, by buffer."""
        self._largest = 0
        """Size of the largest batch of this process, bytes."""
        _receivers[id(self)] = self

    def free_buffer(self, worker: int) -> "FrameBuffer":
        """Return a free buffer of this worker, or an empty placeholder if all are in use.

        Call it in the worker.
        """
        indices = range(worker * self._buffers, (worker + 1) * self._buffers)
        index = next((index for index in indices if not self._in_use[index]), None)
        return FrameBuffer(index, None if index is None else self._grow(index, self._largest))

    def pack(self, batch: ClipBatch, buffer: "FrameBuffer") -> "PackedBatch | ClipBatch":
        """Prepare a batch for sending through its buffer. Call it in the worker.

        Clips that did not fit before are copied now, into the enlarged buffer. The packed batch
        must be entirely in its buffer: another thread sends it, possibly while this one already
        fills the next free buffer.

        Returns:
            The packed batch, or `batch` itself if `buffer` is a placeholder.
        """
        self._largest = max(self._largest, sum(frames.numel() for frames in batch.frames))
        if buffer.index is None:
            return batch

        # Locate each clip; copy the ones that are not in the buffer yet.
        locations: list[ClipLocation] = []
        for frames in batch.frames:
            if buffer.holds(frames):
                start = int(frames.storage_offset())
            else:
                start = buffer.reserve(frames.numel())
                size = max(self._largest, start + frames.numel())
                clip_at(_as_tensor(self._grow(buffer.index, size)), start, frames.shape).copy_(
                    frames
                )
            locations.append((start, tuple(frames.shape)))

        # From here on the buffer belongs to the parent.
        self._in_use[buffer.index] = 1
        return PackedBatch(
            memory=id(self),
            buffer=buffer.index,
            clips=locations,
            fields=vars(batch) | {"frames": []},
        )

    def unpack(self, buffer: int, clips: list[ClipLocation]) -> list[UInt8[Tensor, "t c _ _"]]:
        """Return the clips of a buffer. Call it in the parent.

        The buffer is free again when these tensors and all views of them are gone.
        """
        memory = self._map(buffer, max(start + math.prod(shape) for start, shape in clips))
        array = np.frombuffer(memory, dtype=np.uint8)
        weakref.finalize(array, _release, self._in_use, buffer, os.getpid()).atexit = False
        whole = torch.from_numpy(array)
        return [clip_at(whole, start, shape) for start, shape in clips]

    def close(self) -> None:
        """Release the buffers.

        The memory of frames that are still in use stays until they are gone.
        """
        self._maps.clear()
        while self._files:
            os.close(self._files.pop())

    def _grow(self, buffer: int, size: int) -> mmap.mmap | None:
        """Return a buffer of at least `size` bytes, or None if `size` is 0."""
        if os.fstat(self._files[buffer]).st_size < size:
            os.ftruncate(self._files[buffer], int(size * HEADROOM))
        return self._map(buffer, size) if size else None

    def _map(self, buffer: int, size: int) -> mmap.mmap:
        if buffer not in self._maps or len(self._maps[buffer]) < size:
            self._maps[buffer] = mmap.mmap(self._files[buffer], 0)
        return self._maps[buffer]


class FrameBuffer:
    """Memory for the frames of one batch, used by one worker.

    Several threads may call `add` at once.

    Args:
        index: Number of the buffer within its FrameMemory; None makes an empty placeholder.
        memory: The mapped memory; None if the buffer has no memory yet.
    """

    def __init__(self, index: int | None, memory: mmap.mmap | None) -> None:
        self.index = index
        self._whole = _as_tensor(memory)
        self._end = 0
        self._reserving = threading.Lock()

    def add(self, frames: UInt8[Tensor, "t c _ _"]) -> UInt8[Tensor, "t c _ _"]:
        """Copy frames into the buffer and return the copy.

        If the buffer is full, return `frames` itself.
        """
        with self._reserving:
            fits = self._end + frames.numel() <= len(self._whole)
            start = self._end
            self._end += frames.numel() if fits else 0

        if not fits:
            return frames
        return clip_at(self._whole, start, frames.shape).copy_(frames)

    def reserve(self, size: int) -> int:
        """Reserve `size` bytes and return their offset.

        Call it after every clip that fits was added.
        """
        self._end += size
        return self._end - size

    def holds(self, frames: Tensor) -> bool:
        """Return whether these frames are in the buffer."""
        return (
            len(self._whole) > 0
            and frames.untyped_storage().data_ptr() == self._whole.untyped_storage().data_ptr()
        )


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """A batch on its way from a worker to the parent. Unpickling it yields a ClipBatch."""

    memory: int
    """Id of the FrameMemory."""
    buffer: int
    """Number of the buffer that holds the frames."""
    clips: list[ClipLocation]
    fields: dict[str, Any]
    """All fields of the ClipBatch; `frames` is empty."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.memory, self.buffer, self.clips, self.fields)


def _unpickle(
    memory: int, buffer: int, clips: list[ClipLocation], fields: dict[str, Any]
) -> ClipBatch:
    return ClipBatch(**(fields | {"frames": _receivers[memory].unpack(buffer, clips)}))


def _as_tensor(memory: mmap.mmap | None) -> UInt8[Tensor, " n"]:
    if memory is None:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(memory, dtype=torch.uint8)


def _release(in_use: mmap.mmap, buffer: int, process: int) -> None:
    """Mark a buffer as free.

    A process forked from the parent inherits its batches, but must not free their buffers.
    """
    if os.getpid() == process:
        in_use[buffer] = 0
