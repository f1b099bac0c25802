"""Fill the HTML templates of a report."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from surgrec.page_style import PAGE_STYLE
from surgrec.text import visible


def _finalize(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, kept="\t\n")
    return value


_TEMPLATES = Environment(
    loader=PackageLoader("surgrec.report", "templates"),
    autoescape=True,
    finalize=_finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["page_style"] = Markup(PAGE_STYLE)


def render(template: str, **values: object) -> Markup:
    """Return a template of `templates/` filled with values.

    Args:
        template: File name of the template.
        values: Variables of the template. Text is escaped; `Markup` is inserted unchanged.
    """
    return Markup(_TEMPLATES.get_template(template).render(values))
