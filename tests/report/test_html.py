"""Text stays text, and a picture travels inside the page."""

import base64

from surgrec.report.html import Markup, document, element, image, table


def test_text_cannot_become_markup_neither_as_a_child_nor_as_an_attribute() -> None:
    assert (
        element("p", "<script>", title='"<b>"')
        == '<p title="&quot;&lt;b&gt;&quot;">&lt;script&gt;</p>'
    )


def test_markup_is_put_in_as_it_is() -> None:
    assert element("p", element("b", 7), " & more") == "<p><b>7</b> &amp; more</p>"
    assert isinstance(element("p"), Markup)


def test_attributes_are_written_as_html_names_them_and_none_is_left_out() -> None:
    assert element("line", class_="grid", stroke_width="2", x1=1.25, y1=None) == (
        '<line class="grid" stroke-width="2" x1="1.2"></line>'
    )


def test_a_table_sets_words_to_the_left_and_numbers_to_the_right() -> None:
    page = table(("source", "clips"), [("a<b", 12)])
    assert '<td>a&lt;b</td><td class="number">12</td>' in page


def test_a_picture_is_inside_the_page() -> None:
    page = image(b"bytes", "png", alt="a frame", pixelated=True)
    assert f'src="data:image/png;base64,{base64.b64encode(b"bytes").decode()}"' in page
    assert 'class="pixelated"' in page


def test_a_document_escapes_its_title_and_keeps_its_style() -> None:
    page = document("a < b", "p > b { color: red }", element("p", "text"))
    assert page.startswith("<!doctype html>")
    assert "<title>a &lt; b</title>" in page
    assert "<style>p > b { color: red }</style>" in page
