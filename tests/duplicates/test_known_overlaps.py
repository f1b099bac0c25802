"""Documented overlaps of published data sets."""

from surgrec.duplicates import known_overlaps


def test_names_are_found_in_either_order_and_spelling() -> None:
    (overlap,) = known_overlaps(["Cholec-80", "mine"], ["cholect50"])
    assert overlap.sentence().startswith("cholect50 and cholec80: 45 of the 50 videos")
    assert known_overlaps(["cholec80", "cholecT50"]) == [overlap]
    assert known_overlaps(["cholec80"], ["cholec80", "heichole"]) == []


def test_every_documented_overlap_names_its_source() -> None:
    subsets = "cholect50 cholect45 cholecseg8k cholectrack20 cholec80-cvs cholec80-vqa m2cai16-tool"
    others = "endoscapes2023 m2cai16-workflow hsdb-chole cadis psi-ava esad surgtoolloc polypdiag"
    sets = "cholec80 cataracts grasp saras-mesad surgvu24 hyper-kvasir ldpolypvideo"
    overlaps = known_overlaps(f"{subsets} {others} {sets}".split())
    assert len(overlaps) == 19
    assert all(overlap.documented and overlap.what for overlap in overlaps)
