"""Choose the clips that a page shows, always the same ones, and read their frames."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
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
    """Samples to show, spread over all domains."""

    samples: list[tuple[Source, Sample]]
    held_out: bool
    """Whether they are from splits that the run does not draw from."""


@dataclass(frozen=True, kw_only=True)
class ShownClips:
    """Clips as inputs of an encoder."""

    samples: list[Sample]
    pixels: Float[Tensor, "b c t h w"]
    """Normalized; the central square of each frame."""
    bad: list[str]
    """Reasons why other clips are missing."""


def choose_samples(
    sources: Mapping[str, Source], *, drawn_splits: Sequence[str], min_duration_s: float, count: int
) -> ChosenSamples:
    """Choose at most `count` samples, in turn from each domain, source and video.

    Samples come from splits that the run does not draw from. If these have no suitable sample,
    samples come from the splits that it does draw from.

    Args:
        sources: Sources of the run's corpora, by name.
        drawn_splits: Stored splits that the run draws from.
        min_duration_s: Shorter samples are ignored.
        count: Maximum number of samples.
    """
    held_out_splits = [split for split in SPLITS if split not in drawn_splits]
    for splits in (held_out_splits, drawn_splits):
        domains: dict[str, list[list[tuple[Source, Sample]]]] = defaultdict(list)
        for source in sources.values():
            rows = source.index.rows(splits=splits, min_duration_s=min_duration_s)
            samples = spread_samples(source, rows, count)
            domains[source.entry.domain].append([(source, sample) for sample in samples])

        chosen = take_turns([take_turns(groups) for groups in domains.values()])[:count]
        if chosen:
            return ChosenSamples(samples=chosen, held_out=splits is held_out_splits)
    return ChosenSamples(samples=[], held_out=False)


def spread_samples(source: Source, rows: Int64[np.ndarray, " n"], count: int) -> list[Sample]:
    """Return at most `count` of these rows of a source, from as many of its videos as possible."""
    # Number the videos by their names.
    encoded = source.index.column("video").dictionary_encode()
    names = np.asarray(encoded.dictionary.to_pylist(), dtype=str)
    videos = np.argsort(np.argsort(names))[np.asarray(encoded.indices)[rows]]

    # Number the rows of each video, and take all first rows, then all second rows, and so on.
    by_video = np.argsort(videos, kind="stable")
    _, first, rows_of_video = np.unique(videos[by_video], return_index=True, return_counts=True)
    turn = np.empty(len(videos), dtype=np.int64)
    turn[by_video] = np.arange(len(videos)) - np.repeat(first, rows_of_video)

    chosen = rows[np.lexsort((videos, turn))[:count]]
    return [source.index.sample(int(row)) for row in chosen]


def take_turns(groups: Sequence[Sequence[Item]]) -> list[Item]:
    """Return the first item of each group, then each second item, until all groups are empty."""
    absent = object()
    rounds = zip_longest(*groups, fillvalue=absent)
    items = [item for each_round in rounds for item in each_round if item is not absent]
    return items  # type: ignore[return-value]  # without `absent`, all are of type Item


def read_clips(chosen: ChosenSamples, sampling: ClipSampling, crop_px: int) -> ShownClips:
    """Read the middle of each sample. A sample that cannot be decoded is left out and named.

    Args:
        chosen: The samples.
        sampling: Number of frames and frame rate.
        crop_px: Side of the frames, in pixels.

    Raises:
        StorageError: A shard cannot be read.
    """
    samples, bad = [], []
    pixels = [torch.empty(0, 3, sampling.num_frames, crop_px, crop_px)]
    for source, sample in chosen.samples:
        times = sampling.times(sample.clip.duration_s, offset=0.5)
        square = central_crop(sample.clip.height, sample.clip.width)
        try:
            frames = read_frames(source, sample, times, square)
        except SampleError as error:
            bad.append(str(error))
            continue

        clip = normalize(frames, crop_px, torch.device("cpu"))
        pixels.append(rearrange(clip, "t c h w -> 1 c t h w"))
        samples.append(sample)
    return ShownClips(samples=samples, pixels=torch.cat(pixels), bad=bad)


def read_frames(
    source: Source, sample: Sample, times: Float64[np.ndarray, " t"], box: Box
) -> UInt8[Tensor, "t c h w"]:
    """Decode frames of a stored clip.

    Args:
        source: The source that holds the sample.
        sample: The clip.
        times: Seconds from the start of the clip.
        box: Part of each frame to keep.

    Raises:
        SampleError: The clip cannot be decoded.
        StorageError: Its shard cannot be read.
    """
    path = f"{source.name}/{sample.shard}"
    mp4 = source.store.read_range(path, sample.mp4_offset, sample.mp4_size)
    return decode_clip(mp4, times, box, num_frames=sample.clip.num_frames, key=sample.key)
