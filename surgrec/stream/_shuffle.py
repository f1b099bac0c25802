"""The two-level shuffle of a stratum: the sample at rank k of an epoch, without a list.

Level 1 cuts the samples into shuffle blocks of `block` neighbors and permutes the blocks. Level 2
permutes the samples within each window of `window` consecutive permuted blocks. Reads stay close
together, because a window touches at most `window` runs of `block` neighbors; yet neighbors are
spread over the whole window. The result is a permutation of all samples if `block` is 1 or if one
window holds the stratum.

Example: 11 samples, `block=3`, `window=2`. The blocks are (0 1 2) (3 4 5) (6 7 8) (9 10).

    level 1   (3 4 5) (0 1 2) | (6 7 8) (9 10)        blocks permuted; two blocks make a window
    level 2    2 3 5   1 4 0  |  7 9 8   6 10         samples permuted within each window

Rank 0 of this epoch is sample 2, rank 6 is sample 7. The tests guard this epoch (key 99).
"""

import numpy as np
from jaxtyping import Int64, UInt64

from surgrec.stream._permutation import hash_words, permute, unpermute

_BLOCKS, _WINDOWS = 1, 2


def shuffled_sample(
    rank: Int64[np.ndarray, " n"],
    size: Int64[np.ndarray, " n"],
    key: UInt64[np.ndarray, " n"],
    *,
    block: int,
    window: int,
) -> Int64[np.ndarray, " n"]:
    """Return the samples at these ranks of shuffled epochs.

    Args:
        rank: Ranks within an epoch, each in [0, size).
        size: Number of samples of each rank's stratum.
        key: One key per stratum and epoch.
        block: Neighboring samples that move together in level 1.
        window: Shuffle blocks whose samples are mixed in level 2.

    Returns:
        Sample numbers, each in [0, size).
    """
    # Lay the permuted blocks out in cells, `block` cells each. The last block may be short:
    # wherever the permutation puts it, the cells at its end hold no sample. They are the gap, cells
    # [gap, gap + missing).
    blocks = -(-size // block)
    missing = blocks * block - size
    block_key = hash_words(key, _BLOCKS)
    short_block_at = unpermute(blocks - 1, blocks, block_key).astype(np.int64)
    gap = (short_block_at + 1) * block - missing

    # Ranks number the cells with a sample: behind the gap, a rank is `missing` less than its cell.
    def cell_of(rank: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(rank + np.where(rank >= gap, missing, 0))

    def rank_of(cell: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(cell - np.clip(cell - gap, 0, missing))

    # Level 2: permute the ranks [start, end) of the window.
    cells_per_window = block * window
    window_index = cell_of(rank) // cells_per_window
    start = rank_of(window_index * cells_per_window)
    end = rank_of(np.minimum((window_index + 1) * cells_per_window, blocks * block))
    window_key = hash_words(key, _WINDOWS, window_index)
    shuffled_rank = start + permute(rank - start, end - start, window_key).astype(np.int64)

    # Level 1: find the block that was permuted to this cell, and the sample within the block.
    cell = cell_of(shuffled_rank)
    block_index = permute(cell // block, blocks, block_key).astype(np.int64)
    return np.asarray(block_index * block + cell % block)
