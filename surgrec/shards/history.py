"""The history of a corpus: changes of published sources, without names."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

_Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of a published source: an entry of the history of a corpus."""

    at: str
    """UTC, such as `2026-11-28T09:30:00Z`."""
    command: str
    """`build` or `remove`."""
    source: str
    videos_added: _Count
    videos_removed: _Count
    digest_before: str
    """The `digest` of the source before the change."""
    digest_after: str
    """The `digest` of the source after the change; empty if nothing is left of it."""
