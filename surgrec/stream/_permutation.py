"""Keyed randomness that never changes: a 64-bit hash and a keyed permutation, both vectorized.

The generators of libraries do not promise the same numbers in every version, so an order that must
be the same in five years cannot use them. Every function of this file is a pure function of its
arguments.
"""

import hashlib
import itertools

import numpy as np
from jaxtyping import Float64, Integer, UInt64

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""SplitMix64's increment and its two multipliers."""
_MASK = 0xFFFFFFFFFFFFFFFF
_POWERS_OF_FOUR = np.array([4**half for half in range(1, 32)], dtype=np.uint64)
_ROUNDS = 6

Word = int | np.integer | Integer[np.ndarray, "..."]
"""An integer or an array of integers. Negative ones count modulo 2^64."""


def hash_text(text: str) -> int:
    """Return a 64-bit hash of a name: the first 8 bytes of its BLAKE2b digest."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def hash_words(*words: Word) -> UInt64[np.ndarray, "..."]:
    """Return one well-mixed 64-bit word per combination of words.

    The words broadcast against each other. The hash is a chain of SplitMix64 steps, one per word.
    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", figure 17.
    """
    # Leading scalars are hashed by Python: ten times faster than by NumPy.
    scalars = list(itertools.takewhile(lambda word: np.ndim(word) == 0, words))
    state = np.asarray(hash_int(*map(int, scalars)), dtype=np.uint64)

    for word in words[len(scalars) :]:
        state = _finalize(np.asarray((state ^ _as_uint64(word)) + np.uint64(_GOLDEN)))
    return state


def hash_int(*words: int) -> int:
    """Return `hash_words` of single integers, in a tenth of the time that NumPy takes."""
    state = 0
    for word in words:
        state = (state ^ word) + _GOLDEN & _MASK
        state = (state ^ state >> 30) * _FIRST & _MASK
        state = (state ^ state >> 27) * _SECOND & _MASK
        state ^= state >> 31
    return state


def hash_uniform(*words: int) -> float:
    """Return `uniform` of single integers: a number in [0, 1)."""
    return (hash_int(*words) >> 11) * 2.0**-53


def uniform(*words: Word) -> Float64[np.ndarray, "..."]:
    """Return numbers in [0, 1) from the top 53 bits of `hash_words`."""
    return np.asarray((hash_words(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def permute(index: Word, size: Word, key: Word) -> UInt64[np.ndarray, "..."]:
    """Return the images of indices under keyed permutations of [0, size).

    The arguments broadcast, so each element may have its own size and key. The permutation is a
    balanced Feistel network over the smallest power of four that holds `size`, with cycle walking.
    Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 3.

    Args:
        index: Indices, each in [0, size).
        size: Sizes of the permuted ranges.
        key: Keys; each key gives another permutation.

    Example:
        >>> permute(np.arange(10), 10, 7).tolist()
        [4, 9, 1, 7, 0, 3, 8, 5, 6, 2]
    """
    return _permute_by_rounds(index, size, key, range(_ROUNDS))


def unpermute(index: Word, size: Word, key: Word) -> UInt64[np.ndarray, "..."]:
    """Return the indices that `permute` maps to these indices."""
    return _permute_by_rounds(index, size, key, range(_ROUNDS - 1, -1, -1))


def _permute_by_rounds(
    index: Word, size: Word, key: Word, rounds: range
) -> UInt64[np.ndarray, "..."]:
    """Apply Feistel rounds with cycle walking; descending rounds invert the permutation."""
    value, limit, keys = np.broadcast_arrays(_as_uint64(index), _as_uint64(size), _as_uint64(key))
    shape = value.shape
    value, limit, keys = value.ravel().copy(), limit.ravel(), keys.ravel()
    assert bool(np.all(value < limit)), "an index is outside the permutation"

    # The network permutes [0, 4^half), which is up to four times larger than [0, size). An image of
    # `size` or more is permuted again until it is inside: this follows the index's cycle, so
    # distinct indices keep distinct images.
    half = _half_bits(limit)
    outside = np.arange(value.size)
    while outside.size:
        value[outside] = _feistel(value[outside], half[outside], keys[outside], rounds)
        outside = outside[value[outside] >= limit[outside]]

    return value.reshape(shape)


def _feistel(
    value: UInt64[np.ndarray, " n"],
    half: UInt64[np.ndarray, " n"],
    key: UInt64[np.ndarray, " n"],
    rounds: range,
) -> UInt64[np.ndarray, " n"]:
    """Permute values of 2 * `half` bits by Feistel rounds whose round function is `hash_words`."""
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask

    # Descending rounds undo the permutation if the halves are swapped before and after them.
    is_inverse = rounds.step < 0
    if is_inverse:
        left, right = right, left
    for number in rounds:
        left, right = right, left ^ (hash_words(key, number, right) & mask)
    if is_inverse:
        left, right = right, left

    return np.asarray((left << half) | right)


def _half_bits(size: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Return half of the bits of the smallest power of four, at least 4, that holds `size`."""
    return np.searchsorted(_POWERS_OF_FOUR, size, side="left").astype(np.uint64) + np.uint64(1)


def _finalize(word: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_FIRST)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_SECOND)
    return np.asarray(word ^ (word >> np.uint64(31)))


def _as_uint64(word: Word) -> UInt64[np.ndarray, "..."]:
    if isinstance(word, np.ndarray):
        return word.astype(np.uint64, copy=False)
    return np.asarray(int(word) & _MASK, dtype=np.uint64)
