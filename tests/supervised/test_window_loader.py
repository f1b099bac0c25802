"""Train windows of the tiny corpus: their frames, their views, and those that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from surgrec.clips import AugmentConfig, ClipSampling
from surgrec.errors import ConfigError
from surgrec.features.in_memory import features_of_videos
from surgrec.features.own_encoder import FrozenEncoder
from surgrec.features.window_clips import CorpusVideos
from surgrec.models import Encoder
from surgrec.shards import open_corpus
from surgrec.supervised._block_tokens import block_tokens, joined_width
from surgrec.supervised._order import WindowOrder
from surgrec.supervised._part_gradients import PARTS, rank_parts
from surgrec.supervised._window_loader import ClipPart, TrainWindows, WindowLoader
from tests.support.evaluations import TINY

BATCH = 16


@pytest.fixture(scope="module")
def encoder() -> FrozenEncoder:
    torch.manual_seed(0)
    network = Encoder(TINY).eval().requires_grad_(False)
    sampling = ClipSampling(num_frames=TINY.num_frames, fps=4.0)
    return FrozenEncoder(encoder=network, sampling=sampling, provenance={}, facts={"name": "tiny"})


def windows_of(videos: CorpusVideos) -> TrainWindows:
    """Return two windows of every video."""
    count = len(videos.entries)
    return TrainWindows(
        video=np.repeat(np.arange(count), 2),
        start_s=np.tile([0.0, 2.0], count),
        entries=videos.entries,
    )


def loader(
    corpus: Path,
    encoder: FrozenEncoder,
    *,
    augment: AugmentConfig | None = None,
    parts: range = range(PARTS),
) -> WindowLoader:
    videos = CorpusVideos([str(corpus)])
    windows = windows_of(videos)
    return WindowLoader(
        videos,
        windows,
        encoder,
        WindowOrder(len(windows), BATCH, seed=1),
        augment=augment,
        seed=5,
        parts=parts,
        device=torch.device("cpu"),
        threads=2,
    )


def of_step(each: WindowLoader, step: int) -> list[ClipPart]:
    parts = list(each.parts(step))
    each.close()
    return parts


def test_a_central_window_has_the_feature_that_an_extraction_gives(
    tiny_corpus: Path, encoder: FrozenEncoder
) -> None:
    videos = CorpusVideos([str(tiny_corpus)])
    extracted = features_of_videos(
        videos, videos.entries, encoder, stride_s=2.0, precision="no", allow_repeated_frames=True
    )
    windows = windows_of(videos)
    for part in of_step(loader(tiny_corpus, encoder), 0):
        for window, feature in zip(part.windows, encoder.features(part.clips), strict=True):
            video = extracted[windows.video[window]]
            (row,) = np.flatnonzero(video.start_s == windows.start_s[window])
            torch.testing.assert_close(feature, video.features[row], atol=1e-5, rtol=1e-5)


def test_the_clips_of_a_step_do_not_depend_on_the_processes(
    tiny_corpus: Path, encoder: FrozenEncoder
) -> None:
    augment = AugmentConfig()
    alone = of_step(loader(tiny_corpus, encoder, augment=augment), 3)
    ranks = [
        part
        for rank in range(2)
        for part in of_step(
            loader(tiny_corpus, encoder, augment=augment, parts=rank_parts(rank, 2)), 3
        )
    ]
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(alone, ranks, strict=True))
    assert all(torch.equal(a.windows, b.windows) for a, b in zip(alone, ranks, strict=True))


def test_a_window_has_another_random_view_in_each_epoch(
    tiny_corpus: Path, encoder: FrozenEncoder
) -> None:
    count = len(windows_of(CorpusVideos([str(tiny_corpus)])))
    each = loader(tiny_corpus, encoder, augment=AugmentConfig(scale=(0.3, 0.5)))
    views: dict[int, list[Tensor]] = {}
    for step in range(2 * count // BATCH + 1):
        for part in each.parts(step):
            for window, clip in zip(part.windows.tolist(), part.clips, strict=True):
                views.setdefault(window, []).append(clip)
    each.close()
    first, second = views[0][:2]
    assert first.shape == (3, TINY.num_frames, TINY.crop_px, TINY.crop_px)
    assert not torch.equal(first, second)


def test_a_damaged_window_is_left_out_and_named(corpus_copy: Path, encoder: FrozenEncoder) -> None:
    source = open_corpus([str(corpus_copy)])["beta"]
    for row in range(source.index.num_rows):
        sample = source.index.sample(row)
        with (corpus_copy / "beta" / Path(sample.shard).name).open("r+b") as shard:
            shard.seek(sample.mp4_offset + sample.mp4_size // 2)
            shard.write(bytes(100))

    each = loader(corpus_copy, encoder)
    parts = [part for step in range(3) for part in each.parts(step)]
    each.close()
    windows = windows_of(CorpusVideos([str(corpus_copy)]))
    sources = {windows.entries[windows.video[window]].source for window in each.failed}
    assert sources == {"beta"}
    assert all(each.failed.values())
    assert not each.failed.keys() & {int(window) for part in parts for window in part.windows}


def test_tokens_of_the_last_blocks_are_joined_with_the_output_last() -> None:
    torch.manual_seed(0)
    config = TINY.__class__(**{**vars(TINY), "depth": 3})
    network = Encoder(config).eval().requires_grad_(False)
    sampling = ClipSampling(num_frames=TINY.num_frames, fps=4.0)
    encoder = FrozenEncoder(
        encoder=network, sampling=sampling, provenance={}, facts={"name": "tiny"}
    )
    clips = torch.randn(2, 3, TINY.num_frames, TINY.crop_px, TINY.crop_px)
    last = encoder.tokens(clips)

    channels = block_tokens(encoder, clips, 2, "channels")
    assert channels.shape[2] == joined_width(encoder, 2, "channels") == 2 * encoder.width
    assert torch.equal(channels[..., encoder.width :], last)
    earlier = channels[..., : encoder.width]
    torch.testing.assert_close(
        earlier.mean(-1), torch.zeros_like(earlier[..., 0]), atol=1e-5, rtol=0
    )

    tokens = block_tokens(encoder, clips, 3, "tokens")
    assert tokens.shape[1] == 3 * last.shape[1]
    assert joined_width(encoder, 3, "tokens") == encoder.width
    assert torch.equal(tokens[:, -last.shape[1] :], last)
    assert not any(block._forward_hooks for block in network.blocks)


def test_more_blocks_than_an_encoder_has_are_refused(encoder: FrozenEncoder) -> None:
    with pytest.raises(ConfigError, match="last_blocks is 2, but tiny has 1 known blocks"):
        joined_width(encoder, 2, "tokens")
