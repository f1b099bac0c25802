"""Training clips that continue into the adjacent stored clips of their video."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec import load_clips
from surgrec.clips import (
    AugmentConfig,
    ClipBatch,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    central_crop,
    clip_batches,
    decode_clip,
    torchcodec_classes,
)
from surgrec.clips._clip_loader import ClipLoader
from surgrec.clips.augment import draw_view
from surgrec.clips.windows import decode_window, place_window
from surgrec.errors import ConfigError, MixtureError
from surgrec.features.corpora import CorpusVideos
from surgrec.shards import Sample, Source, open_corpus
from surgrec.stream import Mixture, Stream, hash_uniform, sample_key
from tests.support.clip_datasets import NO_WORKER, SAMPLING, clip_dataset
from tests.support.samples import change_cell, write_corpus

LONG = ClipSampling(num_frames=40, fps=4.0)
"""Ten seconds: the tiny corpus has clips of 4 s and, at the end of two videos, of 2 s."""
SAMPLER = StepSampler(global_batch=8, rank=0, world_size=1, start_step=0, steps=4)


def stream_of(corpus: Path, mixture: Mixture = Mixture(block=16)) -> Stream:
    return Stream(open_corpus([corpus]), mixture, seed=5)


def joined(
    corpus: Path,
    config: LoaderConfig = NO_WORKER,
    sampler: StepSampler = SAMPLER,
    sampling: ClipSampling = LONG,
) -> list[ClipBatch]:
    dataset = ClipDataset(stream_of(corpus), sampling, AugmentConfig(), config, join_clips=True)
    return list(clip_batches(dataset, sampler))


def content(batches: list[ClipBatch]) -> list[tuple[object, ...]]:
    """Return everything that training can observe of each clip, clip by clip."""
    return [
        (int(position), key, source, view, frames.numpy().tobytes())
        for batch in batches
        for position, key, source, frames, view in zip(
            batch.positions, batch.keys, batch.sources, batch.frames, batch.views, strict=True
        )
    ]


@pytest.fixture(scope="module")
def expected(tiny_corpus: Path) -> list[tuple[object, ...]]:
    return content(joined(tiny_corpus))


def mp4_of(corpus: Path, sample: Sample) -> bytes:
    data = (corpus / sample.clip.source / sample.shard).read_bytes()
    return data[sample.mp4_offset : sample.mp4_offset + sample.mp4_size]


def stored_frames(corpus: Path, source: Source, video: str) -> Tensor:
    """Decode all stored frames of a video with a decoder of its own, clip by clip."""
    video_decoder, _ = torchcodec_classes()
    samples = [source.index.sample(row) for row in range(source.index.num_rows)]
    own = sorted(
        (sample for sample in samples if sample.clip.video == video),
        key=lambda sample: sample.clip.start_s,
    )
    return torch.cat([video_decoder(mp4_of(corpus, sample))[:] for sample in own])


def test_a_joined_window_shows_the_frames_of_its_video_at_its_times(tiny_corpus: Path) -> None:
    stream = stream_of(tiny_corpus)
    batches = joined(tiny_corpus)
    crossed = 0
    for batch in batches:
        for position, frames, view in zip(
            batch.positions.tolist(), batch.frames, batch.views, strict=True
        ):
            (draw,) = stream.draws(np.array([position]))
            clip = stream.sample(draw).clip
            source = stream.sources[draw.source]
            whole = stored_frames(tiny_corpus, source, clip.video)

            # The window contains the clip, and lies within the video, which has no gaps.
            length_s = len(whole) / 8
            earliest_s = max(0.0, clip.start_s + clip.duration_s - 10)
            latest_s = min(clip.start_s, length_s - 10)
            offset = hash_uniform(sample_key(5, position), 1)
            start_s = earliest_s + offset * (latest_s - earliest_s)

            # The video of 8 frames per second, at these times.
            shown = whole[np.floor((start_s + np.arange(40) / 4) * 8 + 1e-6)]
            box = view.box
            expected = shown[:, :, box.top : box.top + box.height, box.left : box.left + box.width]
            assert torch.equal(frames, expected)
            assert view == draw_view(
                clip.height, clip.width, AugmentConfig(), sample_key(5, position)
            )
            crossed += start_s < clip.start_s < clip.start_s + clip.duration_s < start_s + 10
    assert crossed > 4, "some windows continue on both sides"


def test_windows_start_anywhere_around_their_clip(tiny_corpus: Path) -> None:
    """In a video of 20 s, windows of 10 s around the clip from 4 to 8 s begin from 0 to 4 s."""
    stream = stream_of(tiny_corpus)
    starts_s = stream.sources["alpha"].index.column("start_s").to_numpy()
    row = int(np.flatnonzero(starts_s == 4.0)[0])
    windows = [
        place_window(stream, "alpha", row, LONG, offset, join=True) for offset in (0.0, 0.5, 1.0)
    ]
    assert [window.start_s for window in windows] == [0.0, 2.0, 4.0]
    starts = [[clip.clip.start_s for clip in window.clips] for window in windows]
    assert starts == [[0.0, 4.0, 8.0], [0.0, 4.0, 8.0], [4.0, 8.0, 12.0]]
    assert {window.sample.key for window in windows} == {stream.sources["alpha"].index.key(row)}

    last = int(np.flatnonzero(starts_s == 16.0)[0])
    moved_back = place_window(stream, "alpha", last, LONG, 0.7, join=True)
    assert moved_back.start_s == 10.0, "nothing follows the last clip"
    assert [len(times) for times in moved_back.times] == [8, 16, 16]


def test_evaluation_sees_the_same_frames_in_a_window_of_these_times(tiny_corpus: Path) -> None:
    stream = stream_of(tiny_corpus)
    corpora = CorpusVideos([str(tiny_corpus)])
    for row in range(stream.sources["alpha"].index.num_rows):
        window = place_window(stream, "alpha", row, LONG, 0.5, join=True)
        video = next(entry for entry in corpora.entries if entry.video == window.sample.clip.video)
        pieces = corpora.open(video).pieces(window.start_s + np.arange(40) / 4)
        clip = window.sample.clip
        frames = decode_window(
            window,
            [mp4_of(tiny_corpus, sample) for sample in window.clips],
            central_crop(clip.height, clip.width),
        )
        seen = [piece.frames for piece in pieces if isinstance(piece.frames, Tensor)]
        assert torch.equal(torch.cat(seen), frames)


@pytest.mark.parametrize(("workers", "threads"), [(0, 2), (1, 1), (2, 2)])
def test_joined_batches_do_not_depend_on_workers_or_threads(
    tiny_corpus: Path, expected: list[tuple[object, ...]], workers: int, threads: int
) -> None:
    config = LoaderConfig(num_workers=workers, decode_threads=threads, prefetch_batches=1)
    assert content(joined(tiny_corpus, config)) == expected


def test_joined_batches_do_not_depend_on_ranks_or_restarts(
    tiny_corpus: Path, expected: list[tuple[object, ...]]
) -> None:
    ranks = [
        joined(tiny_corpus, sampler=replace(SAMPLER, rank=rank, world_size=2)) for rank in range(2)
    ]
    steps = [batch for step in zip(*ranks, strict=True) for batch in step]
    assert content(steps) == expected
    resumed = joined(tiny_corpus, sampler=replace(SAMPLER, start_step=3))
    assert content(resumed) == expected[24:]


def test_the_drawn_samples_are_those_of_a_run_without_joins(
    tiny_corpus: Path, expected: list[tuple[object, ...]]
) -> None:
    draws = stream_of(tiny_corpus).draws(np.arange(32))
    stream = stream_of(tiny_corpus)
    assert [row[:3] for row in expected] == [
        (draw.position, stream.key(draw), draw.source) for draw in draws
    ]
    shares = [[row[2] for row in expected[first : first + 16]] for first in (0, 16)]
    assert sorted(shares[0]) == sorted(shares[1]), "the mixture is exact in each block of 16"


def test_windows_that_fit_are_those_of_a_run_without_joins(tiny_corpus: Path) -> None:
    plain = list(clip_batches(clip_dataset(tiny_corpus), SAMPLER))
    assert content(joined(tiny_corpus, sampling=SAMPLING)) == content(plain)


def test_a_bad_neighbor_makes_a_sample_bad_in_every_run_alike(
    corpus_copy: Path, expected: list[tuple[object, ...]]
) -> None:
    stream = stream_of(corpus_copy)
    index = stream.sources["alpha"].index
    row = int(np.flatnonzero(index.column("start_s").to_numpy() == 8.0)[0])
    bad = index.sample(row)
    path = corpus_copy / "alpha" / bad.shard
    data = bytearray(path.read_bytes())
    data[bad.mp4_offset + bad.mp4_size // 2] ^= 4
    path.write_bytes(data)

    # All windows of 10 s in a video of 20 s hold frames of the clip from 8 to 12 s.
    batches = joined(corpus_copy)
    entries = [entry for batch in batches for entry in batch.quarantined]
    at = [
        draw.position
        for draw in stream.draws(np.arange(32))
        if stream.sample(draw).clip.video == bad.clip.video
    ]
    assert sorted({entry.position for entry in entries}) == at
    assert len({entry.key for entry in entries}) > 2, "not only the drawn clip itself"
    for entry in entries:
        assert entry.clip == bad.key
        assert entry.reason.startswith(f"{bad.key}: its bytes have the XXH3 checksum")
    rows = content(batches)
    assert all(rows[position][2] == "alpha" for position in at)
    assert [row for row in rows if row[0] not in at] == [
        row for row in expected if row[0] not in at
    ]
    assert content(joined(corpus_copy, LoaderConfig(num_workers=1))) == rows


def with_gap(corpus: Path, folder: Path) -> Path:
    """Return a corpus of one video of 20 s that lacks the clip from 8 to 12 s."""
    index = open_corpus([corpus])["alpha"].index
    samples = [index.sample(row) for row in range(index.num_rows)]
    video = samples[0].clip.video
    mp4s = {
        sample.clip: mp4_of(corpus, sample)
        for sample in samples
        if sample.clip.video == video and sample.clip.start_s != 8.0
    }
    return write_corpus(folder, {"alpha": list(mp4s)}, mp4=mp4s.__getitem__)


def test_gaps_in_time_are_not_joined(tiny_corpus: Path, tmp_path: Path) -> None:
    stream = stream_of(with_gap(tiny_corpus, tmp_path / "corpus"))
    eight = ClipSampling(num_frames=16, fps=2.0)
    windows = [
        place_window(stream, "alpha", row, eight, offset, join=True)
        for row in range(4)
        for offset in (0.0, 1.0)
    ]
    assert {window.start_s for window in windows} == {0.0, 12.0}
    assert all(len(window.clips) == 2 for window in windows)
    with pytest.raises(ConfigError, match=r"of 8 s is shorter than the 10 s of a training clip"):
        place_window(stream, "alpha", 0, LONG, 0.0, join=True)


def test_load_clips_joins_when_it_is_told_to(tiny_corpus: Path) -> None:
    with pytest.raises(MixtureError, match=re.escape("set join_clips to true")):
        load_clips(tiny_corpus, num_frames=40, num_workers=0)
    clips = load_clips(
        tiny_corpus,
        mixture=Mixture(block=16),
        num_frames=40,
        join_clips=True,
        crop_px=32,
        batch_size=4,
        steps=1,
        num_workers=0,
    )
    (batch,) = clips
    assert batch["video"].shape == (4, 3, 40, 32, 32)
    assert torch.isfinite(batch["video"]).all()


def test_a_loader_that_joins_refuses_the_state_of_other_times(corpus_copy: Path) -> None:
    def load(*, join_clips: bool) -> ClipLoader:
        return load_clips(
            corpus_copy, mixture=Mixture(block=16), num_frames=8, join_clips=join_clips
        )

    joined, plain = (load(join_clips=join_clips).state_dict() for join_clips in (True, False))
    load(join_clips=True).load_state_dict(joined)
    load(join_clips=True).load_state_dict(plain)  # what earlier versions saved
    change_cell(corpus_copy, "alpha", "start_s", 0, lambda start_s: start_s + 0.05)
    load(join_clips=False).load_state_dict(plain)
    with pytest.raises(ConfigError, match="saved with another corpus, mixture or seed"):
        load(join_clips=True).load_state_dict(joined)


def test_frames_of_a_window_are_those_of_each_clip_decoded_alone(tiny_corpus: Path) -> None:
    """Decoding in pieces changes no pixel: each piece is a decoding of its own clip."""
    dataset = ClipDataset(
        stream_of(tiny_corpus), LONG, AugmentConfig(), NO_WORKER, views=2, join_clips=True
    )
    batch = dataset[3]
    (draw,) = dataset.stream.draws(np.array([3]))
    offset = hash_uniform(sample_key(5, 3), 1)
    window = place_window(dataset.stream, draw.source, draw.row, LONG, offset, join=True)
    for frames, view in zip(batch.frames, batch.views, strict=True):
        parts = [
            decode_clip(
                mp4_of(tiny_corpus, sample),
                times,
                view.box,
                num_frames=sample.clip.num_frames,
                key=sample.key,
            )
            for sample, times in zip(window.clips, window.times, strict=True)
        ]
        assert torch.equal(frames, torch.cat(parts))
