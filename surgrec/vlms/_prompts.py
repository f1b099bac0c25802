"""The prompts: a question about the last frame of a window, in several wordings and orders."""

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from surgrec.stream import hash_int
from surgrec.vlms._answers import parse_booleans, parse_choice
from surgrec.vlms._config import MOST_WORDINGS, PromptConfig

Images = Literal["own", "no_image", "other_case"]
"""Images of a prompt: those of its window, none, or those of a window of another case."""

Form = Literal["code", "json", "line"]
"""Form of an answer: the code of an option alone, JSON, or a line `Answer: CODE`."""

_ONE = (
    "Which {task} does the last image show? Choose exactly one option.",
    "Name the {task} at the moment of the last image. One of these options is right.",
    "Classify the last image by its {task}, and pick the option that fits best.",
)
_SEVERAL = (
    "Which of these does the last image show ({task})? None, one or several may be present.",
    "Decide for each of these classes of {task} whether it is present in the last image.",
    "List the {task} of the last image: true for each class that it shows, false for all others.",
)
assert len(_ONE) == len(_SEVERAL) == MOST_WORDINGS


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A way to ask about a window."""

    name: str
    """Name in files."""
    wording: int = 0
    """Index of the wording."""
    order: int = 0
    """Index of the order of the options."""
    images: Images = "own"
    """Images that the model sees."""

    @property
    def is_variation(self) -> bool:
        """Whether it differs from the scored condition in words alone."""
        return self.images == "own" and (self.wording, self.order) != (0, 0)


MAIN = Condition(name="main")
"""The condition that is scored."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The options of a prompt, in the order in which the model reads them."""

    task: str
    names: tuple[str, ...]
    """Class of each option."""
    several: bool
    """Whether several may be right. The answer then has a boolean for each option."""
    texts: tuple[str, ...] = ()
    """Text of each option that the model reads. Default: the names of the classes."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Text of each option that the model reads."""
        return self.texts or self.names

    @property
    def codes(self) -> tuple[str, ...]:
        """Code of each option: letters, or numbers if there are more options than letters."""
        if len(self.names) <= len(string.ascii_uppercase):
            return tuple(string.ascii_uppercase[: len(self.names)])
        return tuple(str(number) for number in range(1, len(self.names) + 1))

    def read(self, text: str) -> str | tuple[str, ...] | None:
        """Return the class or the classes that an answer names; None if it cannot be read."""
        if self.several:
            present = parse_booleans(text, self.shown)
            if present is None:
                return None
            pairs = zip(self.names, present, strict=True)
            return tuple(sorted(name for name, is_present in pairs if is_present))
        index = parse_choice(text, self.codes, self.shown)
        return None if index is None else self.names[index]


def conditions(config: PromptConfig, num_orders: int) -> list[Condition]:
    """Return all conditions: the scored one, the controls, then the variations.

    Args:
        config: The prompts.
        num_orders: Number of orders of the options.
    """
    controls = [Condition(name=name, images=name) for name in dict.fromkeys(config.controls)]
    variations = [
        Condition(name=f"wording_{wording + 1}_order_{order + 1}", wording=wording, order=order)
        for wording in range(config.wordings)
        for order in range(num_orders)
        if (wording, order) != (0, 0)
    ]
    return [MAIN, *controls, *variations]


def num_requests(config: PromptConfig, num_windows: int, num_options: int | None) -> int:
    """Return the most requests that test windows need: controls for all, variations for a sample.

    Args:
        config: The prompts.
        num_windows: Number of test windows.
        num_options: Number of classes; None: unknown, and enough for all orders.
    """
    most = config.orders if num_options is None else math.factorial(min(num_options, 20))
    found = conditions(config, min(config.orders, most))
    num_variations = sum(each.is_variation for each in found)
    varied = min(num_windows, config.variation_windows or num_windows)
    return num_windows * (len(found) - num_variations) + varied * num_variations


def option_orders(num_options: int, wanted: int, seed: int) -> list[tuple[int, ...]]:
    """Return different orders of the options: the first as they are, others by keyed hashes.

    Args:
        num_options: Number of options.
        wanted: Number of orders. Fewer are returned if there are not so many.
        seed: Seed of the orders.
    """
    found = [tuple(range(num_options))]
    number = 0
    while len(found) < min(wanted, math.factorial(min(num_options, 20))):
        number += 1
        order = sorted(range(num_options), key=lambda index: hash_int(seed, number, index))
        if tuple(order) not in found:
            found.append(tuple(order))
    return found


def frame_numbers(num_frames: int, wanted: int) -> list[int]:
    """Return which frames of a window the model sees: evenly spaced, the last one included.

    Args:
        num_frames: Frames of a window.
        wanted: Frames that the model sees, at most `num_frames`.

    Example:
        >>> frame_numbers(16, 1), frame_numbers(16, 4)
        ([15], [0, 5, 10, 15])
    """
    if wanted == 1:
        return [num_frames - 1]
    return [round(index * (num_frames - 1) / (wanted - 1)) for index in range(wanted)]


def image_captions(times_s: Sequence[float], kind: Literal["window", "video", "none"]) -> list[str]:
    """Return the text before each image.

    Args:
        times_s: Times of the frames, seconds of the video, ascending.
        kind: As in `PromptConfig.times`.
    """
    captions = []
    for number, time_s in enumerate(times_s, start=1):
        before_s = times_s[-1] - time_s
        if kind == "video":
            when = f", {_clock(time_s)} after the start of the video"
        elif kind == "window" and before_s:
            when = f", {before_s:.2f} s before the last image"
        else:
            when = ""
        last = " (the last image)" if number == len(times_s) and number > 1 else ""
        captions.append(f"Image {number}{when}{last}:")
    return captions


def introduction(num_images: int, context: str) -> str:
    """Return the text in front of the images.

    Args:
        num_images: Number of images; 0 for none.
        context: Sentence of the user, maybe empty.
    """
    images = {
        0: "The images of this surgical video are not shown.",
        1: "This is an image of a surgical video.",
    }.get(num_images, f"These are {num_images} images of a surgical video, in the order of time.")
    return f"{context.strip()} {images}".strip()


def question_text(asked: Question, wording: int, form: Form) -> str:
    """Return the text behind the images: the question, the options, the form of the answer.

    Args:
        asked: The question.
        wording: Index of the wording.
        form: Form of the answer.
    """
    task = asked.task.replace("_", " ")
    words = (_SEVERAL if asked.several else _ONE)[wording].format(task=task)
    if asked.several:
        options = "\n".join(f"- {name}" for name in asked.shown)
        return f"{words}\n{options}\n{_form_of_booleans(asked)}"
    options = "\n".join(
        f"{code}) {name}" for code, name in zip(asked.codes, asked.shown, strict=True)
    )
    return f"{words}\n{options}\n{_FORMS[form]}"


_FORMS: dict[Form, str] = {
    "code": "Answer with the code of the option alone, without any other text.",
    "json": 'Answer with JSON alone, in the form {"answer": "CODE"}, with the code of the option.',
    "line": "Answer with a single line of the form\nAnswer: CODE\nwith the code of the option.",
}


def _form_of_booleans(asked: Question) -> str:
    return (
        "Answer with JSON alone: an object with each of these "
        f"{len(asked.shown)} names as a key, and true or false as its value."
    )


def _clock(time_s: float) -> str:
    """Return a time as minutes and seconds."""
    minutes, seconds = divmod(time_s, 60)
    return f"{int(minutes)} min {seconds:.1f} s"
