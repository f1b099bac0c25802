"""The place of each entry among the members of its group."""

import numpy as np
from jaxtyping import Int64, Shaped


def places_in_groups(
    groups: Int64[np.ndarray, " n"], by: Shaped[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Return the place of each entry in its group, from 0.

    Args:
        groups: Group of each entry; numbers from 0.
        by: Values by which the members of a group are ordered, ascending; equal ones stay in the
            order of the entries.

    Example:
        >>> places_in_groups(np.array([1, 0, 1]), np.array([0.9, 0.5, 0.2])).tolist()
        [1, 0, 0]
    """
    order = np.lexsort((by, groups))
    sizes = np.bincount(groups)
    firsts = np.cumsum(sizes) - sizes
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups)) - firsts[groups[order]]
    return places
