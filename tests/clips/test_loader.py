import itertools
import multiprocessing
import os
import random
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, IterableDataset

from surgrec.clips import (
    AugmentConfig,
    Box,
    ClipBatch,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    clip_batches,
    decode_clip,
    to_model_input,
)
from surgrec.clips._dataset import BatchRequest
from surgrec.clips.augment import View, draw_view
from surgrec.errors import ConfigError, MissingError, ShardError, StorageError
from surgrec.shards import Sample, open_corpus
from surgrec.stream import Mixture, Stream, hash_uniform, sample_key
from tests.support.clip_datasets import NO_WORKER, SAMPLING, clip_dataset
from tests.support.samples import write_corpus

SAMPLER = StepSampler(global_batch=8, rank=0, world_size=1, start_step=0, steps=4)
ONE_WORKER = LoaderConfig(num_workers=1, timeout_s=60)
Content = list[tuple[Any, ...]]


def content(batches: Sequence[ClipBatch]) -> Content:
    """Return everything that training can observe of each clip, clip by clip."""
    return [
        (int(position), key, source, view.flip, tuple(frames.shape), frames.numpy().tobytes())
        for batch in batches
        for position, key, source, frames, view in zip(
            batch.positions, batch.keys, batch.sources, batch.frames, batch.views, strict=True
        )
    ]


def load(
    corpus: Path, config: LoaderConfig = NO_WORKER, sampler: StepSampler = SAMPLER
) -> list[ClipBatch]:
    return list(clip_batches(clip_dataset(corpus, config), sampler))


@pytest.fixture(scope="module")
def uninterrupted(tiny_corpus: Path) -> Content:
    return content(load(tiny_corpus))


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(
            LoaderConfig(num_workers=2, decode_threads=2, prefetch_batches=2), id="processes"
        ),
        pytest.param(
            LoaderConfig(num_workers=0, decode_threads=3), id="threads", marks=pytest.mark.slow
        ),
    ],
)
def test_batches_that_are_kept_for_a_while_do_not_change(
    tiny_corpus: Path, config: LoaderConfig
) -> None:
    """The memory of frames is reused, but only after its last reference is gone."""
    sampler = StepSampler(global_batch=8, rank=0, world_size=1, start_step=0, steps=80)
    expected = [content([batch]) for batch in clip_batches(clip_dataset(tiny_corpus), sampler)]
    chance = random.Random(0)
    kept: dict[int, ClipBatch] = {}
    for step, batch in enumerate(clip_batches(clip_dataset(tiny_corpus, config), sampler)):
        kept[step] = batch
        for old in [number for number in kept if chance.random() < 0.3]:
            assert content([kept.pop(old)]) == expected[old], (
                f"step {old}, looked at in step {step}"
            )
    assert step == 79


def test_a_second_pass_with_another_batch_size_is_planned_again(tiny_corpus: Path) -> None:
    dataset = clip_dataset(tiny_corpus)
    sizes = {8: 4, 12: 3}
    by_size = [
        content(list(clip_batches(dataset, replace(SAMPLER, global_batch=size, steps=steps))))
        for size, steps in sizes.items()
    ]
    both = min(map(len, by_size))
    assert by_size[0][:both] == by_size[1][:both]


def shard_path(corpus: Path, sample: Sample) -> Path:
    return corpus / sample.clip.source / sample.shard


def read_mp4(corpus: Path, sample: Sample) -> bytes:
    return shard_path(corpus, sample).read_bytes()[
        sample.mp4_offset : sample.mp4_offset + sample.mp4_size
    ]


