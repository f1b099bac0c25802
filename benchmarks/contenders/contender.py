"""What every contender shares: the job it gets, the one decode function, how it is measured. Needs torch and torchcodec only."""

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
"""Of a stored clip."""
FRAMES, SAMPLE_FPS, CROP_PX = 16, 6.25, 224
"""Of a training clip: every fourth frame at 25 fps, as the reference measurements have it."""
PREFETCH = 4
"""Batches per worker that are made ahead, of every contender that lets one choose."""
WARM_S = 2.0
MEMORY_S = 1.0

Open = Callable[["Job"], Iterator[Any]]
"""Gives batches: a tensor of clips, or a list of clips."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement of one contender."""

    corpus: str
    """The benchmark's folder."""
    cores: list[int]
    """Cores that the contender may use."""
    workers: int
    batch: int
    seconds: float
    """Of steady state; 0 stops at the first batch."""
    scratch: str
    """An empty folder, for caches."""
    s3: str = ""
    """Prefix of the bucket that holds the same as the folder; empty reads the folder."""
    clips: int = 0
    """Stored clips."""
    resume_step: int = 0
    form: str = ""
    """Originals of this resolution, where those are read."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the contender itself."""

    def at(self, name: str) -> str:
        """The address of something in the folder, or in the bucket."""
        return f"{self.s3 or self.corpus}/{name}"


def decode(mp4: bytes) -> torch.Tensor:
    """A training clip out of a stored one, uint8 [16, 3, 224, 224], at a random time and place."""
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
    """A crop at a fixed place, done by the decoder."""

    def __init__(self, top: int, left: int) -> None:
        self._place = top, left

    def _make_transform_spec(self, input_dims: tuple[int | None, int | None]) -> str:
        return f"crop, {CROP_PX}, {CROP_PX}, {self._place[1]}, {self._place[0]}"

    def _get_output_dims(self) -> tuple[int | None, int | None]:
        return CROP_PX, CROP_PX


def shards(job: Job) -> list[Path]:
    """The local shards of the stored corpus."""
    return sorted((Path(job.corpus) / "stored").glob("*/*.tar"))


def stored_clips(job: Job) -> Iterator[tuple[str, bytes]]:
    """Key and mp4 of every stored clip, for a contender's own format."""
    for shard in shards(job):
        with tarfile.open(shard) as tar:
            for member in tar:
                if member.name.endswith(".mp4"):
                    file = tar.extractfile(member)
                    assert file is not None, "it is a regular file"
                    yield member.name.removesuffix(".mp4"), file.read()


def main(
    open_batches: Open,
    convert: Callable[[Job], None] | None = None,
    before: Callable[[Job], None] | None = None,
) -> None:
    """What a contender's script does: it is measured, or told to `convert` the clips into its own format.

    `before` comes before a resume and is not measured: it makes the state that is resumed from.
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
    for process in descendants():  # what they still prefetch need not be waited for
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os._exit(0)


def measure(job: Job, open_batches: Open) -> dict[str, float]:
    """Seconds from nothing to the first batch, clips per second from then on, and memory.

    Processor time per clip tells loaders apart on a machine that others use too.
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
    """One epoch after the other."""
    while True:
        yield from epoch()


def skipped(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """What is left after so many batches."""
    next(islice(batches, count, count), None)
    return batches


def _consume(batches: Iterator[Sequence[torch.Tensor]], seconds: float) -> tuple[int, float]:
    """Clips of whole batches that came in about this time, and the time."""
    clips, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        clips += len(next(batches))
    return clips, passed


def _peak_pss_mb(batches: Iterator[Sequence[torch.Tensor]]) -> float:
    """Most memory of this process and its children while batches are made: shared pages count once."""
    peak, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < MEMORY_S:
        next(batches)
        peak = max(peak, tree_pss_mb())
    return peak
