"""Scores of action triplets (instrument, verb, target), as ivtmetrics 0.1.5 defines them.

Nwoye and Padoy 2022, arXiv:2204.05235. The average precision is computed within each video, then
averaged over the videos that have the class, then over classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.scores._means import mean_over_columns, mean_over_rows
from surgrec.scores.multilabel import LabelSets

COMPONENTS = ("i", "v", "t", "iv", "it", "ivt")
"""Instruments, verbs, targets, and their combinations."""


class Triplet(NamedTuple):
    """The meaning of one triplet class."""

    instrument: str
    verb: str
    target: str

    @property
    def is_null(self) -> bool:
        """Whether the instrument does nothing."""
        return self.verb == "null_verb"


@dataclass(frozen=True, kw_only=True)
class TripletTable:
    """The average precision of each class of each component within each video."""

    by_video: Mapping[str, Float64[np.ndarray, "v _"]]
    """Videos by classes, for each component; NaN where a video lacks the class."""
    case: Int64[np.ndarray, " v"]
    """Case of each video."""
    num_cases: int
    null: Bool[np.ndarray, " triplets"]
    """Which triplet classes are null."""

    def beside(self, other: "TripletTable") -> "TripletTable":
        """Return the videos of both predictions, this one's first (see `swap_test`)."""
        return TripletTable(
            by_video={
                name: np.concatenate([table, other.by_video[name]])
                for name, table in self.by_video.items()
            },
            case=np.concatenate([self.case, other.case + self.num_cases]),
            num_cases=self.num_cases + other.num_cases,
            null=self.null,
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return AP_I, AP_V, AP_T, AP_IV, AP_IT and AP_IVT of each of `r` test sets.

        `ap_ivt` counts the null triplets, as ivtmetrics does by default. `ap_ivt_ignore_null`
        leaves them out. In ivtmetrics, `ignore_null` of the constructor has no effect; as an
        argument of a computation it drops the last six triplets, and changes no other component.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        video_weights = weights[:, self.case]
        means = {
            name: mean_over_rows(table, video_weights) for name, table in self.by_video.items()
        }
        found = {f"ap_{name}": mean_over_columns(table) for name, table in means.items()}
        found["ap_ivt_ignore_null"] = mean_over_columns(means["ivt"][:, ~self.null])
        return found


def score_triplets(
    label: Bool[np.ndarray, "n triplets"],
    score: Float64[np.ndarray, "n triplets"],
    *,
    video: Int64[np.ndarray, " n"],
    case: Int64[np.ndarray, " v"],
    classes: Sequence[Triplet],
) -> TripletTable:
    """Return the average precisions of triplets and of their components.

    The score of a component is the greatest score of its triplets.

    Args:
        label: Triplets of each frame.
        score: Score of each triplet in each frame.
        video: Video of each frame, as an index.
        case: Case of each video, as an index.
        classes: Meaning of each triplet class.
    """
    by_video = {}

    # A component has the greatest score of its triplets.
    for component in COMPONENTS:
        members = _members(classes, component)
        sets = LabelSets(
            case=video,
            label=np.stack([label[:, columns].any(1) for columns in members], axis=1),
            score=np.stack([score[:, columns].max(1) for columns in members], axis=1),
            num_cases=len(case),
        )
        by_video[component] = sets.case_precision

    return TripletTable(
        by_video=by_video,
        case=case,
        num_cases=int(case.max()) + 1,
        null=np.array([each.is_null for each in classes]),
    )


def _members(classes: Sequence[Triplet], component: str) -> list[list[int]]:
    """Return the triplets of each class of a component."""
    if component == "ivt":
        return [[index] for index in range(len(classes))]
    positions = ["ivt".index(letter) for letter in component]
    found: dict[tuple[str, ...], list[int]] = {}
    for index, triplet in enumerate(classes):
        found.setdefault(tuple(triplet[position] for position in positions), []).append(index)
    return list(found.values())
