"""Copies among hashes: stretches, speeds, gaps, and what is none."""

import numpy as np
import pytest
from jaxtyping import UInt64

from surgrec.duplicates import CopyRules, VideoHashes, find_copies


def random_hashes(count: int, seed: int) -> UInt64[np.ndarray, "n 1 4"]:
    random = np.random.default_rng(seed)
    return random.integers(0, 2**64, (count, 1, 4), dtype=np.uint64)


def noisy(hashes: UInt64[np.ndarray, "n 1 4"], seed: int) -> UInt64[np.ndarray, "n 1 4"]:
    """Flip each bit with a probability of 1/16."""
    random = np.random.default_rng(seed)
    flips = [random.integers(0, 2**64, hashes.shape, dtype=np.uint64) for _ in range(4)]
    return hashes ^ (flips[0] & flips[1] & flips[2] & flips[3])


def differing(hashes: UInt64[np.ndarray, "n 1 4"], bits: int) -> UInt64[np.ndarray, "n 1 4"]:
    """Flip as many bits of each hash, others in each."""
    random = np.random.default_rng(bits)
    flips = np.zeros((len(hashes), 256), dtype=bool)
    for row in flips:
        row[random.permutation(256)[:bits]] = True
    return hashes ^ np.packbits(flips, axis=1).view(np.uint64)[:, None]


def video(hashes: UInt64[np.ndarray, "n 1 4"], *, first_s: int = 0) -> VideoHashes:
    return VideoHashes(seconds=np.arange(first_s, first_s + len(hashes)), hashes=hashes)


def test_a_stretch_is_found_with_its_times_in_both_videos() -> None:
    original = random_hashes(300, 0)
    excerpt = np.concatenate([random_hashes(40, 1), noisy(original[100:120], 2)])
    (copy,) = find_copies([video(original), video(excerpt)])
    assert (copy.video, copy.start_s, copy.end_s) == (0, 100, 120)
    assert (copy.other, copy.other_start_s, copy.other_end_s) == (1, 40, 60)
    assert (copy.seconds, round(copy.speed, 2)) == (20, 1.0)
    assert 0.85 < copy.similarity < 0.9


def test_against_others_videos_are_not_compared_with_each_other() -> None:
    original = random_hashes(60, 0)
    twins = [video(original), video(noisy(original, 1))]
    assert len(find_copies(twins)) == 1
    assert find_copies(twins, [video(random_hashes(60, 3))]) == []
    copies = find_copies(twins, [video(noisy(original, 4))])
    assert [(copy.video, copy.other) for copy in copies] == [(0, 0), (1, 0)]


def test_a_copy_at_double_speed_is_found() -> None:
    original = random_hashes(80, 0)
    (copy,) = find_copies([video(noisy(original[10:50:2], 1))], [video(original)])
    assert round(copy.speed, 1) == 2.0
    assert (copy.other_start_s, copy.other_end_s) == (10, 50)


@pytest.mark.parametrize("seconds", [7, 10, 14])
@pytest.mark.parametrize("shift_s", [0.0, 0.25, 0.5, 0.75])
def test_a_short_shifted_copy_has_its_times_and_speed_1(seconds: int, shift_s: float) -> None:
    # Half of the bits change one after the other in 6 s, and one in 20 by chance.
    random = np.random.default_rng(0)
    scenes = random.integers(0, 2, (8, 256))
    number, share = np.divmod(np.arange(0, 40, 0.25), 6)
    is_next = share[:, None] / 6 > random.uniform(0, 1, 256)
    bits = np.where(is_next, scenes[number.astype(int) + 1], scenes[number.astype(int)])
    bits ^= random.uniform(0, 1, bits.shape) < 0.05
    every = np.packbits(bits, axis=1).view(np.uint64)[:, None]
    first = round(4 * (9 + shift_s))
    (copy,) = find_copies([video(every[::4][:25])], [video(every[first : first + 4 * seconds : 4])])
    assert copy.speed == 1.0
    assert copy.start_s == pytest.approx(9 + shift_s, abs=0.4)
    assert copy.end_s == pytest.approx(9 + shift_s + seconds, abs=0.4)


def test_a_short_gap_does_not_divide_a_copy_but_a_long_one_does() -> None:
    original, other = random_hashes(60, 0), random_hashes(60, 1)
    short, long = other.copy(), other.copy()
    for copied in (short, long):
        copied[10:20], copied[23:33] = original[10:20], original[23:33]
    long[23:33] = other[23:33]
    long[30:40] = original[30:40]
    spans = [
        [(copy.start_s, copy.end_s) for copy in find_copies([video(original)], [video(copied)])]
        for copied in (short, long)
    ]
    assert spans == [[(10, 33)], [(10, 20), (30, 40)]]


def test_fewer_seconds_than_the_rule_are_no_copy() -> None:
    original = random_hashes(60, 0)
    others = [video(np.concatenate([random_hashes(20, 1), original[30:37]]))]
    assert find_copies([video(original)], others, rules=CopyRules(min_s=8)) == []
    assert len(find_copies([video(original)], others, rules=CopyRules(min_s=7))) == 1


@pytest.mark.parametrize(("seconds", "bits", "copies"), [(6, 51, 0), (6, 45, 1), (12, 51, 1)])
def test_a_short_copy_must_match_better_than_a_long_one(
    seconds: int, bits: int, copies: int
) -> None:
    original = random_hashes(60, 0)
    copied = differing(original[20 : 20 + seconds], bits)
    excerpt = np.concatenate([random_hashes(20, 1), copied, random_hashes(20, 2)])
    assert len(find_copies([video(original)], [video(excerpt)])) == copies


def test_many_unrelated_videos_have_no_copies() -> None:
    videos = [video(random_hashes(100, seed)) for seed in range(60)]
    assert find_copies(videos) == []


def test_no_videos_have_no_copies() -> None:
    assert find_copies([]) == []
    assert find_copies([video(random_hashes(0, 0))], [video(random_hashes(9, 0))]) == []
