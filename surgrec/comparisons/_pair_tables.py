"""The tables of pairs of methods, and the verdict of a pair in words."""

from surgrec.comparisons._records import Compared, DataSet, Pair
from surgrec.comparisons._table import Table, bounds, interval, number
from surgrec.scores.kinds import metric_name

WITH_SEEDS = "over cases and seeds"
"""Column of intervals over both; empty for one seed."""


def pair_table(data_set: Compared) -> Table:
    """Return the paired comparison of each two methods."""
    return Table(
        title=f"{data_set.name}: pairs",
        columns=[
            "first",
            "second",
            "classifier",
            "verdict of the first",
            f"difference in {metric_name(data_set.kind.primary)}",
            WITH_SEEDS,
            "p",
            "p (Holm)",
            "wins, ties, losses",
            "effect",
        ],
        rows=[
            [
                pair.first,
                pair.second,
                data_set.text_of(pair.classifier),
                pair.verdict,
                interval(pair.difference, "+"),
                bounds(pair.with_seeds, "+"),
                number(pair.p_value, 4),
                number(pair.corrected, 4),
                f"{pair.wins.wins}, {pair.wins.ties}, {pair.wins.losses}",
                number(pair.wins.effect, 2),
            ]
            for pair in data_set.pairs
        ],
        names=4,
        note=f"Wins, ties and losses count cases, by {data_set.kind.case_value}. Effect: mean "
        "difference over cases in standard deviations. Holm corrects for all pairs and data sets "
        "of a classifier; the verdicts of "
        f"{data_set.text_of(data_set.primary)} count, all others are secondary.",
    )


def center_table(data_set: DataSet) -> Table:
    """Return the paired comparison of each two methods within each center."""
    return Table(
        title=f"{data_set.name}: pairs within centers, {data_set.text_of(data_set.primary)}",
        columns=[
            *("first", "second", "center", "cases", "verdict of the first"),
            f"difference in {metric_name(data_set.kind.primary)}",
            *("p", "p (Holm)", "wins, ties, losses"),
        ],
        rows=[
            [
                pair.first,
                pair.second,
                pair.center,
                pair.size,
                pair.verdict,
                interval(pair.difference, "+"),
                number(pair.p_value, 4),
                number(pair.corrected, 4),
                f"{pair.wins.wins}, {pair.wins.ties}, {pair.wins.losses}",
            ]
            for pair in data_set.center_pairs
        ],
        names=5,
        note="A verdict within a center holds for it alone: test sets are drawn from its cases, or "
        "from its patients. Wins, ties and losses count cases, by "
        f"{data_set.kind.case_value}. Holm corrects for the rows of this table.",
    )


def pair_sentence(data_set: Compared, pair: Pair) -> str:
    """Return the verdict of a pair in words."""
    words = {
        "better": "{} is better than {}",
        "worse": "{} is worse than {}",
        "not shown": "no difference of {} from {} shown",
    }
    return (
        f"{data_set.name}: {words[pair.verdict].format(pair.first, pair.second)} "
        f"({data_set.text_of(pair.classifier)}, {metric_name(data_set.kind.primary)} "
        f"{interval(pair.difference, '+')}, p {number(pair.corrected, 4)} by Holm, "
        f"{data_set.size})"
    )
