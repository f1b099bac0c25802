"""Scores of a task with folds: the mean over the folds, each with its own test cases."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.scores.paired import CaseTable


@dataclass(frozen=True, kw_only=True)
class FoldTables:
    """Predictions on the test cases of each fold."""

    tables: tuple[CaseTable, ...]
    """One per fold."""
    columns: tuple[Int64[np.ndarray, " _"], ...]
    """Cases of each fold, as indices among the cases of all folds."""

    @property
    def num_cases(self) -> int:
        """Number of cases of all folds."""
        return sum(len(each) for each in self.columns)

    def beside(self, other: "FoldTables") -> "FoldTables":
        """Return the cases of both predictions, this one's first (see `swap_test`)."""
        return FoldTables(
            tables=tuple(
                own.beside(its) for own, its in zip(self.tables, other.tables, strict=True)
            ),
            columns=tuple(
                np.concatenate([own, its + self.num_cases])
                for own, its in zip(self.columns, other.columns, strict=True)
            ),
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return the mean over the folds of the scores of each of `r` test sets.

        A score that is undefined in one fold is undefined.

        Args:
            weights: Multiplicity of each case in each test set (see `surgrec.scores.units`).
        """
        by_fold = [
            table.scores(weights[:, columns])
            for table, columns in zip(self.tables, self.columns, strict=True)
        ]
        shared = [name for name in by_fold[0] if all(name in each for each in by_fold)]
        return {name: np.mean([each[name] for each in by_fold], axis=0) for name in shared}


def fold_tables(tables: list[CaseTable]) -> FoldTables:
    """Return predictions on folds whose cases follow each other.

    Args:
        tables: One per fold.
    """
    ends = np.cumsum([table.num_cases for table in tables])
    return FoldTables(
        tables=tuple(tables),
        columns=tuple(
            np.arange(end - table.num_cases, end) for table, end in zip(tables, ends, strict=True)
        ),
    )
