"""The two-level shuffle of one source: which of its samples comes k-th in an epoch, without a list of them.

Blocks of neighboring samples are permuted, then the samples inside each window of permuted blocks. Reads stay close together
(a window touches `window` runs of `block` neighbors), yet neighbors are spread over the whole window.
With block 1, or when one window holds the source, the result is a permutation of all samples.
"""

import numpy as np
from jaxtyping import Int64, UInt64

from surgrec.stream.permutation import hash_words, permute, unpermute

_BLOCKS, _WINDOWS = 1, 2


def shuffled_sample(
    rank: Int64[np.ndarray, " n"],
    size: Int64[np.ndarray, " n"],
    key: UInt64[np.ndarray, " n"],
    *,
    block: int,
    window: int,
) -> Int64[np.ndarray, " n"]:
    """Samples, each in [0, size), that stand at these ranks of their source's shuffled epoch.

    Args:
        rank: Places in the epoch, each in [0, size).
        size: Samples of the source each rank belongs to.
        key: One key per source and epoch.
        block: Neighboring samples that move together.
        window: Blocks whose samples are mixed with each other.
    """
    blocks = -(-size // block)
    missing = blocks * block - size  # what the last block lacks
    block_key = hash_words(key, _BLOCKS)
    short_place = unpermute(blocks - 1, blocks, block_key).astype(np.int64)
    gap = (short_place + 1) * block - missing  # the places that do not exist start here

    def with_gap(place: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(place + np.where(place >= gap, missing, 0))

    def without_gap(place: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(place - np.clip(place - gap, 0, missing))

    span = block * window
    window_index = with_gap(rank) // span
    start = without_gap(window_index * span)
    end = without_gap(np.minimum((window_index + 1) * span, blocks * block))
    inside = permute(rank - start, end - start, hash_words(key, _WINDOWS, window_index)).astype(
        np.int64
    )
    place = with_gap(start + inside)
    block_index = permute(place // block, blocks, block_key).astype(np.int64)
    return np.asarray(block_index * block + place % block)
