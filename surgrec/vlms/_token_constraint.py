"""Restrict the tokens of a generated answer to a form: texts with alternatives, one after another.

Pure: it knows no model and no library, only numbers of tokens.
"""

import json
from collections.abc import Callable, Sequence

from surgrec.vlms._prompts import Question

Segments = list[list[str]]
"""Texts of an answer: for each place, the alternatives."""

_State = tuple[int, int, int]
"""Segment, alternative, and number of its tokens so far."""


def segments_of(asked: Question) -> Segments:
    """Return the texts that an answer may have: a code, or JSON with booleans."""
    if not asked.several:
        return [list(asked.codes)]
    segments: Segments = []
    for place, name in enumerate(asked.shown):
        before = ", " if place else "{"
        segments += [[f"{before}{json.dumps(name, ensure_ascii=False)}: "], ["true", "false"]]
    return [*segments, ["}"]]


class TokenConstraint:
    """The tokens that may follow those so far.

    Args:
        segments: Texts of the answer.
        encode: Turns a text into tokens.
        ends: Tokens that end an answer.
    """

    def __init__(
        self, segments: Segments, encode: Callable[[str], Sequence[int]], ends: Sequence[int]
    ) -> None:
        self._tokens = [[list(encode(text)) for text in each] for each in segments]
        self._ends = list(ends)
        self._states = {0: self._starts(0)}

    @property
    def longest(self) -> int:
        """Tokens of the longest answer, its end included."""
        return sum(max(map(len, each)) for each in self._tokens) + 1

    def allowed(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens that may follow, ascending.

        Args:
            tokens: The tokens of the answer so far. Each call has those of the call before, and one
                more.
        """
        count = len(tokens)
        if count not in self._states:
            self._states = {count: self._after(self._states[count - 1], tokens[-1])}
        found = set()
        for segment, alternative, place in self._states[count]:
            if segment == len(self._tokens):
                found.update(self._ends)
            else:
                found.add(self._tokens[segment][alternative][place])
        return sorted(found)

    def _starts(self, segment: int) -> set[_State]:
        """Return the states at the beginning of a segment; behind the last one is the end."""
        if segment == len(self._tokens):
            return {(segment, 0, 0)}
        return {(segment, alternative, 0) for alternative in range(len(self._tokens[segment]))}

    def _after(self, states: set[_State], token: int) -> set[_State]:
        """Return the states behind a token. One alternative may begin with another one."""
        found: set[_State] = set()
        for segment, alternative, place in states:
            if segment == len(self._tokens):
                found.add((segment, 0, 0))  # behind an end, all is filled with ends
                continue
            text = self._tokens[segment][alternative]
            if text[place] != token:
                continue
            if place + 1 < len(text):
                found.add((segment, alternative, place + 1))
            else:
                found |= self._starts(segment + 1)
        return found
