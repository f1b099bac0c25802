"""Documented overlaps of published data sets."""

import itertools
from pathlib import Path

import pytest
from surgrec_shard.presets import preset_names

import surgrec.duplicates
from surgrec.duplicates import known_overlaps, overlaps_by_name
from surgrec.yaml_files import read_yaml

CHOLEC80 = {"cholec80", "cholec80-frames", "cholec80-cvs", "cholec80-vqa"}
CHOLECT = {"cholect45", "cholect50", "ssg-vqa"}
SHARING = [
    *itertools.combinations(sorted(CHOLEC80 | CHOLECT), 2),
    *itertools.product(["endoscapes2023"], sorted(CHOLEC80 | CHOLECT)),
    *itertools.product(["m2cai16-workflow", "lapgyn4"], sorted(CHOLEC80)),
    ("autolaparo", "autolaparo-motion"),
    ("hyper-kvasir", "polypdiag"),
    ("ldpolypvideo", "polypdiag"),
    ("pitvis", "pitvqa"),
]
"""Pairs of presets that are documented to share videos, or that may."""
OTHERS = """
cholecseg8k cholec80, cholectrack20 cholec80, cholectrack20 cholect50, m2cai16-tool cholec80,
hsdb-chole cholec80, cadis cataracts, psi-ava grasp, esad saras-mesad, surgtoolloc surgvu24
"""
"""Pairs with a set that has no preset."""


def test_names_are_found_in_either_order_and_spelling() -> None:
    (overlap,) = known_overlaps(["Cholec-80", "mine"], ["cholect50"])
    assert overlap.sentence().startswith("cholect50 and cholec80: 45 of the 50 videos")
    assert known_overlaps(["cholec80", "cholecT50"]) == [overlap]
    assert known_overlaps(["cholec80"], ["cholec80", "heichole"]) == []


@pytest.mark.parametrize(
    ("source", "published", "sentence"),
    [
        ("cholec80", "Cholec80", "cholec80 has the name of Cholec80"),
        ("m2cai16-workflow", "M2CAI16", "m2cai16-workflow has the name of M2CAI16"),
        ("our-cholec80-clips", "Cholec80", "our-cholec80-clips has the name of Cholec80"),
        ("Cholec_80", "Cholec80", "Cholec_80 has the name of Cholec80"),
        ("KvasirCapsule", "Kvasir-Capsule", "KvasirCapsule has the name of Kvasir-Capsule"),
        ("surgtoolloc", "SurgToolLoc2022", "surgtoolloc has the name of SurgToolLoc2022"),
        ("cholect50", "Cholec80", "cholect50 and cholec80: 45 of the 50 videos"),
        ("surgvu24", "SurgToolLoc2022", "surgtoolloc and surgvu24: the clips"),
    ],
)
def test_a_source_overlaps_a_published_set_by_its_name(
    source: str, published: str, sentence: str
) -> None:
    (overlap,) = overlaps_by_name(source, ["GLENDA", published])
    assert overlap.startswith(sentence)


@pytest.mark.parametrize("source", ["ours", "cholec", "sunny", "lemonade-videos", "-", "手術"])
def test_a_source_of_another_name_overlaps_no_published_set(source: str) -> None:
    assert overlaps_by_name(source, ["Cholec80", "HeiChole", "SUN", "LEMON", "--"]) == []


@pytest.mark.parametrize(("first", "second"), SHARING)
def test_presets_that_share_videos_have_a_documented_overlap(first: str, second: str) -> None:
    assert {first, second} <= set(preset_names())
    (overlap,) = known_overlaps([first], [second])
    assert overlap.what
    assert overlap.documented


def test_no_other_pair_of_presets_has_an_overlap() -> None:
    pairs = {frozenset((each.first, each.second)) for each in known_overlaps(preset_names())}
    assert pairs == {frozenset(pair) for pair in SHARING}


def test_sets_without_a_preset_have_their_overlaps() -> None:
    for pair in OTHERS.split(","):
        first, second = pair.split()
        assert known_overlaps([first], [second]), pair


def test_an_overlap_of_sets_with_the_same_videos_says_why() -> None:
    (overlap,) = known_overlaps(["cholec80-frames"], ["ssg-vqa"])
    told = overlap.sentence()
    assert "the pictures of cholec80-frames are from the videos of Cholec80" in told
    assert "SSG-VQA asks about frames of CholecT45" in told
    assert "CholecT45 is the public part of CholecT50" in told


def test_sets_that_are_documented_as_disjoint_have_no_overlap() -> None:
    (folder,) = surgrec.duplicates.__path__
    rows = read_yaml(Path(folder) / "known_overlaps.yaml")["disjoint"]
    pairs = [(row["first"], row["second"]) for row in rows]
    assert ("heichole", "cholec80") in pairs
    assert [pair for pair in pairs if known_overlaps(pair[:1], pair[1:])] == []
