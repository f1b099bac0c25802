"""The splits of each card, applied to a tree with all cases of its set."""

import itertools
import re
from collections.abc import Callable, Sequence

import pytest
from surgrec_shard.found_source import FoundRecording, find_source
from surgrec_shard.preset_files import PresetFiles
from surgrec_shard.preset_splits import SplitOf, split_function
from surgrec_shard.presets import read_preset

from surgrec.tasks import LEGACY, card_names, read_card
from surgrec.video_folder import files_below
from tests.surgrec_shard.test_published_splits import CHOLECT50

CARDS = [name for name in card_names() if not name.startswith(LEGACY)]
GRASP = ("001", "002", "003", "004", "007", "014", "015", "021", "041", "047", "050", "051", "053")


def numbered(template: str, last: int, first: int = 1) -> list[str]:
    return [template.format(number) for number in range(first, last + 1)]


TREES: dict[str, Sequence[str]] = {
    "aixsuture": numbered("{:03}.mp4", 60),
    "autolaparo": numbered("videos/{:02}.mp4", 21),
    "cat21": [*numbered("case_{:02}_training.mp4", 17), *numbered("case_{:02}_test.mp4", 21, 18)],
    "cataract101": numbered("videos/case_{}.mp4", 369, 269),
    "cataract1k": numbered("case_{}.mp4", 5055, 5000),
    "cataracts": [*numbered("micro/train{:02}.mp4", 25), *numbered("micro/test{:02}.mp4", 25)],
    "cholec80": numbered("videos/video{:02}.mp4", 80),
    "cholect50": [f"videos/VID{case:>02}/000000.png" for case in re.findall(r"\d+", CHOLECT50)],
    "colonoscopic": [
        f"{folder}/{light}({number}).mp4"
        for folder, first, last in (
            ("Hyperplasic", 0, 20),
            ("Serrated", 21, 35),
            ("Adenoma", 36, 75),
        )
        for number in range(first, last + 1)
        for light in ("NBI", "WL")
    ],
    "endoscapes2023": [
        *numbered("train/{}_0.jpg", 120),
        *numbered("val/{}_0.jpg", 161, 121),
        *numbered("test/{}_0.jpg", 201, 162),
    ],
    "grasp": [f"frames/CASE{case}/00000.jpg" for case in GRASP],
    "gynsurg": numbered("GynSurg_action_dataset/Rest/case_{}_1.mp4", 60),
    "heichole": numbered("Full/Hei-Chole{}.mp4", 24),
    "hyper-kvasir": numbered("labeled-videos/lower/polyps/{}.avi", 60),
    "jigsaws": [
        f"Suturing/video/Suturing_{user}00{repeat}_capture1.avi"
        for user, repeat in itertools.product("BCDEFGHI", range(1, 6))
    ],
    "kvasir-capsule": numbered("labelled_videos/{:016x}.mp4", 43),
    "lapgyn4": [
        f"{subset}/suturing/c_{case}_v_1_f_{case}.jpg"
        for subset in ("Surgical_Actions", "Anatomical_Structures")
        for case in range(60)
    ],
    "ldpolypvideo": [
        *numbered("Train/Images/{}/0001.jpg", 100),
        *numbered("Test/Images/{}/0001.jpg", 160, 101),
    ],
    "m2cai16-workflow": [
        *numbered("train_dataset/workflow_video_{:02}.mp4", 27),
        *numbered("test_dataset/test_workflow_video_{:02}.mp4", 14),
    ],
    "multibypass140": [*numbered("BBP{:02}.mp4", 70), *numbered("SBP{:02}.mp4", 70)],
    "pitvis": numbered("video_{:02}.mp4", 25),
    "polypdiag": numbered("videos/{}.mp4", 30),
    "sar-rarp50": [
        *numbered("train1/video_{}/video_left.avi", 10),
        *numbered("train1/video_11_{}/video_left.avi", 2),
        *numbered("train2/video_{}/video_left.avi", 40, 12),
        *numbered("test/video_{}/video_left.avi", 50, 41),
    ],
    "surgicalactions160": [
        f"{action:02}_a/{action:02}_{number:02}.mp4"
        for action, number in itertools.product(range(1, 17), range(1, 11))
    ],
    "surgvu24": [
        f"case_{case:03}/case_{case:03}_video_part_00{part}.mp4"
        for case, part in [*zip(range(155), [1] * 155, strict=True), (0, 2), (61, 2)]
    ],
}
"""The videos or first pictures of each set, with the published numbers of cases where known."""
FILES = {
    "aixsuture": {
        "OSATS.csv": "VIDEO,STUDENT,GLOBA_RATING_SCORE\n"
        + "".join(f"{number:03},S{(number + 1) // 2},20\n" for number in range(1, 61))
    },
    "polypdiag": {
        "splits/train.txt": "".join(f"{number}.mp4,{number % 2}\n" for number in range(1, 21)),
        "splits/val.txt": "".join(f"{number}.mp4,{number % 2}\n" for number in range(21, 31)),
    },
}


