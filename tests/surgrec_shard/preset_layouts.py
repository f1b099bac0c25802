"""Small trees in the published layout of each preset, and what must be read from them.

Videos are empty files: they have 250 frames at 25 per second on the clock of the tests.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Found = tuple[str, str, str, Sequence[tuple[str, float, float, str]]]
"""Case, view, split, and labels."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A tree and its content."""

    tree: Mapping[str, str]
    """Content of each file by its path."""
    found: Mapping[str, Found]
    """Each recording by the path of its video or first picture."""
    protocol: str = ""
    left_out: Sequence[str] = field(default=())
    """Videos that are not taken."""


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


def frames(header: str, values: Sequence[object], joint: str, first: int = 0) -> str:
    """One line for each frame."""
    rows = [f"{first + number}{joint}{value}" for number, value in enumerate(values)]
    return lines(*([header] if header else []), *rows)


TOOLS = "Frame\tGrasper\tBipolar\tHook\tScissors\tClipper\tIrrigator\tSpecimenBag"
CATEGORIES = {
    "triplet": {"17": "grasper,retract,gallbladder", "60": "hook,dissect,cystic_duct"},
    "instrument": {"0": "grasper", "2": "hook"},
    "verb": {"1": "retract", "2": "dissect"},
    "target": {"0": "gallbladder", "2": "cystic_duct"},
    "phase": {"0": "preparation", "1": "carlot-triangle-dissection"},
}
BOX = [0.1, 0.1, 0.2, 0.2]
GRASP_IMAGES = [
    {
        "id": number,
        "video_name": "CASE001",
        "frame_num": 45 * number,
        "file_name": f"CASE001/{45 * number:09}.jpg",
    }
    for number in range(3)
]
GRASP_NUMBERS = [number for number in range(135) if number % 3 != 1]
"""Of 45 frames per second, 30 are there."""
GRASP_STEPS = [{"id": 0, "name": "Idle"}, {"id": 20, "name": "Clip_Pedicles"}]
COMMON = "index,install_case_part,install_case_time,uninstall_case_part,uninstall_case_time,arm,"

