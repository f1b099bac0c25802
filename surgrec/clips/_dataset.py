"""The dataset: positions in, a batch of clips out.

Its only state is a pool of threads and the bytes read ahead.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from surgrec.clips._batch import ClipBatch, Quarantined
from surgrec.clips._crop import Box, bounding_box
from surgrec.clips._decode import torchcodec_classes
from surgrec.clips._loader_config import LoaderConfig
from surgrec.clips._sampling import ClipSampling
from surgrec.clips.augment import AugmentConfig, View, draw_view
from surgrec.clips.loader_memory import RankBatch, StoredClips
from surgrec.clips.machine import require_machine
from surgrec.clips.windows import (
    BadClipError,
    ClipWindow,
    decode_window,
    fetch_windows,
    place_window,
)
from surgrec.errors import ConfigError, MachineError, SampleError, ShardError, SurgrecError
from surgrec.shards import Source
from surgrec.stream import Draw, Fetcher, ReadStats, Stream, hash_uniform, sample_key

_START = 1
"""The start time of a clip hashes the key of its first view with this number; `augment.py` uses
the following ones."""
_SUBSTITUTES = 10
"""Substitutes that are tried for a bad sample before the run stops."""
_PLANNED = 32
"""Batches whose draws are computed at once."""

Frames: TypeAlias = UInt8[Tensor, "t c _ _"]
StoreFrames: TypeAlias = Callable[[Frames], Frames]
"""Copies the frames of a view, a slice of the decoded frames, into their final memory."""


@dataclass(frozen=True)
class BatchRequest:
    """The positions of a part of a batch, and a forecast of what the same process makes next."""

    positions: tuple[int, ...]
    schedule: Sequence[tuple[int, ...]] = ()
    """The positions of all requests of the rank, in order."""
    number: int = 0
    """Place of this request in the schedule."""
    producers: int = 1
    """Workers or threads among which the requests go round."""
    all_threads: bool = False
    """Whether all decoding threads make this batch, or the calling thread alone."""

    def following(self, count: int) -> list[tuple[int, ...]]:
        """Return the positions of the next requests, at most `count`."""
        last = min(self.number + count * self.producers, len(self.schedule) - 1)
        numbers = range(self.number + self.producers, last + 1, self.producers)
        return [self.schedule[number] for number in numbers]

    @property
    def oldest(self) -> int:
        """The first position that another thread of this process may still need."""
        if not self.schedule:
            return self.positions[0]
        return self.schedule[max(0, self.number - self.producers)][0]


@dataclass(frozen=True, kw_only=True)
class _FetchedSamples:
    """The samples at some positions, and their bytes; all lists have one entry per position."""

    draws: list[Draw]
    windows: list[ClipWindow]
    mp4s: list[list[bytes | SampleError]]
    """The bytes of the clips of each window."""
    seconds: float
    """Duration of the reads."""


@dataclass(frozen=True)
class _DecodedSample:
    """All views of one sample."""

    views: list[View]
    frames: list[Frames]


@dataclass(kw_only=True)
class _ProcessState:
    """Threads and read-ahead bytes of one process."""

    fetcher: Fetcher
    decoders: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    read_ahead: dict[tuple[int, ...], Future[_FetchedSamples]] = field(default_factory=dict)
    """Reads under way, by the positions of their batch."""
    planned: dict[int, Draw] = field(default_factory=dict)
    """Draws that are already computed, by position."""


class ClipDataset:
    """Source of the batches of a stream: `views` random views of each sample.

    All views of a sample show the same moments. `clip_batches` drives the dataset with workers or
    threads. It is not a `torch.utils.data.Dataset`, because a stream has no length. A plain
    DataLoader takes it with the positions of a rank, and may spawn its workers:
    `DataLoader(dataset, sampler=StepSampler(...), batch_size=None)`.

    Args:
        stream: The order of the samples.
        sampling: Frames of a clip.
        augment: Distribution of the views.
        config: Workers, threads and cache.
        views: Clips per sample.
        join_clips: Whether a stored clip shorter than a training clip continues in adjacent ones.

    Raises:
        SetupError: torchcodec is missing, or cannot load an FFmpeg library.

    Example:
        ```python
        dataset = ClipDataset(
            stream, ClipSampling(), AugmentConfig(), LoaderConfig(num_workers=0)
        )
        batch = dataset[[0, 1, 2, 3]]
        ```
    """

    def __init__(
        self,
        stream: Stream,
        sampling: ClipSampling,
        augment: AugmentConfig,
        config: LoaderConfig,
        views: int = 1,
        *,
        join_clips: bool = False,
    ) -> None:
        self.stream = stream
        self.sampling = sampling
        self.augment = augment
        self.config = config
        self.views = views
        self.join_clips = join_clips
        torchcodec_classes()  # fail here, not in a worker
        if join_clips:  # find them here, not in each worker
            for source in stream.sources:
                stream.stretches(source)
        self._processes: dict[int, _ProcessState] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the threads, which cannot be pickled and are created again on first use."""
        return vars(self) | {"_processes": {}}

    def rank_batch(self, samples: int, parts: int = 1) -> RankBatch:
        """Return the facts that decide the memory of batches of `samples`, taken in parts."""
        sources = [source for source in self.stream.sources.values() if source.index.num_rows]
        height, width = max(map(_largest_frame, sources), key=math.prod)
        mp4_bytes = max(map(self._encoded_bytes, sources))
        return RankBatch(
            samples=samples,
            views=self.views,
            num_frames=self.sampling.num_frames,
            augment=self.augment,
            stored=StoredClips(height=height, width=width, mp4_bytes=mp4_bytes),
            parts=parts,
        )

    def __getitem__(self, positions: int | Sequence[int]) -> ClipBatch:
        """Return the batch of one or several positions of the stream.

        Raises:
            ConfigError: There is no position, or a negative one.
            StorageError: A shard cannot be read.
            ShardError: A shard does not match its index, or a sample and its substitutes are bad.
        """
        several = np.atleast_1d(positions).tolist()
        if not several or min(several) < 0:
            raise ConfigError(f"a batch of the positions {several}; give positions from 0 on")
        return self.batch(BatchRequest(positions=tuple(several)))

    def batch_or_error(
        self, request: BatchRequest, store: StoreFrames | None = None
    ) -> ClipBatch | SurgrecError:
        """Return the batch, or the error as a value.

        An error that a worker raises would arrive as a page of tracebacks.
        """
        try:
            return self.batch(request, store)
        except SurgrecError as error:
            return error
        except (MemoryError, RuntimeError, OSError) as error:
            try:
                require_machine(error, "a batch cannot be made")
            except MachineError as failure:
                return failure
            raise

    def batch(self, request: BatchRequest, store: StoreFrames | None = None) -> ClipBatch:
        """Make the batch of a request, and read the bytes of the following ones meanwhile.

        Args:
            request: The positions.
            store: Copies each view into its final memory. By default each view gets new memory.

        Raises:
            StorageError: A shard cannot be read.
            ShardError: A shard does not match its index, or a sample and its substitutes are bad.
            MachineError: Memory ran out.
        """
        process = self._process()
        store = store or _to_new_memory

        # Wait for the bytes.
        started = time.perf_counter()
        fetched = self._take(process, request)
        fetched_at = time.perf_counter()
        draws, windows = fetched.draws, list(fetched.windows)

        # Decode, with one RNG key per view.
        keys = [
            [sample_key(self.stream.order.seed, draw.position, view) for view in range(self.views)]
            for draw in draws
        ]
        run = process.decoders.map if request.all_threads else map
        results = list(run(self._decode_or_error, keys, windows, fetched.mp4s, repeat(store)))

        # Replace bad samples.
        quarantined: list[Quarantined] = []
        decoded: list[_DecodedSample] = []
        for index, result in enumerate(results):
            if isinstance(result, BadClipError):
                windows[index], result = self._substitute(
                    draws[index], keys[index], windows[index], result, quarantined, store
                )
            decoded.append(result)

        times = ReadStats(
            fetch_s=fetched.seconds,
            fetch_wait_s=fetched_at - started,
            decode_s=time.perf_counter() - fetched_at,
        )
        return ClipBatch(
            positions=np.asarray(request.positions, dtype=np.int64),
            keys=[window.sample.key for window in windows],
            sources=[draw.source for draw in draws],
            frames=[frames for sample in decoded for frames in sample.frames],
            views=[view for sample in decoded for view in sample.views],
            quarantined=quarantined,
            read_stats=process.fetcher.take_read_stats() + times,
        )

    def discard_read_ahead(self) -> None:
        """Drop the bytes that this process has read for batches that will not be requested."""
        self._process().read_ahead.clear()

    def _take(self, process: _ProcessState, request: BatchRequest) -> _FetchedSamples:
        """Return the bytes of a batch, read ahead or now.

        The reads of later batches start before this method waits.
        """
        following = request.following(self.config.fetch_ahead)
        planned = self._plan(process, request, [request.positions, *following])
        pending = process.read_ahead.pop(request.positions, None)

        # Drop reads that were announced but never requested. Recent ones may belong to other
        # threads.
        oldest = request.oldest
        for stale in [positions for positions in list(process.read_ahead) if positions[0] < oldest]:
            process.read_ahead.pop(stale, None)

        # Start reading the following batches.
        for positions in following:
            if positions not in process.read_ahead:
                draws = [planned[position] for position in positions]
                process.read_ahead[positions] = process.readers.submit(
                    self._fetch, process.fetcher, draws
                )

        if pending:
            return pending.result()
        return self._fetch(process.fetcher, [planned[position] for position in request.positions])

    def _plan(
        self, process: _ProcessState, request: BatchRequest, needed: Sequence[tuple[int, ...]]
    ) -> dict[int, Draw]:
        """Return the draws at the needed positions, by position.

        Computing a few draws takes as long as thousands, so the draws of many batches are computed
        at once.
        """
        planned = process.planned
        if all(position in planned for positions in needed for position in positions):
            return planned

        batches = [request.positions, *request.following(_PLANNED)]
        positions = [position for batch in batches for position in batch]
        draws = self.stream.draws(np.asarray(positions, dtype=np.int64))

        # Keep recent draws: each thread plans its own batches.
        oldest = request.oldest
        recent = {position: draw for position, draw in planned.items() if position >= oldest}
        process.planned = recent | {draw.position: draw for draw in draws}
        return process.planned

    def _fetch(self, fetcher: Fetcher, draws: list[Draw]) -> _FetchedSamples:
        started = time.perf_counter()
        windows = [self._window(draw) for draw in draws]
        mp4s = fetch_windows(fetcher, windows)
        seconds = time.perf_counter() - started
        return _FetchedSamples(draws=draws, windows=windows, mp4s=mp4s, seconds=seconds)

    def _window(self, draw: Draw) -> ClipWindow:
        """Return the window of a draw. The key of its first view decides where it starts."""
        return place_window(
            self.stream,
            draw.source,
            draw.row,
            self.sampling,
            hash_uniform(sample_key(self.stream.order.seed, draw.position), _START),
            join=self.join_clips,
        )

    def _encoded_bytes(self, source: Source) -> float:
        """Return the mean bytes of the stored clips of a window."""
        sizes, durations_s = (
            source.index.column(name).to_numpy() for name in ("mp4_size", "duration_s")
        )
        clips = 1 + self.sampling.span_s / durations_s.mean() if self.join_clips else 1
        return float(clips * sizes.mean())

    def _substitute(
        self,
        draw: Draw,
        view_keys: list[int],
        window: ClipWindow,
        error: BadClipError,
        quarantined: list[Quarantined],
        store: StoreFrames,
    ) -> tuple[ClipWindow, _DecodedSample]:
        """Return the first good substitute of a bad sample.

        The candidates depend on the position only. Each bad sample on the way is appended to
        `quarantined`.
        """
        for candidate in islice(self.stream.substitutes(draw), _SUBSTITUTES):
            bad, window = window, self._window(candidate)
            quarantined.append(
                Quarantined(
                    position=draw.position,
                    source=draw.source,
                    key=bad.sample.key,
                    clip=error.clip,
                    reason=str(error),
                    substitute=window.sample.key,
                )
            )

            (mp4s,) = fetch_windows(self._process().fetcher, [window])
            result = self._decode_or_error(view_keys, window, mp4s, store)
            if not isinstance(result, BadClipError):
                return window, result
            error = result

        raise ShardError(
            f"{draw.source}: a sample and all substitutes that were tried are bad, the last one "
            f"for this reason: {error}; run surgrec-shard verify --decode true"
        )

    def _decode_or_error(
        self,
        view_keys: list[int],
        window: ClipWindow,
        mp4s: list[bytes | SampleError],
        store: StoreFrames,
    ) -> _DecodedSample | BadClipError:
        """Decode the views of a sample, which share the times of their frames."""
        clip = window.sample.clip
        views = [draw_view(clip.height, clip.width, self.augment, key) for key in view_keys]

        # Decode once, the smallest box that contains all crops.
        whole = bounding_box([view.box for view in views])
        try:
            frames = decode_window(window, mp4s, whole)
        except BadClipError as error:
            return error
        return _DecodedSample(views, [store(_crop(frames, view.box, whole)) for view in views])

    def _process(self) -> _ProcessState:
        """Return the threads of this process, created on first use.

        A forked worker inherits the dead threads of its parent, and so gets new ones.
        """
        pid, config = os.getpid(), self.config
        if pid not in self._processes:
            # With workers each process makes one batch at a time; without, each thread does.
            producers = 1 if config.workers else config.decode_threads
            fetch_threads = producers * config.fetch_threads
            readers = producers * max(1, config.fetch_ahead)

            self._processes[pid] = _ProcessState(
                fetcher=Fetcher(self.stream.sources, fetch_threads, config.cache),
                decoders=ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode"),
                readers=ThreadPoolExecutor(readers, thread_name_prefix="read"),
            )
        return self._processes[pid]


def _largest_frame(source: Source) -> tuple[int, int]:
    """Return height and width of the largest frame of a source, pixels."""
    heights, widths = (source.index.column(name).to_numpy() for name in ("height", "width"))
    row = int(np.argmax(heights.astype(np.int64) * widths))
    return int(heights[row]), int(widths[row])


def _crop(frames: Frames, box: Box, whole: Box) -> Frames:
    """Return the part of decoded frames that `box` covers.

    `whole` is the box that was decoded.
    """
    top, left = box.top - whole.top, box.left - whole.left
    return frames[:, :, top : top + box.height, left : left + box.width]


def _to_new_memory(frames: Frames) -> Frames:
    """Return frames that own their memory, in the decoder's layout.

    Frames that are all of the decoded ones are not copied.
    """
    return frames.contiguous(memory_format=torch.channels_last)
