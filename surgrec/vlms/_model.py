"""The interface of a vision-language model: all that an evaluation needs of it."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from surgrec.vlms._constraints import Mode, Trials
from surgrec.vlms._prompts import Question


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request: texts and images, and the form of the answer."""

    parts: tuple[str | bytes, ...]
    """Texts and JPEG files, in their order."""
    asked: Question
    """Its options, which constrain the answer."""
    mode: Mode
    """How the answer is constrained."""
    max_tokens: int
    """Most tokens of the answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one prompt."""

    text: str
    finish: str = ""
    """Why it ended, in the words of the model: `stop`, or `length` if it was cut."""


@runtime_checkable
class Model(Protocol):
    """A vision-language model."""

    @property
    def parallel(self) -> int:
        """Prompts that may be asked at once, from as many threads."""

    @property
    def identity(self) -> dict[str, Any]:
        """The facts that distinguish its answers from those of other models, as JSON."""

    @property
    def place(self) -> str:
        """Address of its server; empty for a model in this process."""

    def choose_mode(self, asked: Question) -> tuple[Mode, Trials]:
        """Return the strictest constraint that the model enforces, and how the trials ended."""

    def answer(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt, without randomness.

        Raises:
            SurgrecError: The model cannot answer, now and later.
        """

    def stop(self) -> None:
        """End the waits of other threads. Running requests may still be answered."""

    def close(self) -> None:
        """Give up connections and memory."""
