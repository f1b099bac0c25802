"""Random numbers for masks: keyed, without state, and equal in every version of NumPy."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

RandomSource: TypeAlias = Callable[[int], Float64[np.ndarray, " n"]]
"""A function that returns the next `n` doubles in [0, 1)."""

MASKS_VERSION = 1
"""Version of all masks; raise it with every change of the mask at a position."""


def uniforms(seed: int, index: int, mask_config: int, view: int = 0) -> RandomSource:
    """Return the source of random numbers for one mask group or position.

    NumPy guarantees the raw bits of Philox across versions, but not the methods of `Generator`.
    So the doubles are computed here from raw bits.

    Args:
        seed: Seed of the run.
        index: Number of the mask group, or the position in the stream.
        mask_config: Number of the mask configuration, or of the purpose if there are several.
        view: Number of the view, if a step has several views of a sample.
    """
    bits = np.random.Philox(
        key=np.array([seed, index], dtype=np.uint64),
        counter=np.array([0, 0, view, mask_config], dtype=np.uint64),
    )
    return lambda count: (bits.random_raw(count) >> np.uint64(11)) * 2.0**-53