def damage(corpus: Path, sample: Sample) -> None:
    """Flip one bit in the middle of a sample's MP4."""
    path = shard_path(corpus, sample)
    data = bytearray(path.read_bytes())
    data[sample.mp4_offset + sample.mp4_size // 2] ^= 4
    path.write_bytes(data)


def samples_of(corpus: Path, source: str) -> list[Sample]:
    index = open_corpus([corpus])[source].index
    return [index.sample(row) for row in range(index.num_rows)]


def test_a_batch_holds_the_clips_of_its_positions_in_stream_order(
    tiny_corpus: Path, uninterrupted: Content
) -> None:
    stream = clip_dataset(tiny_corpus).stream
    draws = stream.draws(np.arange(32))
    assert [row[:3] for row in uninterrupted] == [
        (draw.position, stream.key(draw), draw.source) for draw in draws
    ]
    assert {row[2] for row in uninterrupted} == {"alpha", "beta", "gamma"}
    assert 8 < sum(row[3] for row in uninterrupted) < 24  # about half are flipped
    assert len({row[4] for row in uninterrupted}) > 20  # crops differ in size


@pytest.mark.parametrize(("workers", "threads"), [(0, 2), (1, 1), (1, 2), (2, 1), (2, 2)])
def test_batches_do_not_depend_on_workers_or_threads(
    tiny_corpus: Path, uninterrupted: Content, workers: int, threads: int
) -> None:
    config = LoaderConfig(
        num_workers=workers, decode_threads=threads, fetch_threads=threads, prefetch_batches=1
    )
    assert content(load(tiny_corpus, config)) == uninterrupted


@pytest.mark.parametrize("config", [NO_WORKER, ONE_WORKER])
def test_the_ranks_of_a_world_share_the_same_batches(
    tiny_corpus: Path, uninterrupted: Content, config: LoaderConfig
) -> None:
    ranks = [
        load(tiny_corpus, config, replace(SAMPLER, rank=rank, world_size=2)) for rank in range(2)
    ]
    assert content([batch for step in zip(*ranks, strict=True) for batch in step]) == uninterrupted


@pytest.mark.parametrize("start_step", [1, 3, 4])
def test_a_resumed_loader_continues_the_sequence(
    tiny_corpus: Path, uninterrupted: Content, start_step: int
) -> None:
    sampler = replace(SAMPLER, start_step=start_step)
    assert len(sampler) == 4 - start_step
    assert content(load(tiny_corpus, ONE_WORKER, sampler)) == uninterrupted[8 * start_step :]


def test_model_input_is_the_same_with_and_without_a_worker(tiny_corpus: Path) -> None:
    sampler = replace(SAMPLER, steps=1)
    local, sent = (load(tiny_corpus, config, sampler)[0] for config in (NO_WORKER, ONE_WORKER))
    device = torch.device("cpu")
    assert torch.equal(to_model_input(local, 32, device), to_model_input(sent, 32, device))
    assert [clip.stride() for clip in local.frames] == [clip.stride() for clip in sent.frames]


def test_a_sample_has_another_view_at_another_position(tiny_corpus: Path) -> None:
    rows = content(load(tiny_corpus, sampler=replace(SAMPLER, steps=12)))
    views: dict[str, list[bytes]] = {}
    for _, key, _, _, _, frames in rows:
        views.setdefault(key, []).append(frames)
    repeated = [pixels for pixels in views.values() if len(pixels) > 1]
    assert len(repeated) > 10
    assert all(len(set(pixels)) == len(pixels) for pixels in repeated)


def views_of(corpus: Path, views: int, config: LoaderConfig = NO_WORKER) -> list[ClipBatch]:
    """Return a few batches with several views of each sample."""
    stream = Stream(open_corpus([corpus]), Mixture(block=16), seed=5)
    dataset = ClipDataset(stream, SAMPLING, AugmentConfig(), config, views)
    return list(clip_batches(dataset, SAMPLER))


def test_views_of_a_sample_are_crops_of_the_same_decoded_frames(tiny_corpus: Path) -> None:
    stream = clip_dataset(tiny_corpus).stream
    several_sizes = 0
    for batch in views_of(tiny_corpus, 3):
        lengths = (len(batch.frames), len(batch.views), len(batch.keys), len(batch.positions))
        assert lengths == (24, 24, 8, 8)
        for index, position in enumerate(batch.positions.tolist()):
            sample = stream.sample(stream.draws(np.array([position]))[0])
            mp4, clip = read_mp4(tiny_corpus, sample), sample.clip
            times = SAMPLING.times(clip.duration_s, hash_uniform(sample_key(5, position), 1))
            for view in range(3):
                frames, drawn = batch.frames[3 * index + view], batch.views[3 * index + view]
                view_key = sample_key(5, position, view)
                assert drawn == draw_view(clip.height, clip.width, AugmentConfig(), view_key)
                alone = decode_clip(
                    mp4, times, drawn.box, num_frames=clip.num_frames, key=sample.key
                )
                assert torch.equal(frames, alone), "cut from a larger box, or decoded alone"
            shapes = {tuple(clip.shape) for clip in batch.frames[3 * index : 3 * index + 3]}
            several_sizes += len(shapes) > 1
    assert several_sizes > 20, "most samples have views of several sizes"


def test_the_first_of_several_views_is_the_one_of_a_single_view(
    tiny_corpus: Path, uninterrupted: Content
) -> None:
    for batch in views_of(tiny_corpus, 3):
        firsts = replace(batch, frames=batch.frames[::3], views=batch.views[::3])
        start = int(batch.positions[0])
        assert content([firsts]) == uninterrupted[start : start + 8]


def test_views_do_not_depend_on_workers(tiny_corpus: Path) -> None:
    local, sent = views_of(tiny_corpus, 3), views_of(tiny_corpus, 3, ONE_WORKER)
    device = torch.device("cpu")
    for one, other in zip(local, sent, strict=True):
        assert one.views == other.views
        assert all(map(torch.equal, one.frames, other.frames))
        assert torch.equal(to_model_input(one, 32, device), to_model_input(other, 32, device))
        assert to_model_input(one, 32, device).shape == (24, 3, 4, 32, 32)


def test_a_batch_from_a_worker_costs_one_open_file(tiny_corpus: Path) -> None:
    """Each shared tensor is an open file: one per clip would exceed the limit of 1024 with large
    batches."""
    batches = clip_batches(clip_dataset(tiny_corpus, ONE_WORKER), replace(SAMPLER, global_batch=64))
    first = next(batches)
    before = len(os.listdir("/proc/self/fd"))
    second = next(batches)
    assert len(first.frames) == len(second.frames) == 64
    assert len(os.listdir("/proc/self/fd")) < before + 8


def test_a_dataset_used_before_its_workers_start_still_works(
    tiny_corpus: Path, uninterrupted: Content
) -> None:
    dataset = clip_dataset(tiny_corpus, ONE_WORKER)
    first = dataset.batch(BatchRequest(tuple(range(8))))  # starts threads, which workers lack
    assert content([first]) == uninterrupted[:8]
    assert content(list(clip_batches(dataset, SAMPLER))) == uninterrupted


class _SignedDataset(ClipDataset):
    """Names the process that made each sample in place of its source."""

    def batch(self, *arguments: Any) -> ClipBatch:
        made = super().batch(*arguments)
        return replace(made, sources=[str(os.getpid())] * len(made.sources))


@pytest.mark.parametrize(
    ("workers", "parts", "makers"), [(2, 1, [4, 4]), (3, 2, [2, 2, 2, 2]), (9, 1, [1] * 8)]
)
def test_all_workers_make_a_part_of_the_first_batch(
    tiny_corpus: Path, uninterrupted: Content, workers: int, parts: int, makers: list[int]
) -> None:
    """Training waits for it; each later batch, or part of one, comes from a single worker."""
    config = LoaderConfig(num_workers=workers, timeout_s=60)
    dataset = clip_dataset(tiny_corpus, config, _SignedDataset)
    made = list(clip_batches(dataset, SAMPLER, parts=parts))
    assert [position for batch in made for position in batch.positions] == list(range(32))
    assert [row[1] for row in content(made)] == [row[1] for row in uninterrupted]

    first = [pid for batch in made[:parts] for pid in batch.sources]
    assert [len(list(same)) for _, same in itertools.groupby(first)] == makers
    assert len(set(first)) == min(workers, 8)
    assert all(len(set(batch.sources)) == 1 for batch in made[parts:])


def test_a_bad_sample_is_quarantined_and_replaced_by_another_of_its_source(
    corpus_copy: Path, uninterrupted: Content
) -> None:
    position, key, source, _, _, _ = uninterrupted[10]
    bad = next(sample for sample in samples_of(corpus_copy, source) if sample.key == key)
    damage(corpus_copy, bad)
    passes = [load(corpus_copy, config) for config in (NO_WORKER, NO_WORKER, ONE_WORKER)]
    assert content(passes[0]) == content(passes[1]) == content(passes[2])
    quarantined = [
        [entry for batch in batches for entry in batch.quarantined] for batches in passes
    ]
    assert quarantined[0] == quarantined[1] == quarantined[2]
    rows = content(passes[0])
    drawn_at = [row[0] for row in uninterrupted if row[1] == key]
    assert [entry.position for entry in quarantined[0]] == drawn_at
    assert position in drawn_at
    for entry in quarantined[0]:
        assert (entry.source, entry.key) == (source, key)
        assert "its bytes have the XXH3 checksum" in entry.reason
        assert rows[entry.position][1:3] == (entry.substitute, source)
        assert entry.substitute != key
    others = [number for number in range(32) if number not in drawn_at]
    assert [rows[number] for number in others] == [uninterrupted[number] for number in others]


def test_every_world_size_replaces_a_bad_sample_by_the_same_one(
    corpus_copy: Path, uninterrupted: Content
) -> None:
    for key in {row[1] for row in uninterrupted[:3]}:
        damage(
            corpus_copy,
            next(s for s in samples_of(corpus_copy, key.partition("_")[0]) if s.key == key),
        )
    whole = load(corpus_copy)
    ranks = [
        load(corpus_copy, sampler=replace(SAMPLER, rank=rank, world_size=4)) for rank in range(4)
    ]
    assert content([batch for step in zip(*ranks, strict=True) for batch in step]) == content(whole)
    assert sum(len(batch.quarantined) for rank in ranks for batch in rank) > 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"native_fps": 1.0}, "cannot be decoded"),  # any change; its bytes are not a video
        ({"num_frames": 33}, "the clip has 32 frames, but the index lists 33"),
    ],
)
def test_an_undecodable_clip_with_the_right_digest_is_quarantined(
    tiny_corpus: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    samples = samples_of(tiny_corpus, "alpha")
    real = {sample.clip: read_mp4(tiny_corpus, sample) for sample in samples}
    bad = replace(samples[3].clip, **change)
    real[bad] = b"no video" if reason == "cannot be decoded" else real[samples[3].clip]
    clips = [bad if number == 3 else sample.clip for number, sample in enumerate(samples)]
    dataset = clip_dataset(
        write_corpus(tmp_path / "corpus", {"alpha": clips}, mp4=real.__getitem__)
    )
    batch = dataset.batch(BatchRequest(tuple(range(10))))  # one epoch
    (entry,) = batch.quarantined
    assert entry.key == samples[3].key
    assert reason in entry.reason
    assert batch.keys[entry.position] == entry.substitute != entry.key
    assert len(set(batch.keys)) == 9


def test_a_bad_sample_of_two_is_always_replaced_by_the_good_one(corpus_copy: Path) -> None:
    """Substitutes drawn with replacement would stop such a run after about a thousand draws."""
    samples = [sample for sample in samples_of(corpus_copy, "beta") if sample.clip.split == "val"]
    assert len(samples) == 2
    damage(corpus_copy, samples[0])
    stream = Stream(open_corpus([corpus_copy]), Mixture(splits=["val"]), seed=5)
    dataset = ClipDataset(stream, SAMPLING, AugmentConfig(), NO_WORKER)
    for start in range(0, 64, 8):
        batch = dataset.batch(BatchRequest(tuple(range(start, start + 8))))
        assert set(batch.keys) == {samples[1].key}
        assert len(batch.quarantined) == 4


@pytest.mark.parametrize("config", [NO_WORKER, ONE_WORKER])
def test_a_source_of_bad_samples_only_stops_the_run_with_one_sentence(
    corpus_copy: Path, config: LoaderConfig
) -> None:
    for sample in samples_of(corpus_copy, "beta"):
        damage(corpus_copy, sample)
    with pytest.raises(
        ShardError,
        match=r"^beta: a sample and all substitutes .* are bad.*; "
        r"run surgrec-shard verify --decode true$",
    ):
        load(corpus_copy, config)


@pytest.mark.parametrize("config", [NO_WORKER, ONE_WORKER])
def test_a_missing_shard_stops_the_run_and_is_not_a_bad_sample(
    corpus_copy: Path, config: LoaderConfig
) -> None:
    path = shard_path(corpus_copy, samples_of(corpus_copy, "gamma")[0])
    path.unlink()
    with pytest.raises(MissingError, match=rf"^{path} does not exist[^\n]*$"):
        load(corpus_copy, config)
    assert not multiprocessing.active_children(), "workers end before the error is raised"


@pytest.mark.parametrize("config", [NO_WORKER, ONE_WORKER])
def test_a_missing_corpus_stops_the_run_with_one_sentence(
    corpus_copy: Path, config: LoaderConfig
) -> None:
    dataset = clip_dataset(corpus_copy, config)
    shutil.rmtree(corpus_copy)
    with pytest.raises(MissingError, match=rf"^{corpus_copy}[^\n]*$"):
        list(clip_batches(dataset, SAMPLER))


class KilledDataset(ClipDataset):
    """A worker that the kernel kills when memory runs out."""

    def batch(self, request: BatchRequest, *rest: Any) -> ClipBatch:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(request, *rest)


class SlowDataset(ClipDataset):
    """A worker that waits for slow storage."""

    def batch(self, request: BatchRequest, *rest: Any) -> ClipBatch:
        time.sleep(3)
        return super().batch(request, *rest)


class BuggyDataset(ClipDataset):
    """A worker with a bug."""

    def batch(self, request: BatchRequest, *rest: Any) -> ClipBatch:
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    ("kind", "timeout_s", "message"),
    [
        (
            KilledDataset,
            60,
            r"^the loader stopped \(DataLoader worker .*\); "
            r"if memory ran out, lower loader.num_workers",
        ),
        (
            SlowDataset,
            1,
            r"^the loader stopped \(.*timed out after 1 seconds\).*raise loader.timeout_s$",
        ),
    ],
)
def test_a_worker_that_dies_or_hangs_stops_the_run_with_one_sentence(
    tiny_corpus: Path, kind: type[ClipDataset], timeout_s: int, message: str
) -> None:
    dataset = clip_dataset(tiny_corpus, replace(ONE_WORKER, timeout_s=timeout_s), kind)
    with pytest.raises(StorageError, match=message):
        list(clip_batches(dataset, SAMPLER))


