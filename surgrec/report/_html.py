"""Fill the HTML templates of a report."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Environment(
    loader=PackageLoader("surgrec.report", "templates"),
    autoescape=True,
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
