"""Write the tables of a comparison as Markdown, LaTeX and CSV."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surgrec.comparisons._records import CenterPair, Compared, Comparison, DataSet, Pair
from surgrec.comparisons._results import Result
from surgrec.comparisons._table import Table
from surgrec.comparisons._tables import comparison_tables
from surgrec.storage import open_store
from surgrec.text import visible

TITLE = "Comparison of encoders"
_ALL = "all"
"""In the place of a center: all cases."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_tables(comparison: Comparison, out: Path) -> None:
    """Write `comparison.md`, `comparison.tex`, `scores.csv` and `pairs.csv`.

    Markdown and LaTeX have rounded numbers and all tables. The CSV files have full numbers.

    Args:
        comparison: The comparison.
        out: Folder to write to; it is created.
    """
    store = open_store(out)
    sentences = [*comparison.overrides, *comparison.left_out]
    tables = comparison_tables(comparison).in_order
    texts = {
        "comparison.md": markdown(tables, sentences),
        "comparison.tex": latex(tables, sentences),
        "scores.csv": _csv(_score_rows(comparison)),
        "pairs.csv": _csv(_pair_rows(comparison)),
    }
    for name, text in texts.items():
        store.write(name, text.encode("utf-8"))


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return the rows of `scores.csv` and `pairs.csv`, and all sentences, for JSON.

    A number that is not finite is None.
    """
    return {
        "scores": [_finite(row) for row in _score_rows(comparison)],
        "pairs": [_finite(row) for row in _pair_rows(comparison)],
        "verdicts": [sentence for _, sentence in comparison_tables(comparison).verdicts],
        "overrides": list(comparison.overrides),
        "left_out": list(comparison.left_out),
    }


def _finite(row: Mapping[str, object]) -> dict[str, object]:
    is_no_number = {
        name: isinstance(cell, float) and not math.isfinite(cell) for name, cell in row.items()
    }
    return {name: None if is_no_number[name] else cell for name, cell in row.items()}


def markdown(tables: Sequence[Table], sentences: Sequence[str]) -> str:
    """Return tables as Markdown. Names are text: they form no markup."""
    parts = [f"# {TITLE}", *(f"- {_markdown_text(each)}" for each in sentences)]
    for table in tables:
        rules = ["---" if index < table.names else "---:" for index in range(len(table.columns))]
        lines = [map(_markdown_text, table.columns), rules]
        lines += [map(_markdown_text, row) for row in table.rows]
        parts.append(f"## {_markdown_text(table.title)}")
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
        parts.append(_markdown_text(table.note))
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(tables: Sequence[Table], sentences: Sequence[str]) -> str:
    """Return tables as LaTeX for `booktabs`. Names are text: they form no command."""
    parts = ["% Needs \\usepackage{booktabs}."]
    parts += [f"\\noindent {_latex_text(each)}\\par" for each in sentences]

    for table in tables:
        numbers = len(table.columns) - table.names
        lines = [_latex_row(table.columns), r"\midrule", *map(_latex_row, table.rows)]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{_latex_text(f'{table.title}. {table.note}')}}}",
                    rf"\begin{{tabular}}{{{'l' * table.names}{'r' * numbers}}}",
                    r"\toprule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@:])", r"\\\1", visible(" ".join(text.split())))


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex_text, cells)) + r" \\"


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(each, each) for each in visible(" ".join(text.split())))


def _csv(rows: Sequence[dict[str, object]]) -> str:
    """Return rows as CSV. A text that spreadsheets would compute gets a quote before it."""
    if not rows:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()

    for row in rows:
        writer.writerow(
            {
                name: (f"'{cell}" if cell[:1] in "=+-@" and cell else visible(cell))
                if isinstance(cell, str)
                else cell
                for name, cell in row.items()
            }
        )
    return buffer.getvalue()


def _score_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Return one row per row of scores and metric."""
    return [
        {
            "task": data_set.task,
            "split": data_set.split,
            "data_set": data_set.name,
            "method": row.method,
            "features": row.features,
            "classifier": row.classifier,
            "seeds": row.seeds,
            "degenerate": row.degenerate,
            "metric": metric,
            "value": row.metrics[metric].value,
            "low": row.metrics[metric].low,
            "high": row.metrics[metric].high,
            "low_with_seeds": row.with_seeds[metric].low,
            "high_with_seeds": row.with_seeds[metric].high,
            "cases": len(data_set.cases),
            "units": data_set.units.name,
            "num_units": data_set.units.number,
            "windows": data_set.num_windows,
            "windows_left_out": _windows_left_out(data_set, row.method),
            "encoder_sha256": _encoders(data_set, row.method),
            "split_sha256": _splits(data_set),
            "corpus_sha256": _corpora(data_set),
            "protocol": _protocols(data_set, row.method),
            "overrides": _overrides(
                data_set.results_of(row.method) or [each.first for each in data_set.groups]
            ),
        }
        for data_set in (*comparison.folds, *comparison.data_sets)
        for row in data_set.rows
        for metric in data_set.kind.metrics
    ]


