"""Random numbers for masks: keyed, without state, and the same in every version of NumPy."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

RandomSource: TypeAlias = Callable[[int], Float64[np.ndarray, " n"]]
"""The next so many doubles in [0, 1)."""


def uniforms(seed: int, place: int, mask_config: int, view: int = 0) -> RandomSource:
    """The draws that belong to a place in the global order. NumPy promises raw bits, not Generator's methods.

    Args:
        seed: Seed of the run.
        place: Number of a mask group or of a position.
        mask_config: Number of the mask configuration, or of one of several uses.
        view: Number of the view, where a sample is seen several times in a step.
    """
    bits = np.random.Philox(
        key=np.array([seed, place], dtype=np.uint64),
        counter=np.array([0, 0, view, mask_config], dtype=np.uint64),
    )
    return lambda count: (bits.random_raw(count) >> np.uint64(11)) * 2.0**-53
