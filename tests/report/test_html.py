"""Text stays text, and a picture travels inside the page."""

import base64
import io

import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from PIL import Image

from surgrec.report._html import render
from surgrec.report._images import jpeg, png


def corpus_page(**changes: object) -> str:
    """The corpus section with one empty corpus and one sentence."""
    values = {"columns": ("source", "domain", "clips"), "corpora": {}, "unreadable": ["<script>"]}
    return render("corpus.html.j2", **(values | changes))


def test_text_cannot_become_markup() -> None:
    page = corpus_page(corpora={'"><b>': ([], [])})
    assert "&lt;script&gt;" in page
    assert "&#34;&gt;&lt;b&gt;" in page
    assert "<script>" not in page


def test_markup_is_inserted_unchanged() -> None:
    assert "<b>7</b>" in corpus_page(unreadable=[Markup("<b>7</b>")])


def test_a_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="unreadable"):
        render("corpus.html.j2", columns=(), corpora={})


def test_a_picture_is_inside_the_page() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for address, image_format in ((png(pixels), "PNG"), (jpeg(pixels, quality=90), "JPEG")):
        head, _, content = address.partition(",")
        assert head == f"data:image/{image_format.lower()};base64"
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert (image.format, image.size) == (image_format, (4, 4))
    assert np.array_equal(Image.open(io.BytesIO(base64.b64decode(png(pixels)[22:]))), pixels)


def test_characters_without_a_shape_are_written_as_escapes() -> None:
    page = corpus_page(unreadable=["a\u202eb\x00c\udc80d\u2066e\nf"])
    assert r"a\u202eb\x00c\udc80d\u2066e" in page
    page.encode("utf-8")
    assert "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}" in corpus_page(
        unreadable=["\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"]
    )