def _windows_left_out(data_set: Compared, method: str, center: str = _ALL) -> str:
    """Return the windows of each result of a method that others lack; a baseline has none.

    Args:
        data_set: The data set.
        method: Name of the method.
        center: Center whose windows count.
    """
    center_of = data_set.center_of if isinstance(data_set, DataSet) else {}
    counts = [
        sum(
            windows
            for case, windows in result.left_out.items()
            if center in (_ALL, center_of.get(case))
        )
        for result in data_set.results_of(method)
    ]
    return " ".join(map(str, counts))


def _num_windows(data_set: Compared, center: str) -> int:
    """Return the windows of a center, or of all of them."""
    if center == _ALL or not isinstance(data_set, DataSet):
        return data_set.num_windows
    members = [data_set.center_of[case] == center for case in data_set.cases]
    return int(np.isin(data_set.scored.case, np.flatnonzero(members)).sum())


def _pair_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Return one row per pair of methods, data set and classifier, and those within centers."""
    rows = []
    for data_set in (*comparison.folds, *comparison.data_sets):
        num_units = data_set.units.number
        rows += [
            _pair_row(data_set, pair, pair.classifier, _ALL, data_set.size)
            | {"num_units": num_units}
            for pair in data_set.pairs
        ]
        rows += [
            _pair_row(data_set, pair, data_set.primary, pair.center, pair.size)
            | {"num_units": pair.num_units}
            for pair in (data_set.center_pairs if isinstance(data_set, DataSet) else ())
        ]
    return rows


def _pair_row(
    data_set: Compared, pair: Pair | CenterPair, classifier: str, center: str, size: str
) -> dict[str, object]:
    """Return the numbers of a pair with the origin of both results."""
    return {
        # Which pair, on which data.
        "task": data_set.task,
        "split": data_set.split,
        "data_set": data_set.name,
        "classifier": classifier,
        "center": center,
        "size": size,
        "first": pair.first,
        "second": pair.second,
        "metric": data_set.kind.primary,
        # The difference, with its interval and its test.
        "difference": pair.difference.value,
        "low": pair.difference.low,
        "high": pair.difference.high,
        "low_with_seeds": pair.with_seeds.low,
        "high_with_seeds": pair.with_seeds.high,
        "p": pair.p_value,
        "p_holm": pair.corrected,
        "case_value": data_set.kind.case_value,
        "wins": pair.wins.wins,
        "ties": pair.wins.ties,
        "losses": pair.wins.losses,
        "effect": pair.wins.effect,
        "verdict": pair.verdict,
        "primary": classifier == data_set.primary,
        # Origin of both results.
        "windows": _num_windows(data_set, center),
        "first_windows_left_out": _windows_left_out(data_set, pair.first, center),
        "second_windows_left_out": _windows_left_out(data_set, pair.second, center),
        "first_encoder_sha256": _encoders(data_set, pair.first),
        "second_encoder_sha256": _encoders(data_set, pair.second),
        "split_sha256": _splits(data_set),
        "corpus_sha256": _corpora(data_set),
        "first_protocol": _protocols(data_set, pair.first),
        "second_protocol": _protocols(data_set, pair.second),
        "overrides": _overrides(
            [*data_set.results_of(pair.first), *data_set.results_of(pair.second)]
        ),
    }


def _overrides(results: Sequence[Result]) -> str:
    """Return the findings of the audits of these results that only an option allowed."""
    return "; ".join(dict.fromkeys(each for result in results for each in result.overrides))


def _encoders(data_set: Compared, method: str) -> str:
    return " ".join(dict.fromkeys(each.encoder_sha256 for each in data_set.results_of(method)))


def _splits(data_set: Compared) -> str:
    return " ".join(dict.fromkeys(group.first.split_sha256 for group in data_set.groups))


def _corpora(data_set: Compared) -> str:
    digests = {k: v for each in data_set.groups for k, v in each.first.corpus_digests.items()}
    return " ".join(f"{k}:{v}" for k, v in digests.items())


def _protocols(data_set: Compared, method: str) -> str:
    return " ".join(dict.fromkeys(each.protocol for each in data_set.results_of(method)))
