"""Checks of a command line that configs and commands share."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from surgrec.cli._endings import print_line
from surgrec.config_files import read_config
from surgrec.errors import ConfigError, shown
from surgrec.options import Options, unset


def warn_of_repeated(prog: str, names: Sequence[str]) -> None:
    """Tell lists that are given twice: the first one is lost."""
    for name in names:
        print_line(
            prog,
            f"warning: --{name} is given twice, and the last one counts; for several values give "
            f"one list, such as --{name} \"['A', 'B']\"",
        )


def require(options: Options, tree: Mapping[str, Any]) -> None:
    """Refuse a tree of values without its required options."""
    names = [f"--{name}" for name in unset(options, tree)]
    if names:
        missing = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
        raise ConfigError(f"{missing} {'are' if len(names) > 1 else 'is'} required")


def read_group(name: str, place: str) -> dict[str, Any]:
    """Return the fields of a nested config that a file holds."""
    if not os.path.exists(name):  # Path.exists raises if a name is too long
        raise ConfigError(
            f"{place} is {shown(name)}, neither a YAML file nor a mapping; give one of both"
        )
    return read_config(name)
