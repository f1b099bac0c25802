"""One step of a benchmark: a user command with its inputs and outputs."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from surgrec import __version__
from surgrec.terminal import SOME_FAILED

StepKind = Literal["check", "build", "dedup", "audit", "evaluate", "compare"]
Program = Literal["surgrec", "surgrec-shard"]

WITH_LOSSES = frozenset((0, SOME_FAILED))
"""Exit statuses of commands whose outputs are complete, though something was left out."""
_FORMAT = 1
"""Version of the digests: a change of their meaning makes all steps run again."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, run in the folder of the benchmark. Its relative paths are below that folder."""

    name: str
    """Unique in a benchmark; also the path of its record and its log."""
    kind: StepKind
    program: Program
    words: tuple[str, ...]
    """The command line. The outputs depend on all of it, except for the names in `aliases`."""
    machine: tuple[str, ...] = ()
    """Further words that do not change the outputs, such as the number of processes."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Digests of everything that the command reads and no other step writes, as JSON values."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Paths in `words` whose content `inputs` describes: each counts as this name instead."""
    needs: tuple[str, ...] = ()
    """Steps whose outputs the command reads."""
    outputs: tuple[str, ...]
    """Files and folders that the command writes."""
    prints: str = ""
    """File that takes the standard output; it is an output, too."""
    amended_by: str = ""
    """Step that continues the outputs of this one. Its own outputs include them, as it left them.
    """
    is_resumable: bool = False
    """Whether the command continues from its own outputs; otherwise they are removed before."""
    locks: tuple[str, ...] = ()
    """Folders that the command locks: two steps with a common one never run at once."""
    is_local: bool = False
    """Whether the command runs on the machine of the benchmark, whatever the engine."""
    accepted: frozenset[int] = frozenset((0,))
    """Exit statuses after which the outputs are complete."""

    @property
    def command(self) -> str:
        """The command line, to run by hand in the folder of the benchmark."""
        line = shlex.join([self.program, *self.words, *self.machine])
        return f"{line} > {shlex.quote(self.prints)}" if self.prints else line

    @property
    def written(self) -> tuple[str, ...]:
        """All files and folders that the step writes."""
        return (*self.outputs, *([self.prints] if self.prints else []))

    def digest(self, outputs_of_needs: Mapping[str, str]) -> str:
        """Return the SHA-256 of everything that the outputs depend on.

        Args:
            outputs_of_needs: The digest of the outputs of each step in `needs`.
        """
        content = {
            "format": _FORMAT,
            "surgrec": __version__,
            "program": self.program,
            "words": [self.aliases.get(word, word) for word in self.words],
            "inputs": dict(self.inputs),
            "needs": {name: outputs_of_needs[name] for name in self.needs},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
