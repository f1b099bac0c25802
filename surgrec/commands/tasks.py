"""`surgrec tasks`: the tasks of the benchmark."""

import sys

from surgrec.errors import ConfigError
from surgrec.tasks import LEGACY, cards_markdown, describe_card, find_cards, print_card, print_cards
from surgrec.terminal import print_json


def tasks(task: list[str] | None = None, *, json: bool = False, markdown: bool = False) -> None:
    """List the tasks of the benchmark, or show one in full.

    A task has a card: data set, labels, split, metrics, protocol, traps, and faults of published
    protocols. Tasks that begin with surgrec-legacy are those of the SurgRec release, for comparison
    only.

    Args:
        task: Name of a task, a pattern such as 'cholec80-*', or a YAML file with the keys of a
            card. One task is shown in full. Default: all tasks.
        json: Print all facts as JSON instead of a table.
        markdown: Print the tables of docs/benchmark.md.

    Example:
        surgrec tasks
        surgrec tasks cholec80-phase
        surgrec tasks 'surgrec-legacy-*' --json
    """
    cards = find_cards(task or ["*", f"{LEGACY}*"])
    if json and markdown:
        raise ConfigError("--json and --markdown are two forms of one output; give one of them")
    if json:
        print_json({card.name: describe_card(card) for card in cards})
    elif markdown:
        sys.stdout.write(cards_markdown(cards))
    elif len(cards) == 1:
        print_card(cards[0])
    else:
        for is_legacy, title in ((False, "tasks"), (True, "legacy tasks, for comparison only")):
            chosen = [card for card in cards if card.legacy == is_legacy]
            if chosen:
                print_cards(chosen, title)
