"""Print the conditions of a model's answers on the terminal."""

from collections.abc import Mapping
from typing import Any

from surgrec.terminal import escape, print_result, result_table
from surgrec.text import counted

_SCORES = ("accuracy", "macro_f1", "micro_f1")


def print_stability(stability: Mapping[str, Any]) -> None:
    """Print the content of `vlm.json` on standard output: unread answers, scores and flips."""
    scores = [name for name in _SCORES if name in stability["conditions"][0]]
    table = result_table(
        escape(f"answers of {stability['model']}, constraint: {stability['mode']}"),
        left=("condition",),
        right=("windows", "unread", *(name.replace("_", " ") for name in scores)),
        wrap=True,
    )
    for row in stability["conditions"]:
        rate = "-" if row["unread_rate"] is None else f"{row['unread_rate']:.1%}"
        cells = [f"{row[name]:.3f}" if name in row else "-" for name in scores]
        table.add_row(escape(row["name"]), str(row["windows"]), rate, *cells)
    print_result(table)

    cut = sum(row["cut"] for row in stability["conditions"])
    if cut:
        print_result(
            f"[yellow]{counted(cut, 'answer was', 'answers were')} cut; give a larger "
            "--max_tokens[/yellow]"
        )
    varied = stability["variations"]
    if varied is not None:
        spread = varied["scores"]["macro_f1"]
        print_result(
            f"flips: {varied['flip_rate']:.1%} of answers change with wording or order "
            f"(wording {_percent(varied['wording_flip_rate'])}, order "
            f"{_percent(varied['order_flip_rate'])}; {varied['windows']} windows, "
            f"{varied['variations']} variations); macro F1 {spread['lowest']:.3f} to "
            f"{spread['highest']:.3f}"
        )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
