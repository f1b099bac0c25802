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
    """The fact that was found."""
    remedy: str = ""
    """The remedy; empty: none is needed."""


def fault_of(what: str, error: Exception) -> Finding:
    """Return an error as a fault. The remedy is the text after its first semicolon."""
    found, _, remedy = str(error).partition("; ")
    return Finding(what=what, state="fault", found=found, remedy=remedy)
