"""Published splits, written here a second time: lists of cases, not the rules of presets."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from surgrec_shard.preset_files import PresetFiles
from surgrec_shard.preset_splits import split_function
from surgrec_shard.presets import read_preset

from surgrec.video_folder import files_below

CHOLECT50 = """
79 2 51 6 25 14 66 23 50 111 / 80 32 5 15 40 47 26 48 70 96 / 31 57 36 18 52 68 10 8 73 103 /
42 29 60 27 65 75 22 49 12 110 / 78 43 62 35 74 1 56 4 13 92
"""
"""Five folds: cases of the test part."""
BERN_VAL = """
3 12 17 25 27 28 35 49 56 69 / 12 18 25 35 36 41 44 49 67 69 / 8 18 23 36 41 44 47 48 60 67 /
5 8 22 23 31 38 47 48 51 60 / 5 22 29 31 33 38 45 51 54 58
"""
STRASBOURG_VAL = """
9 20 31 33 41 43 50 55 60 61 / 5 9 33 34 36 41 42 43 60 67 / 5 8 17 34 35 36 40 42 48 67 /
4 8 15 17 35 37 39 40 48 65 / 4 12 15 25 30 37 38 39 46 65
"""
BERN_TEST = """
2 3 4 7 15 16 17 27 28 32 34 37 39 43 52 53 55 56 62 70 /
3 7 12 13 15 17 19 25 27 28 30 35 43 49 52 53 56 57 68 69 /
6 12 13 14 18 19 24 25 30 35 36 41 44 49 57 61 64 67 68 69 /
1 6 8 14 18 23 24 36 41 44 46 47 48 59 60 61 63 64 65 67
"""
"""Folds 1 to 4."""


def numbers(first: int, last: int) -> set[str]:
    return {str(number) for number in range(first, last + 1)}


def cases(text: str, prefix: str = "") -> set[str]:
    return {f"{prefix}{word}" for word in text.split()}


def folds(text: str, prefix: str = "") -> list[set[str]]:
    return [cases(fold, prefix) for fold in text.split("/")]


def without(everything: Iterable[str], *parts: set[str]) -> set[str]:
    return set(everything) - set().union(*parts)


PUBLISHED: list[tuple[str, str, dict[str, set[str]]]] = [
    ("cholec80", "endonet", {"train": numbers(1, 40), "test": numbers(41, 80)}),
    (
        *("cholec80", "tecno"),
        {"train": numbers(1, 40), "val": numbers(41, 48), "test": numbers(49, 80)},
    ),
    (
        *("cholec80", "val8"),
        {"train": numbers(1, 32), "val": numbers(33, 40), "test": numbers(41, 80)},
    ),
    (
        *("cholec80-cvs", "cvs"),
        {
            "val": cases("1 2 10 16 17 28 32 46 47 57 59 63 65 67 70"),
            "test": cases("5 6 7 9 14 22 24 26 29 33 35 39 53 55 61"),
        },
    ),
    *(
        ("cholect50", f"fold{number}", {"test": test})
        for number, test in enumerate(folds(CHOLECT50), 1)
    ),
    (
        *("cholect50", "rdv"),
        {"val": cases("8 12 29 50 78"), "test": cases("6 51 10 73 14 74 32 80 42 111")},
    ),
    (
        *("cholect50", "challenge"),
        {"val": cases("5 18 36 65 74"), "test": cases("92 96 103 110 111")},
    ),
    (
        *("m2cai16-workflow", "cuhk"),
        {
            "train": cases(" ".join(numbers(1, 20)), "train"),
            "val": cases(" ".join(numbers(21, 27)), "train"),
            "test": cases(" ".join(numbers(1, 14)), "test"),
        },
    ),
    (
        *("autolaparo", "official"),
        {"train": numbers(1, 10), "val": numbers(11, 14), "test": numbers(15, 21)},
    ),
    (
        *("autolaparo-motion", "official"),
        {"train": numbers(1, 170), "val": numbers(171, 227), "test": numbers(228, 300)},
    ),
    (
        *("heichole", "surgbenchkit"),
        {"val": cases("6 19 10 8 20"), "test": cases("4 1 22 16 13")},
    ),
    *(
        ("multibypass140", f"val-fold{number}", {"val": bern | strasbourg})
        for number, (bern, strasbourg) in enumerate(
            zip(folds(BERN_VAL, "BBP"), folds(STRASBOURG_VAL, "SBP"), strict=True)
        )
    ),
    *(
        ("multibypass140", f"bern-fold{number}", {"val": val, "test": test})
        for number, (val, test) in enumerate(
            zip(folds(BERN_VAL, "BBP")[1:], folds(BERN_TEST, "BBP"), strict=True), 1
        )
    ),
    (
        *("endoscapes2023", "official"),
        {"train": numbers(1, 120), "val": numbers(121, 161), "test": numbers(162, 201)},
    ),
    (
        *("grasp", "official"),
        {
            "train": cases("001 002 003 004 007 014 015 021"),
            "test": cases("041 047 050 051 053"),
        },
    ),
    (
        *("cataracts", "official"),
        {
            "train": cases(" ".join(numbers(1, 25)), "train"),
            "val": cases("1 7 14 16 19", "test"),
            "test": cases(" ".join(without(numbers(1, 25), cases("1 7 14 16 19"))), "test"),
        },
    ),
    ("pitvis", "local", {"test": cases("02 06 12 13 24")}),
    (
        *("egosurgery", "official"),
        {
            "train": cases("1 2 3 4 8 9 11 13 14 15 17 20 21"),
            "val": cases("5 19"),
            "test": cases("6 7 10 12 18"),
        },
    ),
    ("esad", "official", {"train": cases("2 4"), "val": cases("1"), "test": cases("3")}),
    (
        *("endovis18-vqa", "official"),
        {"train": cases("2 3 4 6 7 9 10 11 12 14 15"), "val": cases("1 5 16")},
    ),
    ("cholec80-vqa", "official", {"val": cases("5 11 12 17 19 26 27 31")}),
]
"""Preset, split, and the cases of its parts. The train part is the rest where it is not given."""
ALL_CASES = {
    "cholec80-cvs": numbers(1, 80),
    "cholec80-vqa": numbers(1, 40),
    "cholect50": set().union(*folds(CHOLECT50)),
    "heichole": numbers(1, 24),
    "pitvis": numbers(1, 25),
    "multibypass140": cases(" ".join(numbers(1, 70)), "BBP")
    | cases(" ".join(numbers(1, 70)), "SBP"),
}


SIZES = {
    ("cholec80-cvs", "cvs"): {"train": 50, "val": 15, "test": 15},
    ("cholect50", "rdv"): {"train": 35, "val": 5, "test": 10},
    ("cholect50", "challenge"): {"train": 40, "val": 5, "test": 5},
    ("endoscapes2023", "official"): {"train": 120, "val": 41, "test": 40},
    ("m2cai16-workflow", "cuhk"): {"train": 20, "val": 7, "test": 14},
    ("cataracts", "official"): {"train": 25, "val": 5, "test": 20},
    **{
        ("multibypass140", f"bern-fold{fold}"): {"train": 40, "val": 10, "test": 20}
        for fold in range(1, 5)
    },
}
"""Published numbers of cases."""


@pytest.mark.parametrize(("name", "protocol", "parts"), PUBLISHED)
def test_a_published_split_has_its_cases(
    name: str, protocol: str, parts: dict[str, set[str]], tmp_path: Path
) -> None:
    rule = read_preset(name).splits[protocol]
    split_of = split_function(rule, PresetFiles(files_below(tmp_path)))
    if "train" not in parts:
        everything = ALL_CASES[name]
        if protocol.startswith("bern"):
            everything = {case for case in everything if case.startswith("BBP")}
        plain = {case.lstrip("0") for part in parts.values() for case in part}
        parts = {**parts, "train": without(everything, plain)}

    listed = {case: split_of({"case": case}) for part in parts.values() for case in part}
    found = {
        split: {case for case, of_case in listed.items() if of_case == split} for split in parts
    }
    assert found == parts
    sizes = {split: len(part) for split, part in parts.items()}
    assert sizes == SIZES.get((name, protocol), sizes)


def test_the_folds_of_cholect45_are_those_of_cholect50_without_its_own_cases() -> None:
    own = cases("111 96 103 110 92")
    for fold in range(1, 6):
        larger, smaller = (
            cases(read_preset(name).splits[f"fold{fold}"].parts["test"])
            for name in ("cholect50", "cholect45")
        )
        assert larger - smaller == larger & own
        assert len(smaller) == 9


def test_users_and_repeats_of_jigsaws_are_left_out_one_by_one(tmp_path: Path) -> None:
    splits = read_preset("jigsaws").splits
    files = PresetFiles(files_below(tmp_path))
    for user in "BCDEFGHI":
        split_of = split_function(splits[f"louo-{user}"], files)
        users = {other: split_of({"user": other}) for other in "BCDEFGHI"}
        assert users == {other: "test" if other == user else "train" for other in "BCDEFGHI"}
    for repeat in "12345":
        split_of = split_function(splits[f"loso-{repeat}"], files)
        assert split_of({"repeat": f"00{repeat}"}) == "test"
        assert split_of({"repeat": "005" if repeat == "1" else "001"}) == "train"
    assert len(splits) == 13
