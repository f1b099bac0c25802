"""The relaxed phase metrics of the M2CAI16 challenge, as meant and as published code computes them.

Near a transition, a frame counts as right if it shows the phase on the other side. These metrics
have names of their own (`relaxed_*`): they are higher than others by several percent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.scores.segments import segments

_NEXT = frozenset({1})
_NEXT_TWO = frozenset({1, 2})


@dataclass(frozen=True, kw_only=True)
class RelaxedRule:
    """Which other phases count as right near the start and the end of a phase, and for how long."""

    seconds: float = 10.0
    """Seconds after the start and before the end of each segment."""
    before: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """How many phases back a late prediction may be at the start of a phase; otherwise one."""
    after: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """How many phases ahead an early prediction may be at its end; otherwise one."""


CHOLEC80 = RelaxedRule(
    before={5: _NEXT_TWO, 6: _NEXT_TWO},
    after={3: _NEXT_TWO, 4: _NEXT_TWO, 5: _NEXT_TWO, 6: _NEXT_TWO},
)
"""For the seven phases of Cholec80, in their order from 0."""

M2CAI16 = RelaxedRule(
    before={6: _NEXT_TWO, 7: _NEXT_TWO},
    after={4: _NEXT_TWO, 5: _NEXT_TWO, 6: _NEXT_TWO, 7: _NEXT_TWO},
)
"""For the eight phases of M2CAI16, in their order from 0."""

RELAXED_RULES = {"plain": RelaxedRule(), "cholec80": CHOLEC80, "m2cai16": M2CAI16}
"""All rules, by their names."""


def relaxed_correct(
    label: Int64[np.ndarray, " n"],
    predicted: Int64[np.ndarray, " n"],
    *,
    rate_fps: float,
    rule: RelaxedRule,
    published: bool = False,
) -> Bool[np.ndarray, " n"]:
    """Return which frames count as right.

    Args:
        label: Phase of each frame, numbered in the order of the procedure.
        predicted: Predicted phase of each frame.
        rate_fps: Frames per second. A tolerance in frames of another rate is the known mistake of
            scoring 1 fps with 250 frames.
        rule: The neighbors that count.
        published: As in the widely copied MATLAB code (M2CAI16, TMRNet, Surgformer): what the last
            frames of a segment find is credited to its first frames (TMRNet, issue 8).
    """
    ahead = predicted - label
    tolerance = round(rule.seconds * rate_fps)

    for segment in segments(label):
        part = ahead[segment.start : segment.end]  # a view
        count = min(tolerance, len(part))
        if not count:
            continue
        late = [-step for step in rule.before.get(segment.value, _NEXT)]
        early = list(rule.after.get(segment.value, _NEXT))

        head = part[:count]
        head[np.isin(head, late)] = 0
        tail = part[-count:]
        found = np.isin(tail, early)
        (head if published else tail)[found] = 0
    return np.asarray(ahead == 0)
