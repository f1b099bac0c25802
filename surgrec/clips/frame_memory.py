"""Memory through which workers hand over frames: mapped once and filled again, as fresh pages cost more than decoding saves."""

import math
import mmap
import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from surgrec.clips.batch import ClipBatch

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
        self._files = [os.memfd_create(f"surgrec-frames-{number}") for number in range(workers * blocks)]
        self._held = mmap.mmap(-1, len(self._files))
        """A byte per block, which all processes see: set by the worker that fills it, unset by the parent."""
        self._maps: dict[int, mmap.mmap] = {}
        """Blocks as this process has mapped them."""
        self._wanted = 0
        """Most bytes that a batch of this process needed."""
        _receiving[id(self)] = self

    def free_block(self, worker: int) -> "Block":
        """In a worker: one of its blocks that nobody holds, or one without room."""
        own = range(worker * self._blocks, (worker + 1) * self._blocks)
        number = next((number for number in own if not self._held[number]), None)
        if number is None or not self._wanted:
            return Block(None, b"")
        if os.fstat(self._files[number]).st_size < self._wanted:
            os.ftruncate(self._files[number], int(self._wanted * _ROOM))
        return Block(number, self._mapped(number, self._wanted))

    def pack(self, batch: ClipBatch, block: "Block") -> "PackedBatch | ClipBatch":
        """In a worker: a batch to be sent, by the block that its frames are in, if all of them are."""
        self._wanted = max(self._wanted, sum(frames.numel() for frames in batch.frames))
        if block.number is None or not all(map(block.holds, batch.frames)):
            return batch
        self._held[block.number] = 1
        clips = [(int(frames.storage_offset()), tuple(frames.shape)) for frames in batch.frames]
        return PackedBatch(memory=id(self), block=block.number, clips=clips, fields=vars(batch) | {"frames": []})

    def unpack(self, block: int, clips: list[Place]) -> list[UInt8[Tensor, "t c _ _"]]:
        """In the parent: clips of a block by place and shape. The block is free again when they and all their views are gone."""
        memory = self._mapped(block, max(start + math.prod(shape) for start, shape in clips))
        array = np.frombuffer(memory, dtype=np.uint8)
        weakref.finalize(array, self._held.__setitem__, block, 0).atexit = False
        whole = torch.from_numpy(array)
        return [_clip(whole, start, shape) for start, shape in clips]

    def close(self) -> None:
        """Lets go of the blocks. The memory of frames that are still held stays until they are gone."""
        self._maps.clear()
        while self._files:
            os.close(self._files.pop())

    def _mapped(self, block: int, size: int) -> mmap.mmap:
        if block not in self._maps or len(self._maps[block]) < size:
            self._maps[block] = mmap.mmap(self._files[block], 0)
        return self._maps[block]


class Block:
    """Memory for the frames of one batch, in a worker."""

    def __init__(self, number: int | None, memory: mmap.mmap | bytes) -> None:
        self.number = number
        self._whole = torch.frombuffer(memory, dtype=torch.uint8) if number is not None else torch.empty(0)
        self._end = 0
        self._adding = threading.Lock()

    def add(self, frames: UInt8[Tensor, "t c _ _"]) -> UInt8[Tensor, "t c _ _"]:
        """A copy of the frames in the block; where there is no room, of their own memory."""
        with self._adding:
            start = self._end
            self._end += frames.numel()
        if start + frames.numel() > len(self._whole):
            return frames.contiguous(memory_format=torch.channels_last)
        return _clip(self._whole, start, frames.shape).copy_(frames)

    def holds(self, frames: Tensor) -> bool:
        """Whether these frames are in the block."""
        return frames.untyped_storage().data_ptr() == self._whole.untyped_storage().data_ptr()


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


def _clip(whole: UInt8[Tensor, " n"], start: int, shape: Iterable[int]) -> UInt8[Tensor, "t c _ _"]:
    """A clip at a place of a block, in the decoder's memory layout (channels last)."""
    t, c, h, w = shape
    part = whole[start : start + t * c * h * w]
    return rearrange(part, "(t h w c) -> t c h w", t=t, c=c, h=h, w=w)
