"""The described file names of published sets give case, video, class and time."""

from pathlib import Path

import pytest

from surgrec.audit import audit_split, read_split_clips
from surgrec.audit._datasets import FOLDER, dataset_names
from surgrec.errors import ConfigError

NAMES = {
    "autolaparo-motion": ("task2/clips/171.mp4", "171", "171", None),
    "avos": ("images/dQw4w9WgXcQ-120.jpg", "dQw4w9WgXcQ", "dQw4w9WgXcQ", (120.0, 120.0)),
    "cataract-lmm": ("videos/PH_0012_0034_S1.mp4", "PH_0012_0034_S1", "PH_0012_0034_S1", None),
    "cholec80-vqa": ("Classification/5/200_QA.txt", "5", "5", (200.0, 200.0)),
    "egosurgery": ("images/05/05_2_0017.jpg", "05", "05/2", (17.0, 17.0)),
    "endovis18-vqa": ("seq_4/left_frames/frame012.png", "4", "4", (12.0, 12.0)),
    "esad": ("train/set1/RARP2_frame_70.jpg", "2", "2", (70.0, 70.0)),
    "glenda": ("DS/no_pathology/frames/v_9_s_10-25/f_3.jpg", "9", "9", (10.0, 25.0)),
    "ophnet2024": ("videos/case_0007.mp4", "case_0007", "case_0007", None),
    "pitvqa": ("images/video_02/30.png", "02", "02", (30.0, 30.0)),
    "polypdiag": ("videos/a1_b2.mp4", "a1_b2", "a1_b2", None),
    "sages-cvs": ("train/labels/3f2a/frame.csv", "3f2a", "3f2a", None),
    "sun-seg": ("TestHardDataset/Frame/case1_2/image_00001.jpg", "1", "1/2", None),
    "aixsuture": ("videos/A31H.mp4", "A31H", "A31H", None),
    "autolaparo": ("autolaparo/videos/07.mp4", "07", "07", None),
    "cat21": ("cat-21/case_04_training.mp4", "04_training", "04_training", None),
    "cataract101": ("videos/case_269.mp4", "269", "269", None),
    "cataract1k": (
        "case_4811/case_4811_segment_01_capsule_pulishing_000.217-004.872.mp4",
        "4811",
        "4811",
        (0.217, 4.872),
    ),
    "cataracts": ("micro/train07.mp4", "train07", "train07", None),
    "cholec80": ("videos/video41.mp4", "41", "41", None),
    "cholect50": ("videos/VID79/000012.png", "79", "79", (12.0, 12.0)),
    "colonoscopic": ("Adenoma/WL (3).mp4", "Adenoma WL 3", "Adenoma WL 3", None),
    "endoscapes2023": ("train/12_4500.jpg", "12", "12", (4500.0, 4500.0)),
    "grasp": ("frames/CASE041/000000030.jpg", "041", "041", (30.0, 30.0)),
    "gynsurg": ("GynSurg_action_dataset/coagulation/Coag_12_3.mp4", "12", "12", None),
    "heichole": ("Videos/Full/Hei-Chole17.mp4", "17", "17", None),
    "hyper-kvasir": (
        "lower-colitis/584f1fa0-9bb9-49d3-b412-c42819d0a200_15.avi",
        "584f1fa0-9bb9-49d3-b412-c42819d0a200",
        "584f1fa0-9bb9-49d3-b412-c42819d0a200",
        (15.0, 15.0),
    ),
    "jigsaws": ("video/Knot_Tying_B001_capture1.avi", "Knot_Tying_B001", "Knot_Tying_B001", None),
    "kvasir-capsule": (
        "Ileocecal valve/04a78ef00c5245e0_48702-48782.mp4",
        "04a78ef00c5245e0",
        "04a78ef00c5245e0",
        (48702.0, 48782.0),
    ),
    "lapgyn4": ("Surgical_Actions/suturing/c_4_v_55_f_2203.jpg", "4", "4/55", (2203.0, 2203.0)),
    "ldpolypvideo": ("clips/0_61_120.mp4", "0_61", "0_61", None),
    "m2cai16-workflow": (
        "test_dataset/test_workflow_video_03.mp4",
        "test_workflow_video_03",
        "test_workflow_video_03",
        None,
    ),
    "multibypass140": ("BernBypass70/videos/BBP05.mp4", "BBP05", "BBP05", None),
    "pitvis": ("video_25.mp4", "25", "25", None),
    "sar-rarp50": ("train1/video_11_2/video_left.avi", "11", "11/2", None),
    "surgicalactions160": ("01_abdominal_access/01_07.mp4", "01_07", "01_07", None),
    "surgvu24": ("surgvu24/case_012/case_012_video_part_003.mp4", "012", "012", None),
}


