"""`surgrec compare`: encoders beside each other, from the results of their evaluations."""

from pathlib import Path

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import escape, print_json, print_result, say
from surgrec.text import as_list


def compare(
    results: list[str],
    *,
    folds: str | list[str] = "",
    out: Path = Path("comparison"),
    json: bool = False,
) -> None:
    """Compare encoders by the result folders of their evaluations, on any number of tasks.

    Differences are paired over the cases of a task and split, on the windows whose labels have the
    same times in all results. Needs neither videos nor encoders.

    Args:
        results: Runs with evaluations, folders that `surgrec evaluate` wrote, or folders of them.
            NAME=FOLDER gives an encoder a name; folders of one name are pretraining seeds of one
            method. Results of one encoder on other corpora are joined as centers.
        folds: Splits that are folds of one task, with commas between their names; a list for the
            folds of several tasks. They count once, by the means over the folds.
        out: Folder for comparison.html, comparison.md, comparison.tex, scores.csv and pairs.csv.
        json: Print scores, pairs and verdicts as JSON instead of sentences.

    Example:
        surgrec compare runs/a runs/b dinov2=results/dinov2 --out comparison
    """
    with train_extra():
        from surgrec.comparisons import compare as compare_results
        from surgrec.comparisons import comparison_record, comparison_tables, write_tables
        from surgrec.report.comparison import write_comparison

    comparison = compare_results(results, [each.split(",") for each in as_list(folds)])
    write_tables(comparison, out)
    write_comparison(comparison, out / "comparison.html")
    if json:
        print_json(comparison_record(comparison))
        return

    for _, sentence in comparison_tables(comparison).verdicts:
        print_result(escape(sentence))
    for sentence in (*comparison.overrides, *comparison.left_out):
        print_result(f"[yellow]{escape(sentence)}[/yellow]")
    say(escape(f"comparison: {out}"))
