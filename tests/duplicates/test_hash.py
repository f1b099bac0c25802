"""Hashes of seconds: what they depend on, and which seconds have none."""

import numpy as np
import pytest
from jaxtyping import UInt8

from surgrec.duplicates import VideoHashes, find_copies, hash_video
from surgrec.duplicates._hash import distances, mirrored

RATE = 3.0
LAMP = 140 + 60 * np.cos(np.linspace(-1, 1, 72) * np.pi)[:, None] * np.ones(96)


def scene(seconds: int = 12, seed: int = 0) -> UInt8[np.ndarray, "n h w"]:
    """Return a bright picture of blobs that drift, 72 x 96 pixels."""
    random = np.random.default_rng(seed)
    places, sizes = random.uniform(0, 1, (30, 2)), random.uniform(0.04, 0.2, 30)
    levels, drifts = random.uniform(-70, 70, 30), random.uniform(-0.03, 0.03, (30, 2))
    y, x = np.mgrid[0:72, 0:96] / 72
    frames = []
    for number in range(round(seconds * RATE)):
        moved = places + drifts * number / RATE
        blobs = np.exp(
            -((y - moved[:, :1, None]) ** 2 + (x - moved[:, 1:, None] * 1.33) ** 2)
            / sizes[:, None, None] ** 2
        )
        frames.append(130 + (levels[:, None, None] * blobs).sum(0))
    return np.clip(np.stack(frames), 60, 255).astype(np.uint8)


def hashed(frames: UInt8[np.ndarray, "n h w"]) -> VideoHashes:
    return hash_video(frames, np.arange(len(frames)) / RATE)


def test_each_second_of_a_scene_has_one_hash() -> None:
    assert hashed(scene(12)).seconds.tolist() == list(range(12))


def test_a_mirrored_scene_has_the_mirrored_hashes() -> None:
    frames = scene()
    seen, flipped = hashed(frames), hashed(frames[:, :, ::-1])
    assert distances(mirrored(seen.hashes[:, 0]), flipped.hashes[:, 0]).max() <= 8
    assert distances(seen.hashes[:, 0], flipped.hashes[:, 0]).min() > 66


def test_black_borders_hardly_change_hashes() -> None:
    frames = scene()
    framed = np.pad(frames, ((0, 0), (10, 10), (30, 6)), constant_values=3)
    bits = distances(hashed(frames).hashes[:, 0], hashed(framed).hashes[:, 0])
    assert bits.max() <= 20


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(np.zeros((30, 72, 96), dtype=np.uint8), id="black"),
        pytest.param(np.full((30, 72, 96), 250, dtype=np.uint8), id="white"),
        pytest.param(
            np.random.default_rng(0).integers(90, 110, (30, 72, 96)).astype(np.uint8), id="noise"
        ),
        pytest.param(np.broadcast_to(LAMP.astype(np.uint8), (30, 72, 96)), id="shading of a lamp"),
    ],
)
def test_pictures_that_show_nothing_have_no_hash(frames: UInt8[np.ndarray, "n h w"]) -> None:
    assert len(hashed(frames).seconds) == 0


def test_a_video_without_pictures_has_no_hash() -> None:
    assert len(hashed(np.zeros((0, 72, 96), dtype=np.uint8)).seconds) == 0


def test_a_frozen_picture_is_no_copy_of_itself() -> None:
    still = np.repeat(scene(1)[:1], 90, axis=0)
    noise = np.random.default_rng(1).integers(-2, 3, still.shape)
    noisy = np.clip(still.astype(np.int64) + noise, 0, 255).astype(np.uint8)
    assert find_copies([hashed(still), hashed(noisy)]) == []


def test_a_gap_in_the_times_has_no_hashes() -> None:
    frames = scene(12)
    times_s = np.arange(len(frames)) / RATE
    times_s[18:] += 20  # 6 s, a gap of 20 s, 6 s
    seconds = hash_video(frames, times_s).seconds.tolist()
    assert seconds == [*range(7), *range(26, 32)]