@pytest.mark.parametrize("config", [NO_WORKER, ONE_WORKER])
def test_a_bug_is_not_reported_as_a_storage_error(tiny_corpus: Path, config: LoaderConfig) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        list(clip_batches(clip_dataset(tiny_corpus, config, BuggyDataset), SAMPLER))
    traceback.clear_frames(caught.tb)  # torch's frames would keep the worker alive for 5 s


def test_without_augmentation_clips_are_the_whole_decoded_frames(tiny_corpus: Path) -> None:
    """The full frame and the full length leave no random choice, so the pixels are known."""
    stream = Stream(open_corpus([tiny_corpus]), Mixture(min_duration_s=4.0), seed=5)
    whole_frame = AugmentConfig(scale=(1.0, 1.0), aspect_ratio=(1.0, 1.0), flip=0.0)
    whole_clip = ClipSampling(num_frames=8, fps=2.0)
    dataset = ClipDataset(stream, whole_clip, whole_frame, NO_WORKER)
    square = [draw for draw in stream.draws(np.arange(30)) if draw.source == "gamma"]
    batch = dataset.batch(BatchRequest(tuple(draw.position for draw in square)))
    for draw, frames, view in zip(square, batch.frames, batch.views, strict=True):
        sample = stream.sample(draw)
        box = Box(top=0, left=0, height=64, width=64)
        expected = decode_clip(
            read_mp4(tiny_corpus, sample), np.arange(8) / 2, box, num_frames=32, key=sample.key
        )
        assert torch.equal(frames, expected)
        assert view == View(box, flip=False)


