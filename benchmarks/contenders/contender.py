"""Common code of all loaders: the job, the decode function and the measurement.

It needs torch and torchcodec only.
"""

import json
import os
import random
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torchvision.transforms.v2  # noqa: F401 - torchcodec imports it at its first crop; imports are not measured
from memory_use import descendants, tree_cpu_s, tree_pss_mb
from torchcodec.decoders import VideoDecoder
from torchcodec.transforms import DecoderTransform

HEIGHT, WIDTH, CLIP_S = 256, 456, 10.0
"""Size and length of a stored clip."""
FRAMES, SAMPLE_FPS, CROP_PX = 16, 6.25, 224
"""Training clip: every fourth frame at 25 fps, as in the reference measurements."""
PREFETCH = 4
"""Batches per worker made in advance, for every loader with such a setting."""
WARM_S = 2.0
MEMORY_S = 1.0

Open = Callable[["Job"], Iterator[Any]]
"""Return batches: a tensor of clips, or a list of clips."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement of one contender."""

    corpus: str
    """The folder of the benchmark."""
    cores: list[int]
    """Cores that the contender may use."""
    workers: int
    batch: int
    seconds: float
    """Duration of the steady state; 0 stops at the first batch."""
    scratch: str
    """An empty folder, for caches."""
    s3: str = ""
    """Prefix in the bucket with the same content as the folder; empty reads the folder."""
    clips: int = 0
    """Stored clips."""
    resume_step: int = 0
    form: str = ""
    """Resolution of the originals, for loaders that read those."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the loader."""

    def at(self, name: str) -> str:
        """Return an address in the folder or in the bucket."""
        return f"{self.s3 or self.corpus}/{name}"


def decode(mp4: bytes) -> torch.Tensor:
    """Decode a training clip, uint8 [16, 3, 224, 224], with a random start and crop."""
    start_s = random.uniform(0.0, CLIP_S - FRAMES / SAMPLE_FPS)
    crop = _Crop(random.randint(0, HEIGHT - CROP_PX), random.randint(0, WIDTH - CROP_PX))
    decoder = VideoDecoder(
        mp4, num_ffmpeg_threads=1, device="cpu", seek_mode="exact", transforms=[crop]
    )
    frames: torch.Tensor = decoder.get_frames_played_at(
        [start_s + frame / SAMPLE_FPS for frame in range(FRAMES)]
    ).data
    return frames


class _Crop(DecoderTransform):
    """Crop of a fixed box, applied by the decoder."""

    def __init__(self, top: int, left: int) -> None:
        self._top, self._left = top, left

    def _make_transform_spec(self, input_dims: tuple[int | None, int | None]) -> str:
        return f"crop, {CROP_PX}, {CROP_PX}, {self._left}, {self._top}"

    def _get_output_dims(self) -> tuple[int | None, int | None]:
        return CROP_PX, CROP_PX


def shards(job: Job) -> list[Path]:
    """Return the local shards of the stored corpus."""
    return sorted((Path(job.corpus) / "stored").glob("*/*.tar"))


def stored_clips(job: Job) -> Iterator[tuple[str, bytes]]:
    """Yield key and MP4 of every stored clip, for conversion to another format."""
    for shard in shards(job):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".mp4"):
                    file = tar.extractfile(member)
                    assert file is not None, "a regular file"
                    yield member.name.removesuffix(".mp4"), file.read()


def main(
    open_batches: Open,
    convert: Callable[[Job], None] | None = None,
    before: Callable[[Job], None] | None = None,
) -> None:
    """Run a loader's script: measure it, or `convert` the clips to its own format.

    `before` runs before a resume and is not measured: it makes the state to resume from.
    """
    job = Job(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, job.cores)
    torch.set_num_threads(1)

    if sys.argv[2:] == ["convert"]:
        if convert is not None:
            convert(job)
        return

    if job.resume_step and before is not None:
        before(job)
    result = measure(job, open_batches)
    print("RESULT " + json.dumps(result), flush=True)

    # Do not wait for prefetched batches.
    for process in descendants():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(0)


def measure(job: Job, open_batches: Open) -> dict[str, float]:
    """Measure seconds to the first batch, then clips per second, and memory.

    Processor time per clip tells loaders apart even on a machine under other load.
    """
    start = time.perf_counter()
    batches = open_batches(job)
    first = next(batches)
    first_batch_s = time.perf_counter() - start
    assert len(first) == job.batch, f"{len(first)} clips in a batch of {job.batch}"
    assert all(
        clip.shape == (FRAMES, 3, CROP_PX, CROP_PX) and clip.dtype == torch.uint8 for clip in first
    )

    if not job.seconds:
        return {"first_batch_s": first_batch_s}

    _consume(batches, WARM_S)
    cpu_s = tree_cpu_s()
    clips, seconds = _consume(batches, job.seconds)
    cpu_s = tree_cpu_s() - cpu_s
    return {
        "first_batch_s": first_batch_s,
        "clips_per_s": clips / seconds,
        "cpu_ms_per_clip": 1000 * cpu_s / clips,
        "pss_mb": _peak_pss_mb(batches),
    }


def endless(epoch: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield the batches of epoch after epoch."""
    while True:
        yield from epoch()


def skipped(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """Return the batches after the first `count`."""
    next(islice(batches, count, count), None)
    return batches


def _consume(batches: Iterator[Sequence[torch.Tensor]], seconds: float) -> tuple[int, float]:
    """Count the clips of whole batches in about `seconds`; return count and duration."""
    clips, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        clips += len(next(batches))
    return clips, passed


def _peak_pss_mb(batches: Iterator[Sequence[torch.Tensor]]) -> float:
    """Return the peak memory of this process and its children; shared pages count once."""
    peak, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < MEMORY_S:
        next(batches)
        peak = max(peak, tree_pss_mb())
    return peak
