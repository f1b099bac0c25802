"""The tables of a comparison, as text that Markdown, LaTeX and HTML share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surgrec.comparisons._class_tables import class_score_table
from surgrec.comparisons._pair_tables import WITH_SEEDS, center_table, pair_sentence, pair_table
from surgrec.comparisons._records import (
    BASELINE,
    PIXELS,
    Compared,
    Comparison,
    DataSet,
    Standing,
)
from surgrec.comparisons._table import Table, bounds, interval, number
from surgrec.scores import LEVEL, METRICS
from surgrec.scores.kinds import metric_name
from surgrec.scores.paired import Verdict

_FEATURES = {"trained": "trained", "random": "random init", PIXELS: "pixels", BASELINE: "-"}
_ROW_NAMES = ("method", "features", "classifier")
_SPREADS = ("seeds", WITH_SEEDS, "std over seeds", "std over cases")


@dataclass(frozen=True, kw_only=True)
class DataSetTables:
    """The tables of one data set, in the order of pages."""

    data_set: DataSet
    tables: list[Table]
    """Those with rows."""
    origin: Table
    """Digests and protocols."""


@dataclass(frozen=True, kw_only=True)
class ComparisonTables:
    """All tables of a comparison, and its verdicts in words."""

    standings: list[Table]
    folds: list[Table]
    """Scores and pairs of the means over folds."""
    verdicts: list[tuple[Verdict, str]]
    """Of each pair by the primary classifier."""
    data_sets: list[DataSetTables]

    @property
    def in_order(self) -> list[Table]:
        """All tables in the order of pages."""
        tables = [*self.standings, *self.folds]
        for each in self.data_sets:
            tables += [*each.tables, each.origin]
        return tables


def comparison_tables(comparison: Comparison) -> ComparisonTables:
    """Return the tables of a comparison, as text.

    Example:
        >>> comparison_tables(compare(["runs/a", "runs/b"])).verdicts[0]
        ('better', 'phase, split official: runs/a is better than runs/b (kNN, ...)')
    """
    return ComparisonTables(
        standings=[_all_data_sets(comparison, each) for each in comparison.standings],
        verdicts=[
            (pair.verdict, pair_sentence(data_set, pair))
            for data_set in comparison.counted
            for pair in data_set.primary_pairs
        ],
        folds=[
            table
            for each in comparison.folds
            for table in (*score_tables(each), pair_table(each))
            if table.rows
        ],
        data_sets=[
            DataSetTables(
                data_set=data_set,
                tables=[
                    table
                    for table in (
                        *score_tables(data_set),
                        pair_table(data_set),
                        center_table(data_set),
                        class_score_table(data_set),
                    )
                    if table.rows
                ],
                origin=origin_table(data_set),
            )
            for data_set in comparison.data_sets
        ],
    )


def standing_table(
    title: str,
    standings: Sequence[Standing],
    *,
    mean: str = "",
    with_verdicts: bool = True,
    further: Mapping[str, Sequence[object]] | None = None,
    note: str,
) -> Table:
    """Return ranks of methods over several tasks, also for a benchmark.

    Args:
        title: Its title.
        standings: The methods.
        mean: Name of the mean scores; empty: they are left out.
        with_verdicts: Whether to show how often a method is better and worse.
        further: Further columns by name, with a cell for each method.
        note: Sentence below the table.
    """
    further = further or {}
    return Table(
        title=title,
        columns=[
            *("method", *([mean] if mean else []), "mean rank"),
            *(("better", "worse") if with_verdicts else ()),
            *further,
        ],
        rows=[
            [
                each.method,
                *([number(each.mean)] if mean else []),
                number(each.rank, 2),
                *((str(each.better), str(each.worse)) if with_verdicts else ()),
                *(str(column[place]) for column in further.values()),
            ]
            for place, each in enumerate(standings)
        ],
        names=1,
        note=note,
    )


def _all_data_sets(comparison: Comparison, classifier: str) -> Table:
    """Return mean scores, ranks and verdicts of all methods over all data sets."""
    standings = comparison.standings[classifier]
    return standing_table(
        f"All data sets, {comparison.text_of(classifier)}",
        standings,
        mean=_mean_name(comparison),
        note=f"Means and ranks over {standings[0].data_sets} of {len(comparison.counted)} data "
        "sets: those that every method has without a degenerate row; the folds of a task count as "
        "one. Better and worse: verdicts of pairs.",
    )


def _mean_name(comparison: Comparison) -> str:
    """Return the name of the mean score; data sets of several kinds have several metrics."""
    metrics = {each.kind.primary for each in comparison.data_sets}
    return f"mean {metric_name(metrics.pop())}" if len(metrics) == 1 else "mean primary score"


def score_tables(data_set: Compared) -> list[Table]:
    """Return the scores of all methods and baselines, with intervals and spreads.

    Phases have a second table, with the scores of videos, phases and segments.
    """
    metrics = data_set.kind.metrics
    pooled = METRICS if metrics[: len(METRICS)] == METRICS else metrics
    primary, by_case = metric_name(data_set.kind.primary), data_set.kind.case_value
    of_cases = "" if by_case == primary else f" (over cases: of {by_case})"
    spreads = [
        [
            str(row.seeds),
            bounds(row.with_seeds[row.primary]),
            number(row.seed_spread),
            number(row.case_spread),
        ]
        for row in data_set.rows
    ]
    first = Table(
        title=f"{data_set.name}: scores",
        columns=[*_ROW_NAMES, *map(metric_name, pooled), *_SPREADS],
        rows=[
            [*cells, *more]
            for cells, more in zip(_score_rows(data_set, pooled), spreads, strict=True)
        ],
        names=len(_ROW_NAMES),
        note=f"{LEVEL:.0%} intervals over {data_set.size}; "
        f"{WITH_SEEDS}, and standard deviations: of {primary}{of_cases}. A degenerate row "
        "predicts the same for all windows.",
    )
    over_time = metrics[len(pooled) :]
    second = Table(
        title=f"{data_set.name}: scores of videos, phases and segments",
        columns=[*_ROW_NAMES, *map(metric_name, over_time)],
        rows=_score_rows(data_set, over_time) if over_time else [],
        names=len(_ROW_NAMES),
        note=f"{LEVEL:.0%} intervals over {data_set.size}, at one frame per second; unrelaxed. "
        "The class prior has no prediction over time.",
    )
    return [first, second]


def _score_rows(data_set: Compared, metrics: Sequence[str]) -> list[list[str]]:
    return [
        [
            row.method or "baseline",
            _FEATURES.get(row.features, row.features),
            data_set.text_of(row.classifier) + (" (DEGENERATE)" if row.degenerate else ""),
            *(interval(row.metrics[metric]) for metric in metrics),
        ]
        for row in data_set.rows
    ]


def origin_table(data_set: DataSet) -> Table:
    """Return the digests and the protocol behind each result of a data set."""
    return Table(
        title=f"{data_set.name}: origin",
        columns=["method", "encoder SHA-256", "split SHA-256", "protocol"],
        rows=[
            [method, result.encoder_sha256, result.split_sha256, result.protocol]
            for method, results in data_set.group.results.items()
            for result in results
        ],
        names=4,
        note="SHA-256 over the clips of each source: "
        + "; ".join(f"{k} {v}" for k, v in data_set.group.first.corpus_digests.items()),
    )
