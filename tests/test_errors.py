"""The kinds of errors that users see."""

import re

import surgrec.errors
from surgrec.errors import SurgrecError


def kinds_below(kind: type[SurgrecError], depth: int = 0) -> list[tuple[int, str]]:
    """Return the classes of errors.py with their depth, in the order of the file."""
    own = [child for child in kind.__subclasses__() if child.__module__ == surgrec.errors.__name__]
    return [
        (depth, kind.__name__),
        *(row for child in own for row in kinds_below(child, depth + 1)),
    ]


def test_the_tree_at_the_head_of_errors_is_the_class_hierarchy() -> None:
    assert surgrec.errors.__doc__ is not None
    drawn = re.findall(r"^    ((?:[│├└─ ]{4})*)(\w+Error)\b", surgrec.errors.__doc__, flags=re.M)
    assert [(len(branch) // 4, name) for branch, name in drawn] == kinds_below(SurgrecError)