Cases = dict[str, dict[str, set[str]]]
"""The cases of each part of each split of a set."""


@pytest.fixture(scope="module")
def cases_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cases]:
    """Read the cases of a set from a tree that is written once, for all of its splits."""
    found: dict[str, Cases] = {}

    def read(name: str) -> Cases:
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            for path, content in (dict.fromkeys(TREES[name], "") | FILES.get(name, {})).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(content)
            preset = read_preset(name)
            recordings = find_source(preset, folder).recordings
            assert len(recordings) == len(TREES[name])
            files = PresetFiles(files_below(folder))
            found[name] = {
                protocol: parts_of(recordings, split_function(rule, files))
                for protocol, rule in preset.splits.items()
            }
        return found[name]

    return read


def parts_of(recordings: Sequence[FoundRecording], split_of: SplitOf) -> dict[str, set[str]]:
    """Return the cases of each part; of a split without a test part, those of val are tested."""
    parts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for each in recordings:
        part = split_of(each.names)
        if part:
            parts[part].add(each.case)
    if not parts["test"]:
        parts = {"train": parts["train"], "test": parts["val"]}
    return {part: cases for part, cases in parts.items() if cases}


@pytest.mark.parametrize("name", CARDS)
def test_a_split_of_a_card_has_its_size_and_no_case_in_two_parts(
    name: str, cases_of: Callable[[str], Cases]
) -> None:
    card = read_card(name)
    splits = cases_of(card.preset)
    for protocol in (*card.split.names, *card.split.also):
        parts = splits[protocol]
        assert {"train", "test"} <= parts.keys()
        assert sum(map(len, parts.values())) == len(set().union(*parts.values()))

    for protocol in card.split.names:
        sizes = {part: len(cases) for part, cases in splits[protocol].items()}
        assert not card.split.sizes or sizes == card.split.sizes
    tested = [case for protocol in card.split.names for case in splits[protocol]["test"]]
    assert len(set(tested)) == len(tested), "folds of a card test each case once"
    if len(card.split.names) > 1:
        assert set(tested) == set().union(*splits[card.split.names[0]].values())


@pytest.mark.parametrize(
    ("name", "unit", "total"),
    [
        ("aixsuture", r"S\d+", 30),  # students
        ("colonoscopic", r"\d+", 76),  # lesions
        ("jigsaws", r"(?<=_)[B-I]", 8),  # surgeons
    ],
)
def test_no_person_or_lesion_is_in_two_parts(
    name: str, unit: str, total: int, cases_of: Callable[[str], Cases]
) -> None:
    parts = next(iter(cases_of(name).values()))
    units = {
        part: {re.search(unit, case)[0] for case in cases}  # type: ignore[index]
        for part, cases in parts.items()
    }
    assert sum(map(len, units.values())) == len(set().union(*units.values())) == total


OURS = {
    ("aixsuture", "ours"): (21, 2, 7, "S12"),
    ("cataract101", "ours"): (76, 10, 15, "269"),
    ("cataract1k", "ours"): (41, 3, 12, "5009"),
    ("colonoscopic", "ours"): (47, 15, 14, "Adenoma 48"),
    ("gynsurg", "ours"): (48, 4, 8, "15"),
    ("hyper-kvasir", "ours"): (48, 4, 8, "15"),
    ("kvasir-capsule", "ours"): (32, 5, 6, "0000000000000004"),
    ("lapgyn4", "ours"): (48, 4, 8, "15"),
    ("ldpolypvideo", "ours"): (116, 16, 28, "Test105"),
    ("multibypass140", "val-fold0"): (120, 0, 20, "BBP03"),
    ("multibypass140", "val-fold1"): (120, 0, 20, "BBP12"),
    ("multibypass140", "val-fold2"): (120, 0, 20, "BBP08"),
    ("multibypass140", "val-fold3"): (120, 0, 20, "BBP05"),
    ("multibypass140", "val-fold4"): (120, 0, 20, "BBP05"),
    ("surgicalactions160", "ours"): (99, 24, 37, "01_02"),
    ("surgvu24", "ours"): (131, 16, 8, "061"),
}
"""Cases of train, val and test of the splits by this project, over `TREES`, and a test case."""


def test_every_split_by_this_project_is_pinned() -> None:
    presets = {read_card(name).preset for name in CARDS}
    assert OURS.keys() == {
        (preset, name)
        for preset in presets
        for name, rule in read_preset(preset).splits.items()
        if rule.status == "ours"
    }


@pytest.mark.parametrize(("preset", "name"), OURS)
def test_a_split_by_this_project_never_moves_a_case(
    preset: str, name: str, cases_of: Callable[[str], Cases]
) -> None:
    parts = cases_of(preset)[name]
    sizes = tuple(len(parts.get(part, ())) for part in ("train", "val", "test"))
    assert (*sizes, min(parts["test"])) == OURS[preset, name]
