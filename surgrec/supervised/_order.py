"""The order of train windows: a pure function of seed and position, for any number of processes."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.stream import hash_int
from surgrec.supervised._part_gradients import PARTS

_ORDER = 1
"""Word of the hash that orders windows; views have their own keys."""


class WindowOrder:
    """Every window once per epoch, in a new order each time.

    Args:
        num_windows: Train windows.
        global_batch: Windows per step over all processes, a multiple of `PARTS`.
        seed: Seed of the order.

    Raises:
        ConfigError: The global batch cannot be cut in equal parts.
    """

    def __init__(self, num_windows: int, global_batch: int, seed: int) -> None:
        if global_batch % PARTS:
            raise ConfigError(
                f"global_batch is {global_batch}; give a multiple of {PARTS}, the number of parts "
                "whose gradients are added in a fixed order"
            )
        self._num_windows = num_windows
        self._global_batch = global_batch
        self._seed = seed
        self._epoch_order = lru_cache(maxsize=2)(self._make_epoch_order)

    def positions(self, step: int, part: int) -> range:
        """Return the positions of one part of a step."""
        size = self._global_batch // PARTS
        first = step * self._global_batch + part * size
        return range(first, first + size)

    def windows(self, positions: Sequence[int]) -> list[int]:
        """Return the window at each position."""
        epochs = [divmod(position, self._num_windows) for position in positions]
        return [int(self._epoch_order(epoch)[index]) for epoch, index in epochs]

    def _make_epoch_order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        keys = [hash_int(self._seed, _ORDER, epoch, each) for each in range(self._num_windows)]
        return np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
