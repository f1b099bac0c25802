"""Results of several hospitals are joined as centers, or refused in one sentence."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from surgrec.comparisons import Comparison, compare, comparison_tables, write_tables
from surgrec.errors import ConfigError
from surgrec.evaluation._protocol import protocol
from surgrec.evaluation.kinds import KINDS
from tests.support.results import WINDOWS, write_result

CASES = {"north": 14, "south": 11}
SKILLS = {"good": 0.95, "weak": 0.4}
CHOSEN = "logistic regression: C among 0.1, 1 (chosen: {} for trained); macro F1"


def hospital(folder: Path, name: str, *, videos: str = "", **changes: Any) -> Path:
    """Write the results of both encoders on the cases of a hospital."""
    for seed, (encoder, skill) in enumerate(SKILLS.items()):
        written = write_result(
            folder / name / encoder,
            skill=skill,
            seed=seed + 10 * CASES[name],
            cases=CASES[name],
            **{
                "encoder": {"name": encoder, "sha256": encoder},
                "corpus": {"digests": {"alpha": name}},
                "protocol": CHOSEN.format(CASES[name]),
                **changes,
            },
        )
        path = written / "predictions.parquet"
        table = parquet.read_table(path)
        renamed = [f"{videos or name} {video}" for video in table.column("video").to_pylist()]
        index = table.column_names.index("video")
        parquet.write_table(table.set_column(index, "video", pa.array(renamed)), path)
    return folder / name


def joined(tmp_path: Path, **changes: Any) -> Comparison:
    north = hospital(tmp_path, "north")
    return compare([str(north), str(hospital(tmp_path, "south", **changes))])


def listed(file: str, rule: str = "a") -> dict[str, Any]:
    """Return the record of a split file that lists the cases of one hospital by a rule."""
    return {"split": {"name": "official", "sha256": file * 64, "definition": rule * 64}}


def test_split_files_that_list_cases_by_one_rule_are_one_split(tmp_path: Path) -> None:
    north = hospital(tmp_path, "north", **listed("1"))
    (data_set,) = compare([str(north), str(hospital(tmp_path, "south", **listed("2")))]).data_sets
    assert data_set.size == "25 cases of 2 centers"

    # By other rules, or within one corpus, two files are two splits.
    other = hospital(tmp_path / "other", "south", **listed("2", rule="b"))
    with pytest.raises(ConfigError, match="have other split files"):
        compare([str(north), str(other)])
    good, weak = (
        write_result(tmp_path / "one" / name, encoder={"sha256": name}, **listed(name[0]))
        for name in ("1", "2")
    )
    with pytest.raises(ConfigError, match="have other split files"):
        compare([str(good), str(weak)])


def test_cases_of_two_hospitals_are_joined_as_centers(tmp_path: Path) -> None:
    found = joined(tmp_path)
    (data_set,) = found.data_sets
    assert [method.name for method in found.methods] == [f"{tmp_path}/north/{e}" for e in SKILLS]
    assert data_set.size == "25 cases of 2 centers"
    assert data_set.cases[0] == "1/alpha/case00"
    row = data_set.row(found.methods[0].name, "knn")
    assert row is not None
    assert row.metrics["accuracy"].value == pytest.approx(
        np.mean(row.predicted[0].value == data_set.windows.label)
    )

    # Two centers say little of a third one; within each, cases are compared.
    assert [pair.verdict for pair in data_set.primary_pairs] == ["not shown"]
    assert [pair.verdict for pair in data_set.center_pairs] == ["better", "better"]
    assert [pair.size for pair in data_set.center_pairs] == ["14 cases", "11 cases"]
    write_tables(found, tmp_path / "out")
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "pairs within centers, kNN" in text
    assert "2/alpha south" in text


def test_a_pair_within_a_center_is_that_of_the_center_alone(tmp_path: Path) -> None:
    together = joined(tmp_path).data_sets[0].center_pairs
    for name, pair in zip(CASES, together, strict=True):
        alone = compare([str(tmp_path / name)]).data_sets[0].primary_pairs[0]
        assert pair.p_value == alone.p_value
        assert pair.difference.value == pytest.approx(alone.difference.value)
        assert pair.difference.low == pytest.approx(alone.difference.low)
        assert pair.wins == alone.wins


def test_patients_of_a_center_are_its_units(tmp_path: Path) -> None:
    patients = [index // 2 for index in range(CASES["south"])]
    rule = "C among 0.1, 1 (chosen: {} for trained)"
    kind = KINDS["classes"]
    north, south = (
        protocol([rule.format(c)], kind.rules, kind.baselines, primary="kNN", units=units)
        for c, units in ((0.1, "cases"), (1, "patients"))
    )
    words = [
        str(hospital(tmp_path, "north", protocol=north)),
        str(hospital(tmp_path, "south", protocol=south, units={"patients": patients})),
    ]
    found = compare(words)
    (data_set,) = found.data_sets
    assert [pair.size for pair in data_set.center_pairs] == ["14 cases", "11 cases of 6 patients"]
    assert [pair.verdict for pair in data_set.center_pairs] == ["better", "not shown"]

    # The row has the protocol of both hospitals.
    write_tables(found, tmp_path / "out")
    with (tmp_path / "out/scores.csv").open(newline="", encoding="utf-8") as file:
        written = next(csv.DictReader(file))["protocol"]
    assert "[center 1: (chosen: 0.1 for trained), center 2: (chosen: 1 for trained)]" in written
    assert "over test [center 1: cases, center 2: patients], " in written
    with (tmp_path / "out/pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert [(row["center"], row["num_units"]) for row in pairs if row["primary"] == "True"] == [
        ("all", "2"),
        ("1", "14"),
        ("2", "6"),
    ]
    assert {row["second_protocol"] for row in pairs} == {written}
    assert {row["first_encoder_sha256"] for row in pairs} == {"good"}
    assert pairs[0]["corpus_sha256"] == "1/alpha:north 2/alpha:south"


def test_centers_within_a_hospital_have_its_number(tmp_path: Path) -> None:
    centers = [int(index > 4) for index in range(CASES["south"])]
    (data_set,) = joined(tmp_path, units={"centers": centers}).data_sets
    assert [pair.center for pair in data_set.center_pairs] == ["1", "2.1", "2.2"]
    assert [pair.size for pair in data_set.center_pairs] == ["14 cases", "5 cases", "6 cases"]


def test_pairs_within_centers_count_the_windows_of_the_center(tmp_path: Path) -> None:
    # In the south, one encoder lacks the first two windows of each case, and a whole case.
    words = [str(hospital(tmp_path, "north")), str(hospital(tmp_path, "south"))]
    path = tmp_path / "south/weak/predictions.parquet"
    table = parquet.read_table(path)
    early = pc.greater(table.column("time_s"), 5)
    other = pc.not_equal(table.column("case"), "case03")
    parquet.write_table(table.filter(pc.and_(early, other)), path)
    write_tables(compare(words), tmp_path / "out")
    with (tmp_path / "out/pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = [row for row in csv.DictReader(file) if row["primary"] == "True"]
    names = ("center", "windows", "first_windows_left_out", "second_windows_left_out")
    north, south, lost = 14 * WINDOWS, 10 * (WINDOWS - 2), 10 * 2 + WINDOWS
    assert [tuple(row[name] for name in names) for row in pairs] == [
        ("all", str(north + south), str(lost), "0"),
        ("1", str(north), "0", "0"),
        ("2", str(south), str(lost), "0"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"videos": "north"},
            r"south/good cannot be joined.* video north video00",
        ),
        ({"protocol": CHOSEN.format(5).replace("F1", "F2")}, "protocols differ, 'macro F1' and"),
        ({"encoder": {"sha256": "other"}}, "the corpora of .*south have no result of .*north/good"),
        ({"split": {"name": "official", "sha256": "12" * 32}}, "have other split files"),
    ],
)
def test_hospitals_that_cannot_be_joined_are_refused(
    changes: dict, message: str, tmp_path: Path
) -> None:
    north = hospital(tmp_path, "north")
    if "encoder" in changes:
        south = write_result(tmp_path / "south", corpus={"digests": {"alpha": "south"}}, **changes)
    else:
        south = hospital(tmp_path, "south", **changes)
    with pytest.raises(ConfigError, match=message):
        compare([str(north), str(south)])


def test_a_name_for_a_folder_of_several_encoders_is_refused(tmp_path: Path) -> None:
    north = hospital(tmp_path, "north")
    with pytest.raises(ConfigError, match=r"ours names one encoder, but .*north has results of s"):
        compare([f"ours={north}"])


def test_a_comparison_of_one_center_has_no_table_of_centers(tmp_path: Path) -> None:
    found = compare([str(hospital(tmp_path, "north"))])
    assert found.data_sets[0].center_pairs == []
    assert not [t for t in comparison_tables(found).in_order if "within centers" in t.title]
