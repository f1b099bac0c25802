"""The result of one check of the machine."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    """The part that was checked, in a word or two."""
    state: Literal["good", "note", "fault"]
    """`note`: it limits what can be done. `fault`: some command will fail."""
    found: str
    """What is there."""
    remedy: str = ""
    """What to do; empty: nothing."""


def fault_of(what: str, error: Exception) -> Finding:
    """Return the fault that an error tells. The remedy is what follows its first semicolon."""
    found, _, remedy = str(error).partition("; ")
    return Finding(what=what, state="fault", found=found, remedy=remedy)
