"""Memory through which workers hand over frames: mapped once and filled again, as fresh pages cost more than decoding saves."""

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

from surgrec.clips.batch import ClipBatch, clip_in

Place: TypeAlias = tuple[int, tuple[int, ...]]
"""Of a clip: where it begins in its block, and its shape."""

_ROOM = 5 / 4
"""Blocks are made this much larger than the largest batch so far: crops vary, and the next may be larger still."""
_receiving: "weakref.WeakValueDictionary[int, FrameMemory]" = weakref.WeakValueDictionary()


class FrameMemory:
    """Blocks of memory that workers fill and their parent reads; made before they are forked.

    A block is filled again only when nothing in the parent refers to its frames any more, whoever kept them: a batch that is held
    is never overwritten. The memory is anonymous (memfd), so the size of /dev/shm, which containers keep small, does not bound it.

    Args:
        workers: That fill blocks, each its own ones.
        blocks: Of each worker. While all are held, batches travel in memory of their own.
    """

    def __init__(self, workers: int, blocks: int) -> None:
        self._blocks = blocks
        self._files = [
            os.memfd_create(f"surgrec-frames-{number}") for number in range(workers * blocks)
        ]
        self._held = mmap.mmap(-1, len(self._files))
        """A byte per block, which all processes see: set by the worker that fills it, unset by the parent."""
        self._maps: dict[int, mmap.mmap] = {}
        """Blocks as this process has mapped them."""
        self._wanted = 0
        """Most bytes that a batch of this process needed."""
        _receiving[id(self)] = self

    def free_block(self, worker: int) -> "Block":
        """In a worker: one of its blocks that nobody holds, or, if all are held, one that is no memory."""
        own = range(worker * self._blocks, (worker + 1) * self._blocks)
        number = next((number for number in own if not self._held[number]), None)
        return Block(number, self._grown(number, self._wanted) if number is not None else None)

    def pack(self, batch: ClipBatch, block: "Block") -> "PackedBatch | ClipBatch":
        """In a worker: a batch to be sent, by its block. What did not fit there is added now, as the block can be made larger.

        A batch must be in its block as a whole: it is sent by another thread, while this one may fill a block that seems free.
        """
        self._wanted = max(self._wanted, sum(frames.numel() for frames in batch.frames))
        if block.number is None:
            return batch
        clips: list[Place] = []
        for frames in batch.frames:
            if block.holds(frames):
                start = int(frames.storage_offset())
            else:
                start = block.take(frames.numel())
                whole = _as_tensor(
                    self._grown(block.number, max(self._wanted, start + frames.numel()))
                )
                clip_in(whole, start, frames.shape).copy_(frames)
            clips.append((start, tuple(frames.shape)))
        self._held[block.number] = 1
        return PackedBatch(
            memory=id(self), block=block.number, clips=clips, fields=vars(batch) | {"frames": []}
        )

    def unpack(self, block: int, clips: list[Place]) -> list[UInt8[Tensor, "t c _ _"]]:
        """In the parent: clips of a block by place and shape. The block is free again when they and all their views are gone."""
        memory = self._mapped(block, max(start + math.prod(shape) for start, shape in clips))
        array = np.frombuffer(memory, dtype=np.uint8)
        weakref.finalize(array, _give_back, self._held, block, os.getpid()).atexit = False
        whole = torch.from_numpy(array)
        return [clip_in(whole, start, shape) for start, shape in clips]

    def close(self) -> None:
        """Lets go of the blocks. The memory of frames that are still held stays until they are gone."""
        self._maps.clear()
        while self._files:
            os.close(self._files.pop())

    def _grown(self, block: int, size: int) -> mmap.mmap | None:
        """A block as large as this or larger; None as long as there is nothing to be had in it."""
        if os.fstat(self._files[block]).st_size < size:
            os.ftruncate(self._files[block], int(size * _ROOM))
        return self._mapped(block, size) if size else None

    def _mapped(self, block: int, size: int) -> mmap.mmap:
        if block not in self._maps or len(self._maps[block]) < size:
            self._maps[block] = mmap.mmap(self._files[block], 0)
        return self._maps[block]


class Block:
    """Memory for the frames of one batch, in a worker. Threads may add to it."""

    def __init__(self, number: int | None, memory: mmap.mmap | None) -> None:
        self.number = number
        self._whole = _as_tensor(memory)
        self._end = 0
        self._taking = threading.Lock()

    def add(self, frames: UInt8[Tensor, "t c _ _"]) -> UInt8[Tensor, "t c _ _"]:
        """A copy of the frames in the block; where there is no room, the frames themselves."""
        with self._taking:
            has_room = self._end + frames.numel() <= len(self._whole)
            start = self._end
            self._end += frames.numel() if has_room else 0
        if not has_room:
            return frames
        return clip_in(self._whole, start, frames.shape).copy_(frames)

    def take(self, size: int) -> int:
        """Where the next so many bytes of the block begin, when all that has room is in it."""
        self._end += size
        return self._end - size

    def holds(self, frames: Tensor) -> bool:
        """Whether these frames are in the block."""
        return (
            len(self._whole) > 0
            and frames.untyped_storage().data_ptr() == self._whole.untyped_storage().data_ptr()
        )


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """A batch on its way from a worker; arrives as a ClipBatch."""

    memory: int
    block: int
    clips: list[Place]
    fields: dict[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.memory, self.block, self.clips, self.fields)


def _arrived(memory: int, block: int, clips: list[Place], fields: dict[str, Any]) -> ClipBatch:
    return ClipBatch(**(fields | {"frames": _receiving[memory].unpack(block, clips)}))


def _as_tensor(memory: mmap.mmap | None) -> UInt8[Tensor, " n"]:
    return (
        torch.empty(0, dtype=torch.uint8)
        if memory is None
        else torch.frombuffer(memory, dtype=torch.uint8)
    )


def _give_back(held: mmap.mmap, block: int, process: int) -> None:
    """Frees a block. A process that is forked from the parent inherits its batches, and has no say in this."""
    if os.getpid() == process:
        held[block] = 0
