"""Which clips of a corpus a page shows, always the same ones, and their frames."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from surgrec.clips import Box, ClipSampling, central_crop, decode_clip
from surgrec.errors import SampleError
from surgrec.manifest import SPLITS
from surgrec.normalize import normalize
from surgrec.shards import Sample, Source

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class ChosenSamples:
    """Clips to show, over all domains."""

    samples: list[tuple[Source, Sample]]
    held_out: bool
    """Whether they are of splits that the run does not draw from; if not, there are none such."""


@dataclass(frozen=True, kw_only=True)
class ShownClips:
    """Clips as an encoder takes them."""

    samples: list[Sample]
    pixels: Float[Tensor, "b c t h w"]
    """Normalized; the central square of each frame."""
    bad: list[str]
    """Why others are not among them."""


def choose_samples(
    sources: Mapping[str, Source], *, drawn_splits: Sequence[str], min_duration_s: float, count: int
) -> ChosenSamples:
    """At most `count` clips that a run is not trained on: of all domains in turn, their sources and their videos.

    Args:
        sources: Of the run's corpora.
        drawn_splits: Stored splits that the run draws from.
        min_duration_s: Shorter clips are not taken.
        count: How many.
    """
    others = [split for split in SPLITS if split not in drawn_splits]
    for splits in (others, drawn_splits):
        domains: dict[str, list[list[tuple[Source, Sample]]]] = defaultdict(list)
        for source in sources.values():
            rows = source.index.rows(splits=splits, min_duration_s=min_duration_s)
            domains[source.entry.domain].append(
                [(source, sample) for sample in spread_samples(source, rows, count)]
            )
        samples = in_turn([in_turn(of_domain) for of_domain in domains.values()])[:count]
        if samples:
            return ChosenSamples(samples=samples, held_out=splits is others)
    return ChosenSamples(samples=[], held_out=False)


def spread_samples(source: Source, rows: Int64[np.ndarray, " n"], count: int) -> list[Sample]:
    """At most `count` of these rows of a source, from as many of its videos as possible, and always the same ones."""
    videos = np.asarray(source.index.column("video").to_numpy(zero_copy_only=False), dtype=str)[
        rows
    ]
    turn = np.empty(
        len(videos), dtype=np.int64
    )  # how many rows of the same video stand before this one
    for video in np.unique(videos):
        own = np.flatnonzero(videos == video)
        turn[own] = np.arange(len(own))
    chosen = rows[np.lexsort((videos, turn))[:count]]
    return [source.index.sample(int(row)) for row in chosen]


def in_turn(groups: Sequence[Sequence[Item]]) -> list[Item]:
    """The first of every group, then the second of every group that has one, and so on."""
    absent = object()
    turns = chain.from_iterable(zip_longest(*groups, fillvalue=absent))
    return [item for item in turns if item is not absent]  # type: ignore[misc]  # what is not absent is an Item


def read_clips(chosen: ChosenSamples, sampling: ClipSampling, crop_px: int) -> ShownClips:
    """The middle of each clip; one that cannot be decoded is left out and named.

    Raises:
        StorageError: A shard cannot be read.
    """
    samples, bad = [], []
    pixels = [torch.empty(0, 3, sampling.num_frames, crop_px, crop_px)]
    for source, sample in chosen.samples:
        times = sampling.times(sample.clip.duration_s, offset=0.5)
        try:
            frames = read_frames(
                source, sample, times, central_crop(sample.clip.height, sample.clip.width)
            )
        except SampleError as error:
            bad.append(str(error))
        else:
            samples.append(sample)
            pixels.append(
                rearrange(normalize(frames, crop_px, torch.device("cpu")), "t c h w -> 1 c t h w")
            )
    return ShownClips(samples=samples, pixels=torch.cat(pixels), bad=bad)


def read_frames(
    source: Source, sample: Sample, times: Float64[np.ndarray, " t"], box: Box
) -> UInt8[Tensor, "t c h w"]:
    """Frames of a stored clip at these times, seconds from its start, cropped.

    Raises:
        SampleError: It cannot be decoded.
        StorageError: Its shard cannot be read.
    """
    mp4 = source.store.read_range(
        f"{source.name}/{sample.shard}", sample.mp4_offset, sample.mp4_size
    )
    return decode_clip(mp4, times, box, num_frames=sample.clip.num_frames, key=sample.key)
