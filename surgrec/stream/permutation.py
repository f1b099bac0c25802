"""Keyed randomness that never changes: a 64-bit mixer and a Feistel permutation, both vectorized and our own.

Library generators promise no stable stream across versions; an order that must be the same in five years cannot use them.
Everything here is a pure function of its arguments: no state, no objects, no history.
"""

import hashlib
import itertools

import numpy as np
from jaxtyping import Float64, Integer, UInt64

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 0xFFFFFFFFFFFFFFFF
_POWERS_OF_FOUR = np.array([4**half for half in range(1, 32)], dtype=np.uint64)
_ROUNDS = 6

Word = int | np.integer | Integer[np.ndarray, "..."]
"""A whole number or an array of them; negative ones count modulo 2^64."""


def key_of(text: str) -> int:
    """A 64-bit key of a name, the same on every machine: the first 8 bytes of its BLAKE2b digest."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def hash_words(*words: Word) -> UInt64[np.ndarray, "..."]:
    """One well-mixed 64-bit word of several, broadcast against each other.

    A chain of SplitMix64 steps (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", fig. 17).
    """
    plain = list(itertools.takewhile(lambda word: np.ndim(word) == 0, words))
    state = np.asarray(hash_int(*map(int, plain)), dtype=np.uint64)
    for word in words[len(plain) :]:
        state = _finalize(np.asarray((state ^ _as_uint64(word)) + np.uint64(_GOLDEN)))
    return state


def hash_int(*words: int) -> int:
    """`hash_words` of single numbers, in a tenth of the time that NumPy takes for them."""
    number = 0
    for word in words:
        number = (number ^ word) + _GOLDEN & _MASK
        number = (number ^ number >> 30) * _FIRST & _MASK
        number = (number ^ number >> 27) * _SECOND & _MASK
        number ^= number >> 31
    return number


def hash_uniform(*words: int) -> float:
    """`uniform` of single numbers."""
    return (hash_int(*words) >> 11) * 2.0**-53


def uniform(*words: Word) -> Float64[np.ndarray, "..."]:
    """Numbers in [0, 1), one per combination of words, from the top 53 bits of `hash_words`."""
    return np.asarray((hash_words(*words) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def permute(index: Word, size: Word, key: Word) -> UInt64[np.ndarray, "..."]:
    """Where a keyed permutation of [0, size) sends `index`. All three broadcast, so each element may have its own size and key.

    A balanced Feistel network over the smallest power of four that holds `size`, with cycle walking
    (Black & Rogaway 2002, "Ciphers with arbitrary finite domains", section 3).
    """
    return _walk(index, size, key, range(_ROUNDS))


def unpermute(index: Word, size: Word, key: Word) -> UInt64[np.ndarray, "..."]:
    """The inverse of `permute`: which index it sends to this one."""
    return _walk(index, size, key, range(_ROUNDS - 1, -1, -1))


def _walk(index: Word, size: Word, key: Word, rounds: range) -> UInt64[np.ndarray, "..."]:
    value, limit, keys = np.broadcast_arrays(_as_uint64(index), _as_uint64(size), _as_uint64(key))
    shape = value.shape
    value, limit, keys = value.ravel().copy(), limit.ravel(), keys.ravel()
    assert bool(np.all(value < limit)), "an index outside the permutation"
    half = _half_bits(limit)
    walking = np.arange(value.size)
    while walking.size:
        value[walking] = _feistel(value[walking], half[walking], keys[walking], rounds)
        walking = walking[value[walking] >= limit[walking]]
    return value.reshape(shape)


def _feistel(
    value: UInt64[np.ndarray, " n"],
    half: UInt64[np.ndarray, " n"],
    key: UInt64[np.ndarray, " n"],
    rounds: range,
) -> UInt64[np.ndarray, " n"]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    if (
        rounds.step < 0
    ):  # the same rounds backwards undo the permutation when the halves change places
        left, right = right, left
    for number in rounds:
        left, right = right, left ^ (hash_words(key, number, right) & mask)
    if rounds.step < 0:
        left, right = right, left
    return np.asarray((left << half) | right)


def _half_bits(size: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Half of the bits of the smallest power of four, at least 4, that holds `size`."""
    return np.searchsorted(_POWERS_OF_FOUR, size, side="left").astype(np.uint64) + np.uint64(1)


def _finalize(word: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_FIRST)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_SECOND)
    return np.asarray(word ^ (word >> np.uint64(31)))


def _as_uint64(word: Word) -> UInt64[np.ndarray, "..."]:
    if isinstance(word, np.ndarray):
        return word.astype(np.uint64, copy=False)
    return np.asarray(int(word) & _MASK, dtype=np.uint64)