def test_a_world_size_that_does_not_divide_the_batch_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="global_batch 8 cannot be shared equally by 3 ranks"):
        StepSampler(global_batch=8, rank=0, world_size=3, start_step=0, steps=1)


@pytest.mark.parametrize(
    "field", ["decode_threads", "fetch_threads", "prefetch_batches", "timeout_s"]
)
def test_a_loader_config_without_threads_or_time_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"loader.{field} is 0; give 1 to"):
        LoaderConfig(**{field: 0})
    with pytest.raises(ConfigError, match=r"loader\.num_workers is -1; give 0 to 1024"):
        LoaderConfig(num_workers=-1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA device")
@pytest.mark.parametrize(
    "config", [LoaderConfig(num_workers=2), LoaderConfig(num_workers=0, decode_threads=2)]
)
def test_pinned_batches_are_page_locked_and_the_same(
    tiny_corpus: Path, uninterrupted: Content, config: LoaderConfig
) -> None:
    batches = list(clip_batches(clip_dataset(tiny_corpus, config), SAMPLER, pin_memory=True))
    assert all(frames.is_pinned() for batch in batches for frames in batch.frames)
    assert content(batches) == uninterrupted


# A DataLoader of the user's own


def test_a_dataset_is_indexed_by_positions(tiny_corpus: Path) -> None:
    dataset = clip_dataset(tiny_corpus)
    (batch,) = clip_batches(dataset, replace(SAMPLER, steps=1))
    assert content([dataset[range(8)]]) == content([batch])
    assert content([dataset[3]]) == content([batch])[3:4]


@pytest.mark.parametrize("positions", [[], [-1], [0, -8], -3])
def test_positions_outside_the_stream_are_refused(tiny_corpus: Path, positions: Any) -> None:
    with pytest.raises(ConfigError, match="give positions from 0 on"):
        clip_dataset(tiny_corpus)[positions]


@pytest.mark.slow  # a spawned worker imports torch
def test_spawned_workers_make_the_batches_of_forked_ones(tiny_corpus: Path) -> None:
    dataset, sampler = clip_dataset(tiny_corpus), replace(SAMPLER, steps=2)
    loader = DataLoader(
        dataset,  # type: ignore[arg-type]  # torch declares a Dataset, and asks for __getitem__ only
        sampler=sampler,
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    assert content(list(loader)) == content(list(clip_batches(dataset, sampler)))


class Wrapped(IterableDataset[Any]):
    """What a user writes to give the batches of a rank to a Trainer."""

    def __init__(self, dataset: ClipDataset, sampler: StepSampler) -> None:
        self.dataset, self.sampler = dataset, sampler

    def __iter__(self) -> Iterator[Any]:
        for batch in clip_batches(self.dataset, self.sampler):
            yield {"video": to_model_input(batch, 16, torch.device("cpu"))}


def prepared(loader: Any, dispatch: bool | None) -> Any:
    """Return a loader as Accelerate prepares it on rank 0 of 2."""
    return prepare_data_loader(
        loader,
        torch.device("cpu"),
        num_processes=2,
        process_index=0,
        put_on_device=True,
        dispatch_batches=dispatch,
    )


@pytest.mark.parametrize("kind", ["dispatched", "sharded", "batch sampler"])
def test_no_wrapper_divides_the_share_of_a_rank_again(tiny_corpus: Path, kind: str) -> None:
    dataset, sampler = clip_dataset(tiny_corpus), replace(SAMPLER, world_size=2)
    loader: Any = DataLoader(Wrapped(dataset, sampler), batch_size=2)
    if kind == "batch sampler":
        loader = DataLoader(dataset, batch_sampler=sampler)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="share of rank 0 of 2, and Accelerate would divide it"):
        next(iter(prepared(loader, dispatch=None if kind == "dispatched" else False)))


def test_a_wrapper_that_does_not_divide_gets_every_batch(tiny_corpus: Path) -> None:
    dataset, sampler = clip_dataset(tiny_corpus), replace(SAMPLER, world_size=2)
    loader = DataLoader(Wrapped(dataset, sampler), batch_size=None)
    assert len(list(loader)) == 4


def test_workers_around_the_loader_are_refused(tiny_corpus: Path) -> None:
    wrapped = Wrapped(clip_dataset(tiny_corpus), SAMPLER)
    loader = DataLoader(wrapped, batch_size=None, num_workers=1)
    with pytest.raises(ConfigError, match="start workers themselves") as caught:
        next(iter(loader))
    traceback.clear_frames(caught.tb)  # torch's frames would keep the worker alive for 5 s


def test_libraries_can_move_a_batch_to_a_device(tiny_corpus: Path) -> None:
    batch = clip_dataset(tiny_corpus)[[0, 1]]
    moved = send_to_device(batch, torch.device("meta"), non_blocking=True)
    assert all(frames.is_meta for frames in moved.frames)
    assert (moved.keys, moved.views) == (batch.keys, batch.views)
