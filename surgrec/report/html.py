"""HTML as strings that cannot be mistaken for text: whatever is not `Markup` is escaped."""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Literal

_VOID = {"img", "meta"}
"""Elements without an end tag."""

ImageFormat = Literal["png", "jpeg"]


class Markup(str):
    """HTML that is put into a page as it is."""


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """One element with its children.

    Args:
        tag: Its name.
        children: Markup as it is; anything else as text.
        attributes: By name; a trailing underscore is dropped and others are hyphens, so `class_` is `class` and
            `stroke_width` is `stroke-width`. None leaves an attribute out; fractions are written with one digit.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_attribute(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    end = "" if tag in _VOID else f"</{tag}>"
    return Markup(f"<{tag}{written}>{join(children)}{end}")


def join(parts: Iterable[object]) -> Markup:
    """Parts one after the other, those that are not markup as text."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in parts)
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> Markup:
    """A table with a head.

    Args:
        columns: Names in the head.
        rows: Cells in the order of the columns.
        words: How many of the first columns hold words, and are set to the left; the others hold numbers.
    """

    def row(cells: Sequence[object], tag: str) -> Markup:
        assert len(cells) == len(columns), "a cell for every column"
        return element(
            "tr",
            *(
                element(tag, cell, class_="number" if place >= words else None)
                for place, cell in enumerate(cells)
            ),
        )

    body = element("tbody", *(row(cells, "td") for cells in rows))
    return element(
        "div", element("table", element("thead", row(columns, "th")), body), class_="scroll"
    )


def note(*words: object) -> Markup:
    """A paragraph in gray."""
    return element("p", *words, class_="note")


def missing(*words: object) -> Markup:
    """A paragraph about what should stand here."""
    return element("p", *words, class_="missing")


def details(summary: str, *children: object) -> Markup:
    """What is folded away until it is asked for; it needs no script."""
    return element("details", element("summary", summary), *children)


def image(data: bytes, image_format: ImageFormat, *, alt: str, pixelated: bool = False) -> Markup:
    """A picture that travels inside the page.

    Args:
        data: The file's bytes.
        image_format: Of the file.
        alt: What it shows.
        pixelated: Enlarged without smoothing.
    """
    address = f"data:image/{image_format};base64,{base64.b64encode(data).decode('ascii')}"
    return element("img", alt=alt, src=address, class_="pixelated" if pixelated else None)


def document(title: str, style: str, *sections: object) -> str:
    """A whole page."""
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            element("style", Markup(style)),
        ]
    )
    body = element("body", element("main", *sections))
    return f"<!doctype html>\n{element('html', element('head', head), body, lang='en')}\n"


def _attribute(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
