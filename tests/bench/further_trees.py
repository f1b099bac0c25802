"""Copies of the data sets beyond those of the paper, in their layouts, with phantom video inside.

Videos and pictures are those of `tests.bench.trees`.
"""

import json
from collections.abc import Callable, Mapping

from tests.bench.trees import CHANGE_S, SECONDS, Tree, chosen, numbers, rows

_TRIPLETS = ("grasper,retract,gallbladder", "hook,dissect,cystic_duct")
_VECTORS = ((17, 0, 1, 2), (60, 2, 2, 5))
"""Numbers of the triplet, instrument, verb and target of each class."""
_BOX = (0.1, 0.1, 0.2, 0.2)
FOLDS = {"fold1": ("79", "02"), "fold2": ("80", "32")}
"""Test videos of two folds of CholecT50 that its tree has; each is a train video of the other."""


def cataracts(tree: Tree) -> None:
    # Frames are numbered from 1 at a rate that is no whole number; the tray is another view.
    rate = 29.17
    num_frames = int(rate * SECONDS)
    labels = [3 if frame < rate * CHANGE_S else 8 for frame in range(num_frames)]
    for seed, (part, name) in enumerate(
        (
            *(("train_gt", name) for name in ("train01", "train02", "train03")),
            *(("dev_gt", "test07"), ("test_gt", "test02"), ("test_gt", "test03")),
        )
    ):
        tree.video(f"videos/micro/{name}.mp4", seed=seed, rate=rate)
        tree.write(
            f"ground_truth/CATARACTS_2020/{part}/{name}.csv",
            rows("Frame,Steps", labels, ",", 1),
        )
    tree.video("videos/tray/train01.mp4", seed=9, seconds=1)


def cholect50(tree: Tree) -> None:
    # Pictures of 12 s. The second class has two rows: one without a triplet, as in the set.
    categories = {
        "triplet": {str(vector[0]): name for vector, name in zip(_VECTORS, _TRIPLETS, strict=True)},
        "instrument": {"0": "grasper", "2": "hook"},
        "verb": {"1": "retract", "2": "dissect"},
        "target": {"2": "gallbladder", "5": "cystic_duct"},
        "phase": {"0": "preparation", "1": "carlot-triangle-dissection"},
    }
    for name in (*FOLDS["fold1"], *FOLDS["fold2"]):
        folder = f"videos/VID{name}"
        tree.pictures(f"{folder}/%06d.png", seed=int(name), classes=(0, 1), count=12, change_s=6)
        annotations = {}
        for second in range(12):
            value = int(second >= 6)
            triplet, instrument, verb, target = _VECTORS[value]
            vector = [triplet, instrument, 1, *_BOX, verb, target, 1, *_BOX, value]
            annotations[str(second)] = [vector, *([[-1] * 14 + [value]] if value else [])]
        content = {
            "video": int(name),
            "fps": 1,
            "num_frames": 12,
            "categories": categories,
            "annotations": annotations,
        }
        tree.write(f"labels/VID{name}.json", json.dumps(content))


def endoscapes2023(tree: Tree) -> None:
    # Pictures of 16 s, numbered as frames at 25 per second. Raters labeled every fifth second; the
    # third of these labels says that no criterion is met.
    raters = '"[1, 1, 1]","[1, 1, 1]","[1, 1, 1]"'
    table = ["vid,frame,C1,C2,C3,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3"]
    for part, number in (
        *(("train", n) for n in (1, 2, 3)),
        ("val", 121),
        ("test", 162),
        ("test", 163),
    ):
        tree.pictures(f"{part}/{number}_%d.jpg", seed=number, classes=(number % 2,), count=16)
        folder = tree.folder / part
        for second in range(15, -1, -1):
            (folder / f"{number}_{second}.jpg").rename(folder / f"{number}_{25 * second}.jpg")
        for second in range(16):
            flags = {0: "1,0,1", 5: "1,1,0", 10: "0,0,0", 15: "0,1,1"}.get(second)
            row = f"{number},{25 * second},"
            table.append(f"{row}{flags},{raters}" if flags else f"{row}0.5,0.5,0.5,,,")
    tree.write("all_metadata.csv", "\n".join(table) + "\n")


def grasp(tree: Tree) -> None:
    # Pictures at 30 per second, numbered as frames of videos of 30 or 45 per second, of which one
    # per second is labeled.
    files = {"train": ("001", "002", "021"), "test": ("041", "047")}
    for part, names in files.items():
        images, annotations = [], []
        for name in names:
            folder = f"frames/CASE{name}"
            pattern = f"{folder}/position_%d.jpg"
            tree.pictures(pattern, seed=int(name), classes=(0, 1), count=30 * SECONDS, rate=30)
            rate = 30 if name in ("021", "041", "047") else 45
            for position in range(30 * SECONDS):
                number = position if rate == 30 else (3 * position + 1) // 2
                picture = tree.folder / folder / f"position_{position}.jpg"
                picture.rename(picture.with_name(f"{number:09}.jpg"))

            for second in range(SECONDS):
                image = {
                    "id": len(images),
                    "file_name": f"CASE{name}/{rate * second:09}.jpg",
                    "video_name": f"CASE{name}",
                    "frame_num": rate * second,
                }
                value = int(second >= CHANGE_S)
                images.append(image)
                annotations.append(
                    {
                        "id": image["id"],
                        "image_id": image["id"],
                        "image_name": image["file_name"],
                        "phases": (3, 5)[value],
                        "steps": value,
                    }
                )
        content = {
            "images": images,
            "annotations": annotations,
            "steps_categories": [
                {"id": 0, "name": "Idle"},
                {"id": 1, "name": "Prostate_dissection"},
            ],
        }
        tree.write(f"annotations/grasp_long-term_{part}.json", json.dumps(content))


