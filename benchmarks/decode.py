"""Decode settings on the stored clips: the rate of each, in one interleaved run.

    .venv/bin/python benchmarks/decode.py --folder /tmp/surgrec-bench

The first row decodes as `surgrec.clips._decode` does; each other row changes one setting.
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
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    clips: int = 40
    """Clips per setting and round."""
    rounds: int = 7
    """Rounds; each measures every setting once."""


def frames(
    mp4: bytes, *, seek_mode: str = "exact", threads: int = 1, crop: bool = True
) -> torch.Tensor:
    decoder_class, fixed_crop = torchcodec_classes()
    transforms = [fixed_crop(BOX)] if crop else []
    decoder = decoder_class(
        mp4, num_ffmpeg_threads=threads, seek_mode=seek_mode, transforms=transforms
    )
    decoded: torch.Tensor = decoder.get_frames_played_at(seconds=TIMES).data
    return decoded if crop else decoded[:, :, 16:240, 100:324].contiguous()


SETTINGS: dict[str, Callable[[bytes], torch.Tensor]] = {
    "as surgrec decodes": frames,
    "seek_mode approximate": lambda mp4: frames(mp4, seek_mode="approximate"),
    "two ffmpeg threads": lambda mp4: frames(mp4, threads=2),
    "crop after decoding": lambda mp4: frames(mp4, crop=False),
}


def main(config: Decode) -> None:
    """Measure and print."""
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

    default = rates["as surgrec decodes"]
    for name, measured in rates.items():
        ratio = statistics.median(rate / base for rate, base in zip(measured, default, strict=True))
        print(f"{name:24} {statistics.median(measured):6.1f} clips/s   {ratio:.2f} of the default")


if __name__ == "__main__":
    main(parse(Decode))
