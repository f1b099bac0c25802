"""The commands that READMEs and the heads of configs tell a reader to run."""

import re
from itertools import pairwise
from types import ModuleType
from typing import Any

from surgrec.training._launch import parse_recipe


def documented_commands(text: str, names: str = "jepa|mae") -> list[tuple[str, list[str]]]:
    """Return recipe and arguments of every command in a text; a backslash continues a command.

    Args:
        text: A document, or the head of a config.
        names: Recipes whose commands are wanted, joined by |.
    """
    plain = re.sub(r"^#", "", text, flags=re.MULTILINE)
    whole = re.sub(r"\\\n\s*", "", plain)
    commands = re.findall(rf"recipes[/.]({names})(?:\.py)? (--config .*)", whole)
    return [(method, _without_ellipses(words.split())) for method, words in commands]


def shell_blocks(text: str) -> str:
    """Return the blocks of a Markdown text that a reader pastes into a terminal."""
    blocks = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks)


def parse_config(recipes: dict[str, ModuleType], method: str, words: list[str]) -> Any:
    """Return the config that a recipe parses from these arguments."""
    recipe = recipes[method]
    config_type = recipe.JepaConfig if method == "jepa" else recipe.MaeConfig
    return parse_recipe(str(recipe.__file__), config_type, words)


def _without_ellipses(words: list[str]) -> list[str]:
    """Drop each `...` that abbreviates further arguments; keep it as the value of a flag."""
    return [
        word for before, word in pairwise(["", *words]) if word != "..." or before.startswith("--")
    ]