def heichole(tree: Tree) -> None:
    # Videos 16 to 20 have twice the frames per second; each frame has a row. No instrument is in
    # the picture in the last second.
    for number in (2, 3, 17, 6, 4, 1):
        rate = 50 if number == 17 else 25
        tree.video(f"Videos/Full/Hei-Chole{number}.mp4", seed=number, rate=rate)
        counts = [CHANGE_S * rate, (SECONDS - CHANGE_S - 1) * rate, rate]
        instruments = ("1,0", "0,1", "0,0")
        for kind, values in (
            ("Phase", ("0", "2", "2")),
            ("Instrument", [f"{first}{',0' * 19}" for first in instruments]),
            ("Action", ("1,0,0,0", "0,0,0,1", "0,0,0,0")),
        ):
            labels = [
                value for value, count in zip(values, counts, strict=True) for _ in range(count)
            ]
            tree.write(
                f"Annotations/{kind}/Hei-Chole{number}_Annotation_{kind}.csv", rows("", labels, ",")
            )
        tree.write(f"Annotations/Skill/Hei-Chole{number}_Annotation_Skill.csv", "3,4,5,4,3\n")


def pitvis(tree: Tree) -> None:
    # The last second has a step that is not scored.
    header = "int_video,int_time,int_step,int_instrument1,int_instrument2"
    for name in ("01", "03", "04", "02", "06"):
        tree.video(f"video_{name}.mp4", seed=int(name), rate=24)
        table = [header]
        for second in range(SECONDS):
            step = 11 if second == SECONDS - 1 else 1 if second < CHANGE_S else 4
            table.append(f"{int(name)},{second},{step},{int(second >= CHANGE_S)},")
        tree.write(f"annotations_{name}.csv", "\n".join(table) + "\n")


def polypdiag(tree: Tree) -> None:
    for part, first, last in (("train", 1, 6), ("val", 7, 10)):
        lines = []
        for number in range(first, last + 1):
            tree.video(f"videos/{number}.mp4", seed=number, classes=(number % 2,))
            lines.append(f"{number}.mp4,{number % 2}")
        tree.write(f"splits/{part}.txt", "\n".join(lines) + "\n")


def surgvu24(tree: Tree) -> None:
    # A session has two parts with clocks of their own; the second class lasts from one part into
    # the other one.
    sessions = chosen("surgvu24", "ours", numbers(154, 3))
    for number, case in enumerate(sessions):
        for part, classes in ((1, (0, 1)), (2, (1, 0))):
            path = f"surgvu24/case_{case}/case_{case}_video_part_{part:03}.mp4"
            tree.video(path, seed=number + 7 * part, classes=classes, rate=30)
        start, change, end = (f"00:00:{second:02}.000000" for second in (0, CHANGE_S, SECONDS))
        tools = [
            "index,install_case_part,install_case_time,uninstall_case_part,uninstall_case_time,arm,"
            "commercial_toolname,groundtruth_toolname",
            f"0,1.0,{start},1.0,{change},USM1,Large Needle Driver,needle driver",
            f"1,1.0,{change},2.0,{change},USM1,Cadiere Forceps,cadiere forceps",
            f"2,1.0,{change},2.0,{change},USM1,Cadiere Forceps,cadiere forceps",
            f"3,2.0,{change},2.0,{end},USM1,Large Needle Driver,needle driver",
            f"4,1.0,{start},2.0,{end},USM2,Endoscope,nan(camera in)",
        ]
        tasks = [
            "index,start_part,start_time,stop_part,stop_time,groundtruth_taskname",
            f"0,1.0,0.0,1.0,{CHANGE_S}.0,Suturing",
            f"1,1.0,{CHANGE_S}.0,2.0,{CHANGE_S}.0,Retraction and collision avoidance",
            f"2,2.0,{CHANGE_S}.0,2.0,{SECONDS}.0,Suturing",
        ]
        tree.write(f"labels/case_{case}/tools.csv", "\n".join(tools) + "\n")
        tree.write(f"labels/case_{case}/tasks.csv", "\n".join(tasks) + "\n")


FURTHER_TREES: Mapping[str, Callable[[Tree], None]] = {
    "cataracts": cataracts,
    "cholect50": cholect50,
    "endoscapes2023": endoscapes2023,
    "grasp": grasp,
    "heichole": heichole,
    "pitvis": pitvis,
    "polypdiag": polypdiag,
    "surgvu24": surgvu24,
}
"""Writers of copies, by the name of the preset."""
