"""Task cards by name, and from files of the user."""

import difflib
import fnmatch
from collections.abc import Sequence
from pathlib import Path

from surgrec.config_values import to_type
from surgrec.errors import ConfigError, SurgrecError, cut
from surgrec.tasks._card import TaskCard
from surgrec.yaml_files import read_yaml

FOLDER = Path(__file__).with_name("cards")
LEGACY = "surgrec-legacy-"
"""Beginning of the names of legacy cards."""


def card_names() -> list[str]:
    """Return the names of all cards."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_card(name: str) -> TaskCard:
    """Read a card.

    Args:
        name: Name of a card, or the path of a YAML file with the fields of `TaskCard`.

    Raises:
        ConfigError: The card does not exist, or a key is missing, unknown or wrong. The message
            names the file and the key.

    Example:
        >>> read_card("cholec80-phase").split.sizes
        {'train': 40, 'val': 8, 'test': 32}
    """
    if not name.endswith((".yaml", ".yml")) and name not in card_names():
        near = difflib.get_close_matches(name, card_names(), n=3)
        meant = f"did you mean {', '.join(near)}?" if near else "`surgrec tasks` lists them"
        raise ConfigError(f"there is no task {cut(name)!r}; {meant}")

    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a mapping; give title, preset, task and the other keys")
    if "name" in tree:
        raise ConfigError(f"{path}: name is not a key of cards; the file's name is the card's name")
    try:
        card: TaskCard = to_type(TaskCard, {**tree, "name": path.stem})
    except SurgrecError as error:
        raise ConfigError(f"{path}: {error}") from None
    return card


def find_cards(patterns: Sequence[str]) -> list[TaskCard]:
    """Read the cards that patterns name, each once, in the order of the patterns.

    Args:
        patterns: Names, YAML files, or shell patterns such as `cholec80-*`. A pattern that does not
            begin with `surgrec-legacy` matches no legacy card.

    Raises:
        ConfigError: A name or a pattern matches no card, or a card is wrong.
    """
    names: list[str] = []
    for pattern in patterns:
        if not set(pattern) & set("*?["):
            names.append(pattern)
            continue
        matches = [
            name
            for name in fnmatch.filter(card_names(), pattern)
            if pattern.startswith(LEGACY) or not name.startswith(LEGACY)
        ]
        if not matches:
            raise ConfigError(f"no task matches {cut(pattern)!r}; `surgrec tasks` lists them")
        names += matches
    return [read_card(name) for name in dict.fromkeys(names)]
