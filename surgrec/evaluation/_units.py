"""The independent units of test cases: centers, else patients, else the cases themselves."""

from collections import defaultdict
from collections.abc import Mapping

from surgrec.evaluation._labeled_windows import PartWindows
from surgrec.scores.units import Units, grouped_units
from surgrec.shards import Source
from surgrec.splits import values_in_index

_LEVELS = {"center": "centers", "patient": "patients"}
"""Columns of an index that group cases, the outermost first, and their plurals."""


def resampled_units(sources: Mapping[str, Source], test: PartWindows) -> Units:
    """Return the units of the test cases, and their resamples.

    The columns `center` and `patient` of the indexes group cases. Private sources name one patient
    by one pseudonym everywhere, so their cases of one name are one patient. A level that groups no
    two cases is left out.

    Raises:
        ConfigError: A case has two centers or two patients.
    """
    names = {f"{row.source}/{row.case}": (row.source, row.case) for row in test.rows}
    cases = [names[name] for name in test.case_names]
    found = {level: _groups(level, cases, sources) for level in _LEVELS}
    return grouped_units({_LEVELS[level]: group for level, group in found.items()}, test.case_names)


def _groups(level: str, cases: list[tuple[str, str]], sources: Mapping[str, Source]) -> list[str]:
    """Return the group of each case."""
    by_source: dict[str, set[str]] = defaultdict(set)
    for source, case in cases:
        by_source[source].add(case)
    known = {
        name: values_in_index(sources[name], level, "case", among)
        for name, among in by_source.items()
    }
    groups = []
    for source, case in cases:
        is_patient = level == "patient" and not sources[source].entry.videos_public
        groups.append(known[source].get(case, case if is_patient else f"{source}/{case}"))
    return groups
