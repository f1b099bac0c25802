"""Typed configs and typed commands: from the words of a command line to a config or a call.

Example:
    >>> parse(LoaderConfig, ["--num_workers", "4"]).num_workers
    4
"""

from surgrec.cli._commands import Command, run
from surgrec.cli._configs import parse, write_yaml
from surgrec.cli._endings import print_error, with_errors_as_one_line

__all__ = ["Command", "parse", "print_error", "run", "with_errors_as_one_line", "write_yaml"]