def test_every_described_set_has_an_example() -> None:
    assert sorted(NAMES) == dataset_names()


def test_the_documents_list_the_described_sets() -> None:
    text = (Path(__file__).parents[2] / "docs/audit.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in dataset_names()) in text.replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_published_set_gives_its_case(name: str, tmp_path: Path) -> None:
    path, case, video, span = NAMES[name]
    (tmp_path / "train.txt").write_text(f'"{path}" 0\n')
    (clip,) = read_split_clips([str(tmp_path)], dataset=name).clips
    assert (clip.case, clip.video) == (case, video)
    assert (clip.start, clip.end) == (span or (None, None))


@pytest.mark.parametrize(
    ("name", "path", "case", "start"),
    [
        ("cholec80", "frames/video07/video07_000031.png", "07", 31.0),
        ("cholect50", "qa_txt/VID79/30.txt", "79", 30.0),
        ("glenda", "v_9_s_10-25/f_3.jpg", "9", 10.0),
    ],
)
def test_pictures_of_a_set_of_videos_have_their_time(
    name: str, path: str, case: str, start: float, tmp_path: Path
) -> None:
    (tmp_path / "train.txt").write_text(f"{path} 0\n")
    (clip,) = read_split_clips([str(tmp_path)], dataset=name).clips
    assert (clip.case, clip.start) == (case, start)


def test_a_users_own_description_may_join_groups(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("7/left.mp4 0\n")
    own = tmp_path / "own.yaml"
    own.write_text(
        "title: Ours\ncase_is: one day\ncase: 'day {day}'\nvideo: '{side}'\n"
        "patterns: ['(?P<day>[0-9]+)/(?P<side>[a-z]+)']\n"
    )
    split = read_split_clips([str(tmp_path)], dataset=str(own))
    assert (split.clips[0].case, split.clips[0].video) == ("day 7", "day 7/left")
    assert split.case_rule == "one day (Ours)"


def test_a_set_states_whether_a_shared_unit_fails(tmp_path: Path) -> None:
    rows = "split,file\ntrain,Adenoma/NBI (3).mp4\ntest,Adenoma/WL (3).mp4\n"
    (tmp_path / "rows.csv").write_text(rows)
    split = read_split_clips([str(tmp_path / "rows.csv")], dataset="colonoscopic")
    warned = audit_split(split)
    assert not warned.failures
    assert warned.findings[0].sentence.startswith(
        "1 of 1 test clip are of 1 lesion that train has, too, which does not fail: the pairing of"
    )

    text = (FOLDER / "colonoscopic.yaml").read_text(encoding="utf-8")
    own = tmp_path / "own.yaml"
    own.write_text(f"{text}subject_severity: fail\n")
    split = read_split_clips([str(tmp_path / "rows.csv")], dataset=str(own))
    assert [finding.name for finding in audit_split(split).failures] == ["shared_subjects"]


def test_a_description_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("title: Ours\ncase_is: one day\npattern: x\n")
    (tmp_path / "train.txt").write_text("7/left.mp4 0\n")
    with pytest.raises(ConfigError, match=r"own\.yaml: .*pattern"):
        read_split_clips([str(tmp_path)], dataset=str(own))


@pytest.mark.parametrize(
    ("folder", "name", "case"),
    [
        ("AlxSuture", "video_faststart/X88U.mp4", "X88U"),
        ("cholec80", "split_video/cholec80_41_1.mp4", "41"),
        ("LapGyn_dataset", "Bleeding/Test/Rest/case_100_clip100.mp4_0.mp4", "100"),
        ("LapGyn_dataset", "Bleeding/Test/Rest/case_656_Grasping-Anatomy_0.mp4", "656"),
        ("LDPolyVideo", "videos/0_61_21_30_no_polyps.mp4", "0_61"),
        (
            *("M2CAI16-Workflow", "split_video/m2cai16w_test_dataset_test_workflow_video_01_A.mp4"),
            "test_workflow_video_01",
        ),
    ],
)
def test_the_names_of_the_surgrec_release_are_known_by_their_folders(
    tmp_path: Path, folder: str, name: str, case: str
) -> None:
    (tmp_path / "train.txt").write_text(f'"__DATA_ROOT__/{folder}/{name}" 0\n')
    (clip,) = read_split_clips([str(tmp_path)]).clips
    assert clip.case == case
