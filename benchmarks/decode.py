"""Decode settings on the stored clips: what each is worth, one thread, in one interleaved run.

    .venv/bin/python benchmarks/decode.py --folder /tmp/surgrec-bench

The first row is what `surgrec.clips.decode` does; the others change one thing.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from corpus import prepare_corpus

from surgrec.cli import parse
from surgrec.clips import Box, torchcodec_classes
from surgrec.shards import open_corpus

TIMES = [0.5 + frame / 6.25 for frame in range(16)]
BOX = Box(top=16, left=100, height=224, width=224)


@dataclass(frozen=True, kw_only=True)
class Decode:
    """What is decoded, and how often."""

    folder: Path
    """Of benchmarks/loader.py."""
    clips: int = 40
    """Per setting and round."""
    rounds: int = 7
    """Every setting once per round."""


def frames(
    mp4: bytes, *, seek_mode: str = "exact", threads: int = 1, crop: bool = True
) -> torch.Tensor:
    decoder_class, fixed_crop = torchcodec_classes()
    transforms = [fixed_crop(BOX)] if crop else []
    decoder = decoder_class(
        mp4, num_ffmpeg_threads=threads, seek_mode=seek_mode, transforms=transforms
    )
    found: torch.Tensor = decoder.get_frames_played_at(seconds=TIMES).data
    return found if crop else found[:, :, 16:240, 100:324].contiguous()


SETTINGS: dict[str, Callable[[bytes], torch.Tensor]] = {
    "as surgrec decodes": frames,
    "seek_mode approximate": lambda mp4: frames(mp4, seek_mode="approximate"),
    "two ffmpeg threads": lambda mp4: frames(mp4, threads=2),
    "crop after decoding": lambda mp4: frames(mp4, crop=False),
}


def main(config: Decode) -> None:
    """Measures and prints."""
    torch.set_num_threads(1)
    corpus = prepare_corpus(config.folder, clips=2000)
    source = next(iter(open_corpus([corpus.stored]).values()))
    samples = [
        source.index.sample(row) for row in islice(range(source.index.num_rows), config.clips)
    ]
    mp4s = [
        source.store.read_range(f"{source.name}/{sample.shard}", sample.mp4_offset, sample.mp4_size)
        for sample in samples
    ]
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(config.rounds):
        for name, decode in SETTINGS.items():
            began = time.perf_counter()
            for mp4 in mp4s:
                decode(mp4)
            rates[name].append(len(mp4s) / (time.perf_counter() - began))
    ours = rates["as surgrec decodes"]
    for name, found in rates.items():
        ratio = statistics.median(rate / own for rate, own in zip(found, ours, strict=True))
        print(f"{name:24} {statistics.median(found):6.1f} clips/s   {ratio:.2f} of ours")


if __name__ == "__main__":
    main(parse(Decode))
