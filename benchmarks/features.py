"""Features of stored clips, beside decoding alone and the encoder alone, in interleaved rounds.

    .venv/bin/python benchmarks/features.py --folder /tmp/surgrec-bench

All three use the same windows of the same clips. An extraction prepares the next batch in a thread
during the forward pass, so it can be as fast as the slower of both. Each round measures all three
in turn; a ratio is that of one round. Under other load the wall times say nothing. The processor
time of the busier thread then tells how fast an extraction would be with a free core per thread.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from corpus import prepare_corpus
from jaxtyping import Float
from torch import Tensor

from surgrec.cli import parse
from surgrec.clips import ClipSampling
from surgrec.errors import SampleError
from surgrec.features.corpora import JoinedClips
from surgrec.features.in_memory import features_of_videos, frozen
from surgrec.features.own_encoder import FrozenEncoder
from surgrec.models import ENCODER_SIZES, Encoder, EncoderConfig
from surgrec.shards import Sample, Source, open_corpus

BATCH = 16
"""Windows per forward pass."""
STRIDE_S = 10.0
"""Length of a stored clip, which has one window."""
FPS = 4.0
"""Frames per second of a window."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    clips: int = 500
    """Clips per round."""
    rounds: int = 5
    """Rounds; each measures all three."""
    size: Literal["tiny", "small", "base", "large"] = "small"
    """Size of the encoder."""
    crop_px: int = 224
    """Side of its input."""
    frames: int = 16
    """Frames of a window."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the encoder."""
    threads: int = 1
    """Threads of the forward pass on a CPU; the decoder has one of its own."""
    clips_per_video: int = 50
    """Clips that are one video. The next batch of a video is prepared ahead, not the next video."""


def main(config: Features) -> None:
    """Measure and print."""
    torch.set_num_threads(config.threads)
    device = torch.device(config.device)
    corpus = prepare_corpus(config.folder, clips=max(config.clips, 60))
    sources = open_corpus([corpus.stored])
    readers = list(joined_videos(sources, config))

    torch.manual_seed(0)
    encoder_config = EncoderConfig(
        **ENCODER_SIZES[config.size], num_frames=config.frames, crop_px=config.crop_px
    )
    sampling = ClipSampling(num_frames=config.frames, fps=FPS)
    with frozen(Encoder(encoder_config).to(device), sampling) as encoder:
        clips = torch.randn(BATCH, 3, config.frames, config.crop_px, config.crop_px, device=device)
        parts: dict[str, Callable[[], int]] = {
            "decode alone": lambda: decode_alone(readers, encoder),
            "encoder alone": lambda: encode_alone(clips, encoder, config.clips),
            "features": lambda: extract(readers, encoder),
        }
        report(parts, config.rounds)


def joined_videos(sources: dict[str, Source], config: Features) -> Iterator[JoinedClips]:
    """Yield videos of consecutive clips, each as long as a stored one."""
    samples = [
        source.index.sample(row)
        for source in sources.values()
        for row in range(source.index.num_rows)
    ]
    for first in range(0, config.clips, config.clips_per_video):
        members = samples[first : min(first + config.clips_per_video, config.clips)]
        yield JoinedClips([placed(sample, at) for at, sample in enumerate(members)], sources)


def placed(sample: Sample, number: int) -> Sample:
    """Return a clip as that of a number in its video."""
    return replace(sample, clip=replace(sample.clip, start_s=number * STRIDE_S))


class Videos:
    """The videos of an extraction, numbered."""

    def __init__(self, readers: Sequence[JoinedClips]) -> None:
        self._readers = readers

    def open(self, number: int) -> JoinedClips:
        """Return a video."""
        return self._readers[number]


def decode_alone(readers: Sequence[JoinedClips], encoder: FrozenEncoder) -> int:
    """Decode the frames of all windows, in the batches of an extraction. Return the windows."""
    count = 0
    offsets = np.arange(encoder.sampling.num_frames) / encoder.sampling.fps
    for reader in readers:
        starts = np.arange(0, reader.spans[-1][1] - encoder.sampling.span_s + 1e-3, STRIDE_S)
        for first in range(0, len(starts), BATCH):
            times = np.unique(np.round(starts[first : first + BATCH, None] + offsets, 6))
            assert not any(isinstance(piece.frames, SampleError) for piece in reader.pieces(times))
        count += len(starts)
    return count


def encode_alone(clips: Float[Tensor, "b c t h w"], encoder: FrozenEncoder, count: int) -> int:
    """Pass clips that are in memory through the encoder. Return their number."""
    calls = -(-count // BATCH)
    with torch.inference_mode():
        for _ in range(calls):
            encoder.features(clips).float().cpu()
    return calls * BATCH


def extract(readers: Sequence[JoinedClips], encoder: FrozenEncoder) -> int:
    """Extract features as `surgrec features` does, without its files. Return the windows."""
    videos: Any = Videos(readers)
    numbers: Any = range(len(readers))
    found = features_of_videos(
        videos,
        numbers,
        encoder,
        stride_s=STRIDE_S,
        precision="no",
        allow_repeated_frames=False,
    )
    assert not any(video.failed for video in found)
    return sum(len(video.start_s) for video in found)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds per window."""

    wall: float
    processor: float
    """Of all threads."""
    main: float
    """Processor time of the main thread, which prepares and encodes."""

    @property
    def busier(self) -> float:
        """Processor time of the busier of both threads."""
        return max(self.main, self.processor - self.main)


def measured(part: Callable[[], int]) -> Cost:
    """Run a part and return its cost."""
    clocks = (time.perf_counter, time.process_time, time.thread_time)
    began = [clock() for clock in clocks]
    count = part()
    ended = [clock() for clock in clocks]
    wall, processor, main = ((end - start) / count for start, end in zip(began, ended, strict=True))
    return Cost(wall=wall, processor=processor, main=main)


def report(parts: Mapping[str, Callable[[], int]], rounds: int) -> None:
    """Measure all parts in every round, and print medians of costs and of ratios."""
    costs: dict[str, list[Cost]] = {name: [] for name in parts}
    for number in range(rounds):
        names = list(parts)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            costs[name].append(measured(parts[name]))

    for name, found in costs.items():
        rate = 1 / statistics.median(cost.wall for cost in found)
        used = statistics.median(cost.processor for cost in found)
        print(f"{name:14} {rate:7.2f} windows/s   {1000 * used:8.1f} CPU ms/window", flush=True)

    rows = list(zip(*costs.values(), strict=True))
    wall = [max(decode.wall, encode.wall) / whole.wall for decode, encode, whole in rows]
    busy = [
        max(decode.processor, encode.processor) / whole.busier for decode, encode, whole in rows
    ]
    for words, ratios in (("by wall time", wall), ("by the busier thread", busy)):
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"features / slower part {words}: {statistics.median(ratios):.2f} ({each})")


if __name__ == "__main__":
    main(parse(Features))
