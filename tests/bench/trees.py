"""Copies of published data sets in their layouts, with phantom video inside.

Each copy has a few cases in each part of its split. A video shows one class up to `CHANGE_S`, and
another one from there on, or one class throughout. The classes differ in color.
"""

import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec_shard.preset_files import PresetFiles
from surgrec_shard.preset_splits import split_function
from surgrec_shard.presets import read_preset

from surgrec.video_folder import FolderFiles
from tests.support.tool import run_tool

SECONDS, RATE, CHANGE_S = 8, 10, 4
FRAMES = SECONDS * RATE
PICTURES = 20
"""Pictures of a class, one per second: enough for a window of 16 s."""
PARTS = {"train": 3, "val": 1, "test": 2}
"""Cases of each part."""
_HUES = (0, 12, 24)
"""Shifts of the hue, degrees. Videos have further ones, so that classes overlap."""
_TURN = 2.4
"""Turn of a video against that of the seed before it, radians: the golden angle spreads them."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A copy that is being written."""

    folder: Path
    phantom: Path
    """A rendered video."""
    skipped: int = 0
    """Candidates for cases that another copy has, of data sets with the split `ours`."""

    def write(self, path: str, text: str) -> None:
        """Write an annotation file."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def video(
        self,
        path: str,
        *,
        seed: int,
        classes: Sequence[int] = (0, 1),
        rate: float = RATE,
        seconds: float = SECONDS,
    ) -> None:
        """Write a video that shows a class before `CHANGE_S` and another one after it."""
        first, second = classes[0], classes[-1]
        hue = f"{seed % 17}+if(gte(t,{CHANGE_S}),{_HUES[second]},{_HUES[first]})"
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        codec = ["-c:v", "mpeg4", "-q:v", "4"] if file.suffix == ".avi" else ["-c:v", "libx264"]
        _ffmpeg(
            *("-stream_loop", "-1", "-ss", f"{0.1 * (seed % 40):g}", "-i", str(self.phantom)),
            *("-t", f"{seconds:g}", "-an", "-vf", f"hue=h='{hue}',fps={rate:g},{_turned(seed)}"),
            *("-pix_fmt", "yuv420p", *codec, "-threads", "1", str(file)),
        )

    def pictures(
        self,
        path: str,
        *,
        seed: int,
        classes: Sequence[int],
        count: int,
        rate: float = 1,
        change_s: float = CHANGE_S,
    ) -> None:
        """Write pictures, numbered by `%d` in their path. The class changes at `change_s`."""
        hue = f"{seed % 17}+if(gte(t,{change_s:g}),{_HUES[classes[-1]]},{_HUES[classes[0]]})"
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        _ffmpeg(
            *("-stream_loop", "-1", "-ss", f"{0.1 * (seed % 40):g}", "-i", str(self.phantom)),
            *("-vf", f"hue=h='{hue}',fps={rate:g},{_turned(seed)}"),
            *("-frames:v", str(count), "-start_number", "0", str(file)),
        )


def _turned(seed: int) -> str:
    """Return the filters that turn a picture, so that no two videos show the same."""
    return f"scale=160:120,rotate={_TURN * seed % math.tau:.4f},crop=96:72"


def _ffmpeg(*words: str) -> None:
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *words], check=True, capture_output=True
    )


def rendered(folder: Path) -> Path:
    """Return a rendered phantom video. Copies show it in other colors, turned, from other times."""
    run = run_tool("phantom", "--out", folder, "--seed", 5, "--minutes", 1)
    assert run.returncode == 0, run.stderr
    return min(folder.glob("phantom-lap/*.mp4"))


def write_trees(
    root: Path,
    phantom: Path,
    names: Sequence[str] = (),
    writers: Mapping[str, Callable[[Tree], None]] | None = None,
) -> None:
    """Write copies of data sets below a folder, each under the name of its preset.

    Args:
        root: The folder.
        phantom: A rendered video.
        names: Presets; empty: all that the writers have.
        writers: Writers by preset; None: `TREES`, those of the paper's data sets.
    """
    writers = TREES if writers is None else writers
    for name in names or writers:
        writers[name](Tree(folder=root / name, phantom=phantom))


def cases(
    preset: str, split: str, candidates: Sequence[str], *, of: str = "id"
) -> dict[str, list[str]]:
    """Return cases for each part of a split, of those that its rule puts there.

    Args:
        preset: Name of the preset.
        split: Name of its split.
        candidates: Values of the group `of` of its paths.
        of: The group that the rule is about.
    """
    rule = read_preset(preset).splits[split]
    split_of = split_function(rule, PresetFiles(FolderFiles(folder=Path())))
    found: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in candidates:
        part = split_of({of: name, "case": name})
        if part and len(found[part]) < PARTS[part]:
            found[part].append(name)
    return found


def chosen(preset: str, split: str, candidates: Sequence[str], *, of: str = "id") -> list[str]:
    """Return the cases of all parts of a split."""
    return [name for part in cases(preset, split, candidates, of=of).values() for name in part]


def rows(header: str, values: Sequence[object], joint: str, first: int = 0) -> str:
    """Return a line for each value, behind its number."""
    lines = [f"{first + number}{joint}{value}" for number, value in enumerate(values)]
    return "\n".join([*([header] if header else []), *lines]) + "\n"


def by_frame(first: object, second: object, count: int = FRAMES) -> list[object]:
    """Return a label for each frame: one class, then the other."""
    return [first if frame < CHANGE_S * RATE else second for frame in range(count)]


def numbers(last: int, digits: int = 0) -> list[str]:
    return [f"{number:0{digits}}" for number in range(1, last + 1)]


def aixsuture(tree: Tree) -> None:
    # Scores of students: the color of a video tells its score.
    students = chosen("aixsuture", "ours", [f"S{number}" for number in range(40)], of="case")
    table = ["VIDEO,STUDENT,GLOBA_RATING_SCORE"]
    for number, student in enumerate(students):
        tree.video(f"A{number:02}.mp4", seed=number, classes=(number % 3,))
        table.append(f"A{number:02},{student},{10 + 7 * (number % 3) + number % 2}")
    tree.write("OSATS.csv", "\n".join(table) + "\n")


def autolaparo(tree: Tree) -> None:
    for name in ("01", "02", "03", "11", "15", "16"):
        tree.video(f"videos/{name}.mp4", seed=int(name))
        labels = [1 if second < CHANGE_S else 2 for second in range(SECONDS)]
        tree.write(f"labels/label_{name}.txt", rows("Frame\tPhase", labels, "\t", 1))


def cat21(tree: Tree) -> None:
    for number, part in enumerate(("training",) * 4 + ("test",) * 2, start=1):
        name = f"case_{number:02}_{part}"
        tree.video(f"videos/{name}.mp4", seed=number)
        tree.write(f"labels/{name}.csv", rows("", by_frame("Incision", "Rhexis"), ","))


def cataract101(tree: Tree) -> None:
    table = ["VideoID;FrameNo;Phase"]
    for name in chosen("cataract101", "ours", [str(269 + n) for n in range(tree.skipped, 200)]):
        tree.video(f"videos/case_{name}.mp4", seed=int(name))
        table += [f"{name};0;1", f"{name};{CHANGE_S * RATE};3"]
    tree.write("annotations.csv", "\n".join(table) + "\n")


def cataract1k(tree: Tree) -> None:
    for name in chosen("cataract1k", "ours", [str(4687 + number) for number in range(200)]):
        tree.video(f"videos/case_{name}.mp4", seed=int(name))
        tree.write(
            f"annotations/case_{name}/case_{name}_annotations_phases.csv",
            "caseId,comment,frame,endFrame,sec,endSec\n"
            f"{name},Incision,0,240,0.0,{CHANGE_S}.0\n"
            f"{name},Phacoemulsification,240,480,{CHANGE_S}.0,{SECONDS}.0\n",
        )


def cholec80(tree: Tree) -> None:
    # Cases that the splits tecno and endonet have in both train and test.
    flags = "Frame\tGrasper\tBipolar\tHook\tScissors\tClipper\tIrrigator\tSpecimenBag\n"
    for name in ("01", "02", "03", "41", "49", "50"):
        tree.video(f"videos/video{name}.mp4", seed=int(name), rate=25)
        phases = ["Preparation" if n < CHANGE_S * 25 else "ClippingCutting" for n in range(200)]
        tree.write(f"phase_annotations/video{name}-phase.txt", rows("Frame\tPhase", phases, "\t"))
        ticks = [
            f"{25 * second}\t{int(second < CHANGE_S)}\t0\t{int(second >= CHANGE_S)}\t0\t0\t0\t0\n"
            for second in range(SECONDS)
        ]
        tree.write(f"tool_annotations/video{name}-tool.txt", flags + "".join(ticks))


def colonoscopic(tree: Tree) -> None:
    for value, lesion in enumerate(("Adenoma", "Serrated")):
        names = [f"{lesion} {number}" for number in range(76)]
        for case in chosen("colonoscopic", "ours", names, of="case"):
            number = int(case.split()[1])
            for light in ("NBI", "WL"):
                path = f"{lesion}/{light}({number}).mp4"
                seed = 2 * number + (light == "WL")
                tree.video(path, seed=seed, classes=(value,), seconds=4)


def gynsurg(tree: Tree) -> None:
    # An operation has a clip of each class.
    for name in chosen("gynsurg", "ours", [str(600 + number) for number in range(100)]):
        for value, action in enumerate(("Coagulation", "Rest")):
            path = (
                f"GynSurg_Action_3sec/GynSurg_action_dataset/{action}/case_{name}_clip_{value}.mp4"
            )
            tree.video(path, seed=int(name) + value, classes=(value,), seconds=3)


def hyper_kvasir(tree: Tree) -> None:
    ids = chosen("hyper-kvasir", "ours", [f"{number:04x}" for number in range(200)])
    for number, name in enumerate(ids):
        value = ("polyps", "colitis")[number % 2]
        path = f"labeled-videos/lower-gi-tract/pathological-findings/{value}/{name}.avi"
        tree.video(path, seed=number, classes=(number % 2,))


def jigsaws(tree: Tree) -> None:
    meta = []
    for number, (user, repeat) in enumerate((u, r) for u in "BCDEFGHI" for r in (1, 2)):
        trial = f"Suturing_{user}{repeat:03}"
        tree.video(f"Suturing/video/{trial}_capture1.avi", seed=number)
        end = CHANGE_S * RATE
        tree.write(f"Suturing/transcriptions/{trial}.txt", f"1 {end} G1 \n{end + 1} {FRAMES} G3 \n")
        skill = "NIE"[number % 3]
        meta.append(f"{trial}\t\t{skill}\t\t{13 + number}\t1\t2\t1\t3\t3\t3\n")
    tree.write("Suturing/meta_file_Suturing.txt", "".join(meta))


def kvasir_capsule(tree: Tree) -> None:
    table = ["filename;video_id;frame_number;finding_class"]
    for name in chosen("kvasir-capsule", "ours", [f"{number:04x}" for number in range(200)]):
        tree.video(f"labelled_videos/{name}.mp4", seed=int(name, 16))
        table += [
            f"{name}_{frame}.jpg;{name};{frame};{value}"
            for frame, value in enumerate(by_frame("Pylorus", "Polyp"))
        ]
    tree.write("metadata.csv", "\n".join(table) + "\n")


def lapgyn4(tree: Tree) -> None:
    for name in chosen("lapgyn4", "ours", [str(number) for number in range(1, 200)]):
        for later, subset, classes in (
            (0, "Surgical_Actions", ("Suturing", "Cutting")),
            (7, "Anatomical_Structures", ("Ovary", "Uterus")),
        ):
            for value, label in enumerate(classes):
                path = f"{subset}/{label}/c_{name}_v_{value}_f_%d.jpg"
                tree.pictures(path, seed=int(name) + later, classes=(value,), count=PICTURES)


def ldpolypvideo(tree: Tree) -> None:
    # There are RATE pictures per second. Those before CHANGE_S show a polyp.
    for number, (part, name) in enumerate(
        [("Train", str(n)) for n in range(1, 5)] + [("Test", str(n)) for n in (101, 102)]
    ):
        path = f"{part}/Images/{name}/%d.jpg"
        tree.pictures(path, seed=number, classes=(0,), count=FRAMES, rate=RATE)
        for picture, boxes in enumerate(by_frame("1\n0 0 8 9\n", "0\n")):
            tree.write(f"{part}/Annotations/{name}/{picture}.txt", str(boxes))


def m2cai16(tree: Tree) -> None:
    for part, name, ids in (
        ("train_dataset", "workflow_video", (1, 2, 3, 22)),
        ("test_dataset", "test_workflow_video", (1, 2)),
    ):
        for number in ids:
            stem = f"{part}/{name}_{number:02}"
            tree.video(f"{stem}.mp4", seed=number + len(name))
            values = by_frame("TrocarPlacement", "Preparation")
            tree.write(f"{stem}.txt", rows("Frame\tPhase", values, "\t"))


def multibypass140(tree: Tree) -> None:
    center = {"B": ("BernBypass70", "bern"), "S": ("StrasBypass70", "strasbourg")}
    ms = 1000 * CHANGE_S
    content = {
        kind: [
            {"start": 0, "end": ms, "label_name": names[0], "label_id": 0},
            {"start": ms, "end": 1000 * SECONDS, "label_name": names[1], "label_id": 1},
        ]
        for kind, names in (
            ("phases", ("preparation", "gastric_pouch_creation")),
            ("steps", ("s0_null_step", "s1_cavity_exploration")),
        )
    }
    for split in read_preset("multibypass140").splits:
        of = [f"{first}BP{number:02}" for number in range(1, 71) for first in "BS"]
        for name in chosen("multibypass140", split, of):
            folder, short = center[name[0]]
            video = tree.folder / folder / "videos" / f"{name}.mp4"
            if not video.exists():
                tree.video(f"{folder}/videos/{name}.mp4", seed=int(name[3:]) + ord(name[0]))
                labels = f"labels/{short}/labels_by70/{name}.mp4.json"
                tree.write(labels, json.dumps(content))


def sar_rarp50(tree: Tree) -> None:
    for number, part in enumerate(("train1", "train1", "train2", "train2", "test", "test")):
        folder = f"{part}/video_{number + 1}"
        tree.video(f"{folder}/video_left.avi", seed=number)
        lines = [f"{n},{1 if n < CHANGE_S * RATE else 3}" for n in range(0, FRAMES, 6)]
        tree.write(f"{folder}/action_discrete.txt", "\n".join(lines) + "\n")


def surgicalactions160(tree: Tree) -> None:
    for value, folder in enumerate(("03_cutting", "12_knotting")):
        clips = [f"{folder[:2]}_{number:02}" for number in range(1, 11)]
        for clip in chosen("surgicalactions160", "ours", clips, of="case"):
            seed = int(clip[3:]) + value
            tree.video(f"{folder}/{clip}.mp4", seed=seed, classes=(value,), seconds=4)


TREES: Mapping[str, Callable[[Tree], None]] = {
    "aixsuture": aixsuture,
    "autolaparo": autolaparo,
    "cat21": cat21,
    "cataract101": cataract101,
    "cataract1k": cataract1k,
    "cholec80": cholec80,
    "colonoscopic": colonoscopic,
    "gynsurg": gynsurg,
    "hyper-kvasir": hyper_kvasir,
    "jigsaws": jigsaws,
    "kvasir-capsule": kvasir_capsule,
    "lapgyn4": lapgyn4,
    "ldpolypvideo": ldpolypvideo,
    "m2cai16-workflow": m2cai16,
    "multibypass140": multibypass140,
    "sar-rarp50": sar_rarp50,
    "surgicalactions160": surgicalactions160,
}
"""Writers of copies, by the name of the preset."""
