"""The independent units of test cases: centers and patients of the indexes, else cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import PartWindows
from surgrec.evaluation._units import resampled_units
from surgrec.scores import case_weights
from surgrec.shards import Source, open_corpus
from surgrec.shards._index import SourceIndex
from tests.support.evaluations import window_row
from tests.support.samples import make_clips, write_corpus


def opened(folder: Path, cases: dict[str, list[str]]) -> dict[str, Source]:
    """Return sources with one clip per case."""
    clips = {
        source: [
            replace(clip, case=case, video=f"{ord(source[0]):010x}{number:02x}")
            for number, (case, clip) in enumerate(
                zip(names, make_clips(len(names), source), strict=True)
            )
        ]
        for source, names in cases.items()
    }
    return open_corpus([write_corpus(folder, clips)])


def with_column(source: Source, name: str, values: list[str]) -> Source:
    table = source.index.table().append_column(name, pa.array(values))
    return replace(source, index=SourceIndex(table, "here"))


def part(*cases: tuple[str, str]) -> PartWindows:
    """Return one window of each case."""
    rows = [window_row(case, 0, source=source) for source, case in cases]
    return PartWindows(
        rows=rows,
        values=["x"] * len(rows),
        times_s=np.zeros(len(rows)),
        indices=np.arange(len(rows)),
        unlabeled=0,
        failed=0,
        num_cases=len(rows),
    )


def test_cases_are_the_units_if_nothing_groups_them(tmp_path: Path) -> None:
    sources = opened(tmp_path, {"alpha": ["1", "2", "3"]})
    units = resampled_units(sources, part(("alpha", "1"), ("alpha", "2"), ("alpha", "3")))
    assert (units.name, units.number) == ("cases", 3)
    assert (units.weights == case_weights(3)).all()


def test_centers_are_drawn_before_patients_and_cases(tmp_path: Path) -> None:
    cases = ["1", "2", "3", "4", "5", "6"]
    sources = opened(tmp_path, {"alpha": cases})
    order = sources["alpha"].index.column("case").to_pylist()
    centers = dict(zip(cases, ["A", "A", "A", "B", "B", "B"], strict=True))
    sources["alpha"] = with_column(sources["alpha"], "center", [centers[case] for case in order])
    units = resampled_units(sources, part(*(("alpha", case) for case in cases)))
    assert (units.name, units.number) == ("centers", 2)
    assert units.of_case.tolist() == [0, 0, 0, 1, 1, 1]
    assert units.levels == {"centers": [0, 0, 0, 1, 1, 1]}
    # Of two centers, one is drawn twice and the other not at all in half of the test sets.
    lost = (units.weights[1:, :3].sum(1) == 0).mean() + (units.weights[1:, 3:].sum(1) == 0).mean()
    assert 0.45 < lost < 0.55


def test_a_private_name_in_two_sources_is_one_patient(tmp_path: Path) -> None:
    sources = opened(tmp_path, {"alpha": ["p", "q"], "gamma": ["p", "r"]})
    test = part(("alpha", "p"), ("alpha", "q"), ("gamma", "p"), ("gamma", "r"))
    units = resampled_units(sources, test)
    assert (units.name, units.number) == ("patients", 3)
    assert units.of_case[0] == units.of_case[2]

    public = {
        name: replace(source, entry=replace(source.entry, videos_public=2))
        for name, source in sources.items()
    }
    assert resampled_units(public, test).name == "cases", "public names count in their source"


def test_a_case_of_two_centers_is_refused_by_name(tmp_path: Path) -> None:
    sources = opened(tmp_path, {"alpha": ["1", "1", "2"]})
    order = sources["alpha"].index.column("case").to_pylist()
    names = iter(["A", "B"])
    sources["alpha"] = with_column(
        sources["alpha"], "center", [next(names) if case == "1" else "A" for case in order]
    )
    with pytest.raises(ConfigError, match=r"alpha/1 has several values of center \(A, B\)"):
        resampled_units(sources, part(("alpha", "1"), ("alpha", "2")))
