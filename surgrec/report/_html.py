"""Fill the HTML templates of a report."""

import unicodedata

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of characters without a shape: controls, directions, halves of pairs, ..."""
_KEPT = frozenset("\t\n\u200c\u200d")
"""Characters without a shape that ordinary text has: breaks, and joiners of some scripts."""


def visible(text: str) -> str:
    """Return text with its invisible characters written as escapes.

    A name could otherwise reverse the text behind it, or hold bytes that no page can hold.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNSEEN and character not in _KEPT
        else character
        for character in text
    )


def _finalize(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


_TEMPLATES = Environment(
    loader=PackageLoader("surgrec.report", "templates"),
    autoescape=True,
    finalize=_finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> Markup:
    """Return a template of `templates/` filled with values.

    Args:
        template: File name of the template.
        values: Variables of the template. Text is escaped; `Markup` is inserted unchanged.
    """
    return Markup(_TEMPLATES.get_template(template).render(values))