LAYOUTS: dict[str, Layout] = {
    "cholec80": Layout(
        tree={
            "videos/video01.mp4": "",
            "videos/video41.mp4": "",
            "videos/video01-timestamp.txt": "",
            "phase_annotations/video01-phase.txt": frames(
                "Frame\tPhase", ["Preparation"] * 50 + ["CalotTriangleDissection"] * 25, "\t"
            ),
            "phase_annotations/video41-phase.txt": frames("Frame\tPhase", ["Preparation"], "\t"),
            "tool_annotations/video01-tool.txt": lines(
                TOOLS,
                "0\t1\t0\t0\t0\t0\t0\t0",
                "25\t1\t0\t1\t0\t0\t0\t0",
                "50\t0\t0\t1\t0\t0\t0\t0",
            ),
            "tool_annotations/video41-tool.txt": lines(TOOLS, "0\t0\t0\t1\t0\t0\t0\t0"),
        },
        found={
            "videos/video01.mp4": (
                *("01", "", "train"),
                [
                    ("phase", 0, 2, "Preparation"),
                    ("tool", 0, 2, "Grasper"),
                    ("tool", 1, 3, "Hook"),
                    ("phase", 2, 3, "CalotTriangleDissection"),
                ],
            ),
            "videos/video41.mp4": (
                *("41", "", "test"),
                [("phase", 0, 0.04, "Preparation"), ("tool", 0, 1, "Hook")],
            ),
        },
    ),
    "cholec80-frames": Layout(
        tree={
            **{f"frames/video01/video01_00000{number}.png": "" for number in (1, 2, 3)},
            "frames/video41/video41_000001.png": "",
            "phase_annotations/video01-phase.txt": frames(
                "Frame\tPhase", ["Preparation"] * 50 + ["CalotTriangleDissection"] * 25, "\t"
            ),
            "phase_annotations/video41-phase.txt": frames("Frame\tPhase", ["Preparation"], "\t"),
            "tool_annotations/video01-tool.txt": lines(
                TOOLS, "0\t1\t0\t0\t0\t0\t0\t0", "25\t1\t0\t1\t0\t0\t0\t0"
            ),
            "tool_annotations/video41-tool.txt": lines(TOOLS),
        },
        found={
            "frames/video01/video01_000001.png": (
                *("01", "", "train"),
                [
                    ("phase", 0, 2, "Preparation"),
                    ("tool", 0, 2, "Grasper"),
                    ("tool", 1, 2, "Hook"),
                    ("phase", 2, 3, "CalotTriangleDissection"),
                ],
            ),
            "frames/video41/video41_000001.png": (
                *("41", "", "test"),
                [("phase", 0, 0.04, "Preparation")],
            ),
        },
    ),
    "cholec80-cvs": Layout(
        tree={
            "videos/video01.mp4": "",
            "videos/video03.mp4": "",
            "surgeons_annotations.csv": lines(
                "video,initial_minute,initial_second,final_minute,final_second,two_structures,"
                "cystic_plate,hepatocystic_triangle,total,critical_view",
                *("3,0,2,0,5.5,2,1,2,5,1", "3,0,7,0,6,1,0,0,1,0", "1,100,9.0,101,0,0,0,1,1,0"),
            ),
        },
        found={
            "videos/video01.mp4": (
                *("01", "", "val"),
                [
                    ("critical view", 6009, 6060, "0"),
                    ("cystic plate", 6009, 6060, "0"),
                    ("hepatocystic triangle", 6009, 6060, "1"),
                    ("two structures", 6009, 6060, "0"),
                ],
            ),
            "videos/video03.mp4": (
                *("03", "", "train"),
                [
                    ("critical view", 2, 5.5, "1"),
                    ("cystic plate", 2, 5.5, "1"),
                    ("hepatocystic triangle", 2, 5.5, "2"),
                    ("two structures", 2, 5.5, "2"),
                ],
            ),
        },
    ),
    "cholect50": Layout(
        tree={
            "videos/VID06/000000.png": "",
            "videos/VID06/000001.png": "",
            "videos/VID08/000000.png": "",
            "label_mapping.txt": "",
            "labels/VID06.json": json.dumps(
                {
                    "video": 6,
                    "fps": 1,
                    "num_frames": 2,
                    "categories": CATEGORIES,
                    "annotations": {
                        "0": [[17, 0, 1, *BOX, 1, 0, 1, *BOX, 0]],
                        "1": [[60, 2, 1, *BOX, 2, 2, 1, *BOX, 0], [-1] * 14 + [0]],
                    },
                }
            ),
            "labels/VID08.json": json.dumps({"categories": CATEGORIES, "annotations": {}}),
        },
        found={
            "videos/VID06/000000.png": (
                *("06", "", "test"),
                [
                    ("instrument", 0, 1, "grasper"),
                    ("target", 0, 1, "gallbladder"),
                    ("triplet", 0, 1, "grasper,retract,gallbladder"),
                    ("verb", 0, 1, "retract"),
                    ("phase", 0, 2, "preparation"),
                    ("instrument", 1, 2, "hook"),
                    ("target", 1, 2, "cystic_duct"),
                    ("triplet", 1, 2, "hook,dissect,cystic_duct"),
                    ("verb", 1, 2, "dissect"),
                ],
            ),
            "videos/VID08/000000.png": ("08", "", "train", []),
        },
    ),
    "cholect45": Layout(
        tree={
            "data/VID79/000000.png": "",
            "data/VID79/000001.png": "",
            **{
                f"{kind}/VID79.txt": lines(
                    ",".join(["0", "1", *["0"] * (number - 1)]),
                    ",".join(["1", *["0"] * (number - 1), "1"]),
                )
                for kind, number in (("triplet", 100), ("instrument", 6), ("verb", 10))
            },
            "target/VID79.txt": lines(",".join(["0"] * 16), ",".join(["1"] * 3 + ["0"] * 13)),
        },
        found={
            "data/VID79/000000.png": (
                *("79", "", "test"),
                [
                    ("instrument", 0, 1, "0"),
                    ("target", 0, 1, "(none)"),
                    ("triplet", 0, 1, "0"),
                    ("verb", 0, 1, "0"),
                    ("instrument", 1, 2, "5"),
                    ("target", 1, 2, "0"),
                    ("target", 1, 2, "1"),
                    ("triplet", 1, 2, "99"),
                    ("verb", 1, 2, "9"),
                ],
            )
        },
    ),
    "m2cai16-workflow": Layout(
        protocol="cuhk",
        tree={
            "train_dataset/workflow_video_01.mp4": "",
            "train_dataset/workflow_video_01.txt": frames(
                "Frame Phase", ["TrocarPlacement"] * 5, " "
            ),
            "train_dataset/workflow_video_01_timestamp.txt": "x",
            "train_dataset/workflow_video_22.mp4": "",
            "train_dataset/workflow_video_22.txt": frames(
                "Frame\tPhase", ["Preparation"] * 5, "\t"
            ),
            "test_dataset/test_workflow_video_01.mp4": "",
            "test_dataset/test_workflow_video_01.txt": frames("Frame Phase", ["Preparation"], " "),
            "test_dataset/test_workflow_video_01_pred.txt": "x",
        },
        found={
            "train_dataset/workflow_video_01.mp4": (
                *("train01", "", "train"),
                [("phase", 0, 0.2, "TrocarPlacement")],
            ),
            "train_dataset/workflow_video_22.mp4": (
                *("train22", "", "val"),
                [("phase", 0, 0.2, "Preparation")],
            ),
            "test_dataset/test_workflow_video_01.mp4": (
                *("test01", "", "test"),
                [("phase", 0, 0.04, "Preparation")],
            ),
        },
    ),
    "autolaparo": Layout(
        tree={
            "videos/01.mp4": "",
            "labels/label_01.txt": frames("Frame\tPhase", [1, 1, 4, 7], "\t", 1),
            "videos/12.mp4": "",
            "labels/label_12.txt": frames("Frame\tPhase", [2], "\t", 1),
        },
        found={
            "videos/01.mp4": (
                *("01", "", "train"),
                [
                    ("phase", 0, 2, "Preparation"),
                    ("phase", 2, 3, "Transecting the Vagina"),
                    ("phase", 3, 4, "Washing"),
                ],
            ),
            "videos/12.mp4": (
                *("12", "", "val"),
                [("phase", 0, 1, "Dividing Ligament and Peritoneum")],
            ),
        },
    ),
    "autolaparo-motion": Layout(
        tree={
            "clips/001.mp4": "",
            "clips/228.mp4": "",
            "laparoscope_motion_label.txt": lines("Clip\tLabel\tPhase", "1\t5\t2", "228\t0\t3"),
        },
        found={
            "clips/001.mp4": (
                *("001", "", "train"),
                [("motion", 0, 10, "zoom-in"), ("phase", 0, 10, "2")],
            ),
            "clips/228.mp4": (
                *("228", "", "test"),
                [("motion", 0, 10, "static"), ("phase", 0, 10, "3")],
            ),
        },
    ),
    "heichole": Layout(
        tree={
            "Videos/Full/Hei-Chole4.mp4": "",
            "Videos/HD/Hei-Chole4.mp4": "",
            "Videos/Skill/Hei-Chole4_calot.mp4": "",
            "Annotations/Phase/Hei-Chole4_Annotation_Phase.csv": frames(
                "", [0] * 25 + [1] * 25, ","
            ),
            "Annotations/Instrument/Hei-Chole4_Annotation_Instrument.csv": frames(
                "", [",".join(["1"] + ["0"] * 20)] * 25, ","
            ),
            "Annotations/Action/Hei-Chole4_Annotation_Action.csv": frames(
                "", ["0,1,0,0"] * 25, ","
            ),
            "Annotations/Skill/Hei-Chole4_Annotation_Skill.csv": "3,4,5,4,3\n",
        },
        left_out=["Videos/Skill/Hei-Chole4_calot.mp4"],
        found={
            path: (
                *("4", view, "test"),
                [
                    ("action", 0, 1, "hold"),
                    ("instrument", 0, 1, "grasper"),
                    ("phase", 0, 1, "Preparation"),
                    ("skill bimanual", 0, 10, "4"),
                    ("skill depth", 0, 10, "3"),
                    ("skill difficulty", 0, 10, "3"),
                    ("skill efficiency", 0, 10, "5"),
                    ("skill tissue", 0, 10, "4"),
                    ("phase", 1, 2, "CalotTriangleDissection"),
                ],
            )
            for path, view in (
                ("Videos/Full/Hei-Chole4.mp4", ""),
                ("Videos/HD/Hei-Chole4.mp4", "hd"),
            )
        },
    ),
    "multibypass140": Layout(
        tree={
            "BernBypass70/videos/BBP02.mp4": "",
            "StrasBypass70/videos/SBP01.mp4": "",
            "labels/bern/labels_by70/BBP02.mp4.json": json.dumps(
                {
                    "phases": [
                        {"start": 0, "end": 4000, "label_name": "preparation", "label_id": 0},
                        {"start": 1000, "end": 2000, "label_name": "out_of_body", "label_id": 12},
                    ],
                    "steps": [
                        {"start": 0, "end": 4000, "label_name": "s0_null_step", "label_id": 0},
                        {
                            "start": 1000,
                            "end": 3000,
                            "label_name": "s1_cavity_exploration",
                            "label_id": 1,
                        },
                    ],
                }
            ),
            "labels/strasbourg/labels_by70/SBP01.mp4.json": json.dumps({"phases": [], "steps": []}),
        },
        found={
            "BernBypass70/videos/BBP02.mp4": (
                *("BBP02", "", "train"),
                [
                    ("step", 0, 1, "s0_null_step"),
                    ("phase", 0, 4, "preparation"),
                    ("out_of_body", 1, 2, "out_of_body"),
                    ("step", 1, 3, "s1_cavity_exploration"),
                    ("step", 3, 4, "s0_null_step"),
                ],
            ),
            "StrasBypass70/videos/SBP01.mp4": ("SBP01", "", "train", []),
        },
    ),
    "endoscapes2023": Layout(
        tree={
            **{f"train/1_{25 * second}.jpg": "" for second in range(5, 11)},
            "test/162_0.jpg": "",
            "all_metadata.csv": lines(
                "vid,frame,C1,C2,C3,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3",
                *('1,125,0.67,0.33,0.0,"[1, 1, 0]","[0, 0, 0]","[1, 0, 0]"', "1,150,,,,,,"),
                "1,175,1.0,0.9,0.0,,,",  # interpolated
                '1,250,1.0,0.0,0.0,"[1, 0, 0]","[1, 0, 0]","[1, 0, 0]"',
                '162,0,0.0,1.0,0.0,"[0, 1, 0]","[0, 1, 0]","[0, 1, 0]"',
            ),
        },
        found={
            "train/1_125.jpg": ("1", "", "train", [("cvs", 0, 1, "C1"), ("cvs", 5, 6, "C1")]),
            "test/162_0.jpg": ("162", "", "test", [("cvs", 0, 1, "C2")]),
        },
    ),
    "sages-cvs": Layout(
        tree={
            "train/videos/a1.mp4": "",
            "train/labels/a1/frame.csv": lines(
                "frame_id,c1_rater1,c1_rater2,c1_rater3,c2_rater1,c2_rater2,c2_rater3,"
                "c3_rater1,c3_rater2,c3_rater3",
                *("0,1,1,0,0,0,1,0,0,0", "125,1,1,1,0,0,0,1,1,1"),
            ),
            "train/labels/a1/video.csv": "",
        },
        found={
            "train/videos/a1.mp4": (
                *("a1", "", "test"),
                [("cvs", 0, 10, "C1"), ("cvs", 5, 10, "C3")],
            )
        },
    ),
    "gynsurg": Layout(
        tree={"GynSurg_Action_3sec/GynSurg_action_dataset/coagulation/case_624_clip_0.mp4": ""},
        found={
            "GynSurg_Action_3sec/GynSurg_action_dataset/coagulation/case_624_clip_0.mp4": (
                *("624", "", "train"),
                [("action", 0, 10, "coagulation")],
            )
        },
    ),
    "colonoscopic": Layout(
        tree={
            "Adenoma/NBI(36).mp4": "",
            "Adenoma/WL (36).mp4": "",
            "Hyperplasic/WL.mp4": "",
            "Hyperplastic/hyperplastic_02/videos/NBI.mp4": "",
            "Serrated/other.mp4": "",
        },
        found={
            "Adenoma/NBI(36).mp4": ("Adenoma 36", "NBI", "train", [("lesion", 0, 10, "adenoma")]),
            "Adenoma/WL (36).mp4": ("Adenoma 36", "WL", "train", [("lesion", 0, 10, "adenoma")]),
            "Hyperplasic/WL.mp4": (
                *("Hyperplasic 0", "WL", "val"),
                [("lesion", 0, 10, "hyperplastic")],
            ),
            "Hyperplastic/hyperplastic_02/videos/NBI.mp4": (
                *("Hyperplastic 02", "NBI", "train"),
                [("lesion", 0, 10, "hyperplastic")],
            ),
        },
        left_out=["Serrated/other.mp4"],
    ),
    "surgicalactions160": Layout(
        tree={"05_dissection_thermal/05_03.mp4": "", "16_endobag-out/16_10.mp4": ""},
        found={
            "05_dissection_thermal/05_03.mp4": (
                *("05_03", "", "train"),
                [("action", 0, 10, "dissection (thermal)")],
            ),
            "16_endobag-out/16_10.mp4": (
                *("16_10", "", "train"),
                [("action", 0, 10, "endobag-out")],
            ),
        },
    ),
    "lapgyn4": Layout(
        tree={
            "Surgical_Actions/Suturing/c_4_v_55_f_2203.jpg": "",
            "Surgical_Actions/Suturing/c_4_v_55_f_2204.jpg": "",
            "Instrument_Count/1/abc.jpg": "",
        },
        found={
            "Surgical_Actions/Suturing/c_4_v_55_f_2203.jpg": (
                *("4", "", "train"),
                [("Surgical_Actions", 0, 2, "Suturing")],
            )
        },
    ),
    "glenda": Layout(
        tree={
            "DS/pathology/frames/v_2506_s_0-95/f_0.jpg": "",
            "DS/pathology/frames/v_2506_s_0-95/f_10.jpg": "",
            "DS/pathology/masks/endometriosis_a_3.png": "",
        },
        found={
            "DS/pathology/frames/v_2506_s_0-95/f_0.jpg": (
                *("2506", "", "train"),
                [("pathology", 0, 20, "pathology")],
            )
        },
    ),
    "grasp": Layout(
        tree={
            **{f"frames/CASE001/{number:09}.jpg": "" for number in GRASP_NUMBERS},
            **{f"frames/CASE041/{number:09}.jpg": "" for number in range(30)},
            "raw_frames_1fps/CASE001/00001.jpg": "",
            "annotations/segmentations/CASE001/000000000.png": "",
            "annotations/grasp_long-term_train.json": json.dumps(
                {
                    "images": GRASP_IMAGES,
                    "steps_categories": GRASP_STEPS,
                    "annotations": [
                        {"id": number, "image_id": number, "phases": phase, "steps": 20}
                        for number, phase in enumerate((0, 3, 3))
                    ],
                }
            ),
            "annotations/grasp_long-term_test.json": json.dumps(
                {
                    "images": [{"id": 9, "video_name": "CASE041", "frame_num": 0}],
                    "steps_categories": GRASP_STEPS,
                    "annotations": [{"id": 9, "image_id": 9, "phases": 10, "steps": 0}],
                }
            ),
        },
        found={
            "frames/CASE001/000000000.jpg": (
                *("001", "", "train"),
                [
                    ("phase", 0, 1, "Idle"),
                    ("step", 0, 3, "Clip_Pedicles"),
                    ("phase", 1, 3, "Retzius space"),
                ],
            ),
            "frames/CASE041/000000000.jpg": (
                *("041", "", "test"),
                [("phase", 0, 1, "Bladder neck reconstruction"), ("step", 0, 1, "Idle")],
            ),
        },
    ),
    "sar-rarp50": Layout(
        tree={
            "train1/video_11_1/video_left.avi": "",
            "train1/video_11_1/action_discrete.txt": lines("0,0", "6,0", "12,3"),
            "train1/video_11_2/video_left.avi": "",
            "train1/video_11_2/action_discrete.txt": lines("0,7"),
            "train1/video_11_2/action_continues.txt": lines("0 25 7"),
            "test/video_41/video_left.avi": "",
            "test/video_41/action_discrete.txt": lines("0,1"),
        },
        found={
            "train1/video_11_1/video_left.avi": (
                *("11", "part 1", "train"),
                [
                    ("action", 0, 0.48, "other"),
                    ("action", 0.48, 0.72, "pushing the needle through the tissue"),
                ],
            ),
            "train1/video_11_2/video_left.avi": (
                *("11", "part 2", "train"),
                [
                    ("action", 0, 0.24, "returning or dropping the needle"),
                    ("action segment", 0, 1, "returning or dropping the needle"),
                ],
            ),
            "test/video_41/video_left.avi": (
                *("41", "", "test"),
                [("action", 0, 0.24, "picking up the needle")],
            ),
        },
    ),
    "jigsaws": Layout(
        protocol="louo-C",
        tree={
            "Suturing/video/Suturing_B001_capture1.avi": "",
            "Suturing/video/Suturing_B001_capture2.avi": "",
            "Suturing/video/Suturing_C002_capture1.avi": "",
            "Suturing/transcriptions/Suturing_B001.txt": lines(
                "26 50 G1 ", "51 75 G5 ", "101 125 G8 "
            ),
            "Suturing/meta_file_Suturing.txt": lines(
                "Suturing_B001\t\tN\t\t13\t1\t2\t1\t3\t3\t3",
                "Suturing_D001\t\tE\t\t14\t1\t3\t2\t2\t3\t3",
                "",
            ),
        },
        found={
            **{
                f"Suturing/video/Suturing_B001_capture{camera}.avi": (
                    *("Suturing_B001", f"capture{camera}", "train"),
                    [
                        ("global rating score", 0, 10, "13"),
                        ("skill", 0, 10, "novice"),
                        ("gesture", 1, 2, "G1"),
                        ("gesture", 2, 3, "G5"),
                        ("gesture", 4, 5, "G8"),
                    ],
                )
                for camera in (1, 2)
            },
            "Suturing/video/Suturing_C002_capture1.avi": ("Suturing_C002", "capture1", "test", []),
        },
    ),
    "surgvu24": Layout(
        tree={
            "surgvu24/case_007/case_007_video_part_001.mp4": "",
            "surgvu24/case_007/case_007_video_part_002.mp4": "",
            "labels/case_007/tools.csv": lines(
                f"{COMMON}commercial_toolname,groundtruth_toolname",
                "0,1.0,00:00:02.500000,2.0,00:00:01.250000,USM1,x,needle driver",
                "1,1.0,00:00:02.500000,2.0,00:00:01.250000,USM1,x,needle driver",
                "2,1.0,00:00:00.000000,2.0,00:00:09.000000,USM2,x,nan(camera in)",
                "3,2.0,00:00:03.000000,2.0,00:00:04.000000,USM3,x,",
            ),
            "labels/case_007/tasks.csv": lines(
                "index,start_part,start_time,stop_part,stop_time,groundtruth_taskname",
                "0,2.0,1.5,2.0,6.0,Suturing",
            ),
        },
        found={
            "surgvu24/case_007/case_007_video_part_001.mp4": (
                *("007", "part 001", "train"),
                [("tool", 2.5, 10, "needle driver")],
            ),
            "surgvu24/case_007/case_007_video_part_002.mp4": (
                *("007", "part 002", "train"),
                [("tool", 0, 1.25, "needle driver"), ("task", 1.5, 6, "Suturing")],
            ),
        },
    ),
    "esad": Layout(
        tree={
            "train/set1/RARP2_frame_1.jpg": "",
            "train/set1/RARP2_frame_1.txt": "20 0.5 0.5 0.1 0.1\n3 0.5 0.5 0.1 0.1\n",
            "train/set1/RARP2_frame_2.txt": "",
            "test/RARP3_frame_5.jpg": "",
            "test_labels/RARP3_frame_5.txt": "7 0.5 0.5 0.1 0.1\n",
            "obj.names": "",
        },
        found={
            "train/set1/RARP2_frame_1.jpg": (
                *("2", "", "train"),
                [("action", 0, 1, "CuttingVasDeferens"), ("action", 0, 1, "PullingBladderNeck")],
            ),
            "test/RARP3_frame_5.jpg": (
                "3",
                "",
                "test",
                [("action", 0, 1, "CuttingSeminalVesicle")],
            ),
        },
    ),
    "aixsuture": Layout(
        tree={
            "A31H.mp4": "",
            "OSATS.csv": lines("VIDEO,STUDENT,GLOBA_RATING_SCORE", "A31H,S12,14", "A31H,S12,17"),
        },
        found={
            "A31H.mp4": (
                *("S12", "", "test"),
                [("global rating score", 0, 10, "15.5")],
            )
        },
    ),
    "cataracts": Layout(
        tree={
            "videos/micro/train01.mp4": "",
            "videos/micro/test07.mp4": "",
            "videos/micro/test02.mp4": "",
            "videos/tray/train01.mp4": "",
            **{
                f"ground_truth/CATARACTS_2020/{part}/{name}.csv": frames(
                    "Frame,Steps", [0] * 25 + [8] * 25, ",", 1
                )
                for part, name in (
                    ("train_gt", "train01"),
                    ("dev_gt", "test07"),
                    ("test_gt", "test02"),
                )
            },
        },
        left_out=["videos/tray/train01.mp4"],
        found={
            f"videos/micro/{name}.mp4": (
                *(name, "", split),
                [("step", 0, 1, "Idle"), ("step", 1, 2, "Phacoemulsification")],
            )
            for name, split in (("train01", "train"), ("test07", "val"), ("test02", "test"))
        },
    ),
    "cataract101": Layout(
        tree={
            "videos/case_269.mp4": "",
            "annotations.csv": lines("VideoID;FrameNo;Phase", "269;50;1", "269;100;3", "270;0;1"),
            "videos.csv": lines("VideoID;Frames;FPS;Surgeon;Experience", "269;250;25;1;1"),
        },
        found={
            "videos/case_269.mp4": (
                *("269", "", "test"),
                [("phase", 2, 4, "Incision"), ("phase", 4, 10, "Rhexis")],
            )
        },
    ),
    "cataract1k": Layout(
        tree={
            "videos/case_4687.mp4": "",
            "videos/case_4688.mp4": "",
            "annotations/case_4687/case_4687_annotations_phases.csv": lines(
                "caseId,comment,frame,endFrame,sec,endSec",
                "4687,Incision,60,120,1.0,2.0",
                "4687,Capsule Pulishing,180,300,3.0,5.0",
            ),
        },
        found={
            "videos/case_4687.mp4": (
                *("4687", "", "train"),
                [("phase", 1, 2, "Incision"), ("phase", 3, 5, "Capsule Pulishing")],
            ),
            "videos/case_4688.mp4": ("4688", "", "test", []),
        },
    ),
    "cat21": Layout(
        tree={
            "videos/case_01_training.mp4": "",
            "videos/case_02_test.mp4": "",
            "labels/case_01_training.csv": frames(
                "", ["not_initialized"] * 25 + ["Rhexis"] * 25, ","
            ),
            "labels/case_02_test.csv": frames("", ["Phako"], ","),
        },
        found={
            "videos/case_01_training.mp4": (
                *("case_01_training", "", "train"),
                [("phase", 1, 2, "Rhexis")],
            ),
            "videos/case_02_test.mp4": ("case_02_test", "", "test", [("phase", 0, 0.04, "Phako")]),
        },
    ),
    "cataract-lmm": Layout(
        tree={
            "1_Phase_Recognition/videos/PH_0001_0002_S1.mp4": "",
            "1_Phase_Recognition/annotations_full_video/PH_0001_0002_S1.csv": lines(
                "Video Name,comment,sec,end_sec,frame,end_frame", "PH_0001,Incision,0.5,2,15,60"
            ),
        },
        found={
            "1_Phase_Recognition/videos/PH_0001_0002_S1.mp4": (
                *("PH_0001_0002_S1", "", "train"),
                [("phase", 0.5, 2, "Incision")],
            )
        },
    ),
    "ophnet2024": Layout(
        tree={
            "videos/case_0001.mp4": "",
            "videos/case_0002.mp4": "",
            "OphNet2024_loca_challenge_phase.csv": "\ufeff"
            + lines(
                "video_id,start,end,split,surgery_id,phase_id",
                *("case_0001,0.0,4.5,train,1,12", "case_0001,4.5,9,train,1,13"),
                "case_0002,1,2,val,1,12",
            ),
        },
        found={
            "videos/case_0001.mp4": (
                *("case_0001", "", "train"),
                [("phase", 0, 4.5, "12"), ("phase", 4.5, 9, "13")],
            ),
            "videos/case_0002.mp4": ("case_0002", "", "val", [("phase", 1, 2, "12")]),
        },
    ),
    "pitvis": Layout(
        tree={
            "video_02.mp4": "",
            "annotations_02.csv": lines(
                "int_video,int_time,int_step,int_instrument1,int_instrument2",
                *("2,0,-1,0,", "2,1,4,0,9", "2,2,4,9,-1", "2,3,11,-1,"),
            ),
        },
        found={
            "video_02.mp4": (
                *("02", "", "test"),
                [
                    *(("instrument", 0, 2, "0"), ("instrument", 1, 3, "9")),
                    *(("scored step", 1, 3, "4"), ("step", 1, 3, "4"), ("step", 3, 4, "11")),
                ],
            )
        },
    ),
    "egosurgery": Layout(
        tree={
            "videos/05_1.mp4": "",
            "annotations/phase/05_1.csv": frames("Frame,Phase", ["disinfection"] * 25, ","),
        },
        found={"videos/05_1.mp4": ("05", "part 1", "val", [("phase", 0, 1, "disinfection")])},
    ),
    "avos": Layout(
        tree={
            "videos/abc-DEF_123.mp4": "",
            "open_surgery_temporal_annotations_Jan16.csv": lines(
                "index,video_id,start_seconds,end_seconds,start_frame,end_frame,label",
                *("0,abc-DEF_123,0,3,0,90,cutting", "1,abc-DEF_123,0,3,0,90,cutting"),
                *("2,abc-DEF_123,3,4,90,120,abstain", "3,another_vid,0,9,0,270,tying"),
            ),
            "train.csv": lines("video_id", "another_vid"),
            "test.csv": lines("video_id", "abc-DEF_123"),
        },
        found={
            "videos/abc-DEF_123.mp4": ("abc-DEF_123", "", "test", [("action", 0, 3, "cutting")])
        },
    ),
    "polypdiag": Layout(
        tree={
            "videos/a b.mp4": "",
            "videos/c.mp4": "",
            "splits/train.txt": "a b.mp4,1\n",
            "splits/val.txt": "c.mp4,0\n",
        },
        found={
            "videos/a b.mp4": ("a b", "", "train", [("polyp", 0, 10, "1")]),
            "videos/c.mp4": ("c", "", "val", [("polyp", 0, 10, "0")]),
        },
    ),
    "hyper-kvasir": Layout(
        tree={"labeled-videos/lower-gi-tract/polyps/Polypp 5.avi": ""},
        found={
            "labeled-videos/lower-gi-tract/polyps/Polypp 5.avi": (
                *("Polypp 5", "", "train"),
                [("finding", 0, 10, "polyps")],
            )
        },
    ),
    "kvasir-capsule": Layout(
        tree={
            "labelled_videos/131368cc17e44240.mp4": "",
            "metadata.csv": lines(
                "filename;video_id;frame_number;finding_category;finding_class;x1;y1",
                "131368cc17e44240_0.jpg;131368cc17e44240;25;Luminal;Normal;;",
                "131368cc17e44240_1.jpg;131368cc17e44240;26;Luminal;Normal;;",
                "131368cc17e44240_9.jpg;131368cc17e44240;50;Luminal;Polyp;1;2",
            ),
        },
        found={
            "labelled_videos/131368cc17e44240.mp4": (
                *("131368cc17e44240", "", "train"),
                [("finding", 1, 1.08, "Normal"), ("finding", 2, 2.04, "Polyp")],
            )
        },
    ),
    "ldpolypvideo": Layout(
        tree={
            **{f"Train/Images/7/000{number}.jpg": "" for number in (1, 2, 3, 4)},
            "Train/Annotations/7/0001.txt": lines("0"),
            "Train/Annotations/7/0002.txt": lines("1", "12 30 200 90"),
            "Train/Annotations/7/0003.txt": lines("2", "12 30 200 90", "0 0 8 9"),
            "Train/Annotations/7/0004.txt": lines("0"),
            "Test/Images/101/0001.jpg": "",
            "Test/Annotations/101/0001.txt": lines("1", "0 0 8 9"),
        },
        protocol="official",
        found={
            "Train/Images/7/0001.jpg": (
                *("Train7", "", "train"),
                [("polyp", 0, 1, "(none)"), ("polyp", 1, 3, "polyp"), ("polyp", 3, 4, "(none)")],
            ),
            "Test/Images/101/0001.jpg": ("Test101", "", "test", [("polyp", 0, 1, "polyp")]),
        },
    ),
    "endovis18-vqa": Layout(
        tree={
            "seq_5/left_fr/frame000.png": "",
            "seq_5/vqa/Classification/frame000_QA.txt": "What organ is being operated?|kidney\n",
            "seq_5/vqa/Classification/frame001_QA.txt": "What organ is being operated?|kidney\n",
        },
        found={
            "seq_5/left_fr/frame000.png": (
                *("5", "", "val"),
                [("What organ is being operated?", 0, 2, "kidney")],
            )
        },
    ),
    "cholec80-vqa": Layout(
        tree={
            "videos/video05.mp4": "",
            "Classification/5/100_QA.txt": "how many tools are operating?|1\n",
        },
        found={
            "videos/video05.mp4": (
                *("5", "", "val"),
                [("how many tools are operating?", 4, 4.04, "1")],
            )
        },
    ),
    "ssg-vqa": Layout(
        tree={
            "videos/VID01/000003.png": "",
            "qa_txt/VID01/3.txt": "is there a hook?|True|zero_hop.json|exist\n",
        },
        found={
            "videos/VID01/000003.png": ("01", "", "train", [("is there a hook?", 0, 1, "True")])
        },
    ),
    "pitvqa": Layout(
        tree={
            "images/video_01/00004.png": "",
            "qa/video_01/00004.txt": lines(
                "what is the phase?|nasal", "what is the tool?|no_visible_instrument"
            ),
        },
        found={
            "images/video_01/00004.png": (
                *("video_01", "", "val"),
                [("what is the phase?", 0, 1, "nasal")],
            )
        },
    ),
}
