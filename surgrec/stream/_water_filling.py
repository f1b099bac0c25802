"""Max-min fair division: the copies of each clip that make clusters as equal as possible.

Large groups are capped, and small ones are kept whole. Source: Vo et al. 2024, "Automatic data
curation for self-supervised learning" (arXiv:2405.15613), section 3.3.

Example: 10 copies of the clips of three clusters with 20, 3 and 2 clips. The largest cap whose sum
is at most 10 is 5: min(5, 20) + 3 + 2 = 10. So the clusters get 5, 3 and 2 copies.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.stream._permutation import hash_words
from surgrec.stream.group_places import places_in_groups

_TIES, _CLIPS = 1, 2
"""Purpose of a key: ties between groups, and between the clips of a group."""


def divide_fairly(
    rooms: Int64[np.ndarray, " n"], total: int, ties: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Divide a total among parts, as equally as their rooms allow.

    Args:
        rooms: Most units of each part.
        total: Units to divide.
        ties: The parts, in the order in which they get the units that are left.

    Returns:
        The units of each part. They sum to `total`, or to all rooms if these are fewer.
    """
    if total >= rooms.sum():
        return rooms.copy()

    # The sum of min(cap, room) is linear between two rooms, and is known at each room.
    ascending = np.sort(rooms)
    before = np.cumsum(ascending) - ascending
    larger = len(rooms) - np.arange(len(rooms))
    sums = before + ascending * larger
    first = int(np.searchsorted(sums, total, side="right"))
    cap = (total - int(before[first])) // int(larger[first])

    # The remainder is smaller than the number of parts that still have room.
    units = np.minimum(rooms, cap)
    has_room = ties[rooms[ties] > cap]
    units[has_room[: total - int(units.sum())]] += 1
    return np.asarray(units)


def divide_by_weight(
    rooms: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, " n"], total: int
) -> Int64[np.ndarray, " n"]:
    """Divide a total among parts in proportion to weights, as far as their rooms allow.

    The rest of a full part is divided among the others, again in proportion.

    Args:
        rooms: Most units of each part.
        weights: Weights of the parts, at least 0. A part of weight 0 gets nothing.
        total: Units to divide.

    Returns:
        The units of each part, rounded by largest remainder.
    """
    rooms = np.where(weights > 0, rooms, 0)
    if total >= rooms.sum():
        return rooms

    # Parts fill up in the order of room per weight. Each full part leaves its rest to the others.
    quota = np.zeros(len(rooms))
    order = np.argsort(rooms / np.where(weights > 0, weights, 1.0), kind="stable")
    order = order[rooms[order] > 0]
    left, weight_left = float(total), float(weights[order].sum())
    for place, part in enumerate(order.tolist()):
        scale = left / weight_left
        if rooms[part] >= scale * weights[part]:
            quota[order[place:]] = scale * weights[order[place:]]
            break
        quota[part] = rooms[part]
        left, weight_left = left - rooms[part], weight_left - weights[part]

    # Round to 9 digits first, as the counts of a mixing block.
    quota = np.round(quota, 9)
    units = np.minimum(np.floor(quota).astype(np.int64), rooms)
    by_remainder = np.argsort(units - quota, kind="stable")
    by_remainder = by_remainder[units[by_remainder] < rooms[by_remainder]]
    units[by_remainder[: total - int(units.sum())]] += 1
    return np.asarray(units)


def fair_copies(
    levels: Sequence[Int64[np.ndarray, " clips"]],
    total: int,
    *,
    repeats: int,
    key: int,
    weights: Float64[np.ndarray, " groups"] | None = None,
) -> Int64[np.ndarray, " clips"]:
    """Return the copies of each clip, so that the groups of each level are as equal as possible.

    Args:
        levels: Group of each clip by level, from the outermost to the innermost; numbers from 0.
        total: Copies of all clips together.
        repeats: Most copies of a clip.
        key: Seed of the choice among equals.
        weights: Weights of the groups of the first level, by number. The groups then get copies in
            proportion to them, not equally.

    Returns:
        Copies of each clip, 0 to `repeats`. They sum to `total`, or to fewer if there are not
        enough clips.
    """
    num_clips = len(levels[0])
    group = np.zeros(num_clips, dtype=np.int64)
    budgets = np.array([min(total, repeats * num_clips)], dtype=np.int64)

    for depth, codes in enumerate(levels):
        num_codes = int(codes.max()) + 1
        children, child_of_clip, sizes = np.unique(
            group * num_codes + codes, return_inverse=True, return_counts=True
        )
        parents, codes_of_children = np.divmod(children, num_codes)
        rooms = repeats * sizes
        order = np.argsort(hash_words(key, _TIES, depth, np.arange(len(sizes))), kind="stable")

        # The children of a parent are neighbors, because they are sorted by parent.
        child_budgets = np.empty(len(sizes), dtype=np.int64)
        ends = np.searchsorted(parents, np.arange(len(budgets) + 1))
        ranks = np.argsort(order, kind="stable")
        for parent, budget in enumerate(budgets.tolist()):
            own = slice(int(ends[parent]), int(ends[parent + 1]))
            if depth == 0 and weights is not None:
                units = divide_by_weight(rooms[own], weights[codes_of_children[own]], budget)
            else:
                ties = np.argsort(ranks[own], kind="stable")
                units = divide_fairly(rooms[own], budget, ties)
            child_budgets[own] = units
        group, budgets = child_of_clip, child_budgets

    return _copies_of_clips(group, budgets, key)


def _copies_of_clips(
    group: Int64[np.ndarray, " clips"], budgets: Int64[np.ndarray, " groups"], key: int
) -> Int64[np.ndarray, " clips"]:
    """Divide the copies of each group among its clips; clips in a keyed order get the rest."""
    sizes = np.bincount(group, minlength=len(budgets))
    whole, rest = np.divmod(budgets, sizes)

    place = places_in_groups(group, hash_words(key, _CLIPS, np.arange(len(group))))
    return np.asarray(whole[group] + (place < rest[group]))
