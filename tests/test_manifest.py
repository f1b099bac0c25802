import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.annotations import PLAIN, LabelFiles, VideoClock, read_labels
from surgrec.errors import ManifestError
from surgrec.manifest import (
    SharedMetadata,
    Video,
    read_manifest,
    videos_of_folder,
    videos_of_list,
)
from surgrec.recordings.picture_files import PictureFiles
from surgrec.video_folder import search_folder

HEADER = "path,source,domain,case,split"
ROW = "a.mp4,alpha,laparoscopy,case 1,train"


def metadata(**fields: Any) -> SharedMetadata:
    return SharedMetadata(source="alpha", domain="open", **fields)


def write(folder: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path = folder / "videos.csv"
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def test_a_manifest_lists_videos_with_paths_relative_to_its_folder(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"{HEADER},procedure,view,license,labels,public",
        "videos/a.mp4,alpha,laparoscopy,case 1,train,cholecystectomy,left,CC0,labels/a.csv,true",
        "/elsewhere/b.avi,beta,cataract,,val,,,,,",
    )
    assert read_manifest(path) == [
        Video(
            path=tmp_path / "videos/a.mp4",
            source="alpha",
            domain="laparoscopy",
            case="case 1",
            split="train",
            procedure="cholecystectomy",
            view="left",
            license="CC0",
            labels=(LabelFiles(paths=(tmp_path / "labels/a.csv",), mapping=PLAIN),),
            public=True,
        ),
        Video(
            path=Path("/elsewhere/b.avi"), source="beta", domain="cataract", case="", split="val"
        ),
    ]


@pytest.mark.parametrize("case", ["a\tb", "a\nb", "x" * 1001])
def test_a_public_case_is_one_line(tmp_path: Path, case: str) -> None:
    def video(**values: Any) -> Video:
        return Video(
            path=tmp_path / "a.mp4", source="a", domain="cataract", split="train", **values
        )

    for names in ({"case": case}, {"case": "", "patient": case}):
        with pytest.raises(ManifestError, match=r"a\.mp4: the public name of its case, '.*is not"):
            video(**names, public=True)
        assert not video(**names).public  # a pseudonym replaces it


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_files_that_spreadsheets_write_are_read(
    tmp_path: Path, delimiter: str, end: str, encoding: str
) -> None:
    lines = [
        line.replace(",", delimiter)
        for line in (HEADER, ROW, "größe.mp4,alpha,laparoscopy, case 2 ,test")
    ]
    videos = read_manifest(write(tmp_path, *lines, end=end, encoding=encoding))
    assert [(video.path.name, video.case, video.split) for video in videos] == [
        ("a.mp4", "case 1", "train"),
        ("größe.mp4", "case 2", "test"),
    ]


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "is read as utf-16"),
        ("utf-32", "is read as utf-32"),
        ("cp1252", "is read as cp1252; if names look wrong, save it in UTF-8"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_are_found_and_told(tmp_path: Path, encoding: str, told: str, end: str) -> None:
    row = "größe – 1.mp4,alpha,laparoscopy,Fall „7“,train"
    path = write(tmp_path, HEADER, row, end=end, encoding=encoding)
    lines: list[str] = []
    (video,) = read_manifest(path, tell=lines.append)
    assert (video.path.name, video.case) == ("größe – 1.mp4", "Fall „7“")
    assert len(lines) == bool(told)
    assert told in "".join(lines)


def test_json_lines_are_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "videos.jsonl"
    row = {"path": "ä.mp4", "source": "alpha", "domain": "open", "case": 7, "split": "train"}
    rows = [
        row,
        row | {"path": "frames", "case": None, "split": "val", "public": True, "fps": 12.5},
        row | {"path": "c.mp4", "view": "left", "ward": [3]},
    ]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        text = "\r\n".join(json.dumps(each, ensure_ascii=False) for each in rows) + "\r\n\r\n"
        path.write_bytes(text.encode(encoding))
        videos = read_manifest(path, ignore_columns=["ward"])
        assert [(each.path.name, each.case, each.split, each.public) for each in videos] == [
            ("ä.mp4", "7", "train", False),
            ("frames", "", "val", True),
            ("c.mp4", "7", "train", False),
        ]
        assert videos[1].pictures == PictureFiles(rate=12.5)
        assert videos[2].view == "left"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "a.mp4"', "line 2 is not valid JSON"),
        ("[1]", "line 2 is a list, not an object; write one JSON object on each line"),
        ('{"path": "b", "path": "a"}', "line 2 has the key 'path' twice"),
        (
            '{"path": "a", "source": "s", "domain": "open", "case": ""}',
            r"line 2 has no column split \(its object is path, source, domain, case\); add it",
        ),
        (
            '{"path": "a", "source": "s", "domain": "open", "case": "", "split": "x", "veiw": 1}',
            r"line 2 has an unknown column 'veiw' \(did you mean 'view'\?\)",
        ),
        (
            '{"path": ["a"], "source": "s", "domain": "open", "case": "", "split": "train"}',
            "line 2: path is a list or an object; write a text",
        ),
        (
            r'{"path": "a\u0000", "source": "s", "domain": "open", "case": "", "split": "train"}',
            "line 2: path has a character that no name can have; remove it",
        ),
        (
            r'{"path": "a", "source": "s", "domain": "open", "case": "c\ud800", "split": "train"}',
            "line 2: case has a character that no name can have; remove it",
        ),
    ],
)
def test_a_wrong_line_of_json_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "videos.jsonl"
    row = {"path": "a", "source": "s", "domain": "open", "case": "", "split": "train"}
    path.write_text(f"{json.dumps(row)}\n{line}\n")
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_a_spreadsheet_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "videos.csv"
    path.write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(ManifestError, match="is a spreadsheet or a zip archive; save its table"):
        read_manifest(path)


def clip_labels(video: Video, rate: float = 10.0, seconds: float = 8.0) -> list[tuple[object, ...]]:
    clock = VideoClock(pictures_s=np.arange(int(rate * seconds)) / rate, end_s=seconds)
    labels = read_labels(video.labels, clock).labels
    return [(each.task, each.start_s, each.end_s, each.value) for each in labels]


def test_a_list_without_a_header_gives_videos_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(
        'c1/a.mp4 3\n"c2/my video.mp4"\t2 4.5 suturing\n/data/b.mp4 0\n\n'
        '"c2/my video.mp4" 5 6 knot\nc1/a.mp4 3\n'
    )
    videos = videos_of_list(path, metadata(case_from="([^/]+)/[^/]+$"))
    assert [(str(each.path), each.case) for each in videos] == [
        (f"{tmp_path}/c1/a.mp4", "c1"),
        (f"{tmp_path}/c2/my video.mp4", "c2"),
        ("/data/b.mp4", "data"),
    ]
    assert [clip_labels(video) for video in videos] == [
        [("label", 0.0, 8.0, "3")],
        [("label", 2.0, 4.5, "suturing"), ("label", 5.0, 6.0, "knot")],
        [("label", 0.0, 8.0, "0")],
    ]

    path.write_text('a.mp4,3\n"b, 1.mp4",20,45,suturing\n')
    videos = videos_of_list(path, metadata(), unit="frame")
    assert [each.path.name for each in videos] == ["a.mp4", "b, 1.mp4"]
    assert clip_labels(videos[1]) == [("label", 2.0, 4.5, "suturing")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no videos"),
        ("a.mp4 1\na.mp4\n", r"line 2: 'a.mp4' has 1 words; write `path label`"),
        ("my video.mp4 1\n", "line 1: 'my video.mp4 1' has 3 words"),
        ('a.mp4 1\n"my video.mp4 1\n', "line 2: .* a quote that is not closed"),
        ("a.mp4,\n", "line 1: .* has 1 words"),
    ],
)
def test_a_line_of_a_list_with_another_form_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        videos_of_list(path, metadata())


def test_times_of_a_list_that_are_no_numbers_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("my nice video.mp4 1\n")
    (video,) = videos_of_list(path, metadata())
    with pytest.raises(ManifestError, match=r"train.txt, line 1: start is 'nice'; write a number"):
        clip_labels(video)


def test_columns_may_have_any_order_and_rows_may_be_blank(tmp_path: Path) -> None:
    path = write(
        tmp_path, "split,case,domain,source,path", "", "train,case 1,laparoscopy,alpha,a.mp4", ""
    )
    assert [video.source for video in read_manifest(path)] == ["alpha"]


def test_a_quoted_field_may_hold_the_delimiter_and_unicode_separators(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, '"a, b\x85c.mp4",alpha,laparoscopy,case 1,train')
    assert read_manifest(path)[0].path.name == "a, b\x85c.mp4"


def test_a_new_domain_is_allowed_if_it_resembles_no_known_one(tmp_path: Path) -> None:
    assert (
        read_manifest(write(tmp_path, HEADER, "a.mp4,alpha,arthroscopy-knee,c,train"))[0].domain
        == "arthroscopy-knee"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], r"has no column path, source, domain, case, split \(its header is empty\); add"),
        (
            ["path,source,domain,split", "a,b,open,train"],
            r"has no column case \(its header is path, source, domain, split\); add it",
        ),
        (
            [f"{HEADER},licence", f"{ROW},CC0"],
            r"unknown column 'licence' \(did you mean 'license'\?\); rename it, or",
        ),
        (
            [f"{HEADER},ward", f"{ROW},3"],
            "unknown column 'ward'; rename it, or skip it with --ignore_columns",
        ),
        (
            [f"{HEADER},case", f"{ROW},x"],
            "has the column case twice in its header; rename or remove one",
        ),
        ([HEADER], "lists no videos below its header"),
        ([HEADER, ",alpha,laparoscopy,c,train"], "line 2: the path is empty"),
        ([HEADER, ",,,,"], "line 2: the path is empty"),
        (
            [HEADER, ROW, "b.mp4,alpha,laparoscopy,c,dev"],
            "line 3: split is 'dev'; use train, val or test",
        ),
        ([HEADER, "a.mp4,alpha,laparoscopy,c,Train"], "split is 'Train'; use train, val"),
        (
            [HEADER, "a.mp4,alpha,laparascopy,c,train"],
            "'laparascopy' looks like a misspelling; use 'laparoscopy'",
        ),
        (
            [HEADER, "a.mp4,alpha,Laparoscopy,c,train"],
            "domain 'Laparoscopy' is not one lower-case word; use lap",
        ),
        ([HEADER, "a.mp4,alpha,,c,train"], "domain '' is not one lower-case word"),
        (
            [HEADER, "a.mp4,set 80,laparoscopy,c,train"],
            "source 'set 80' is not a valid name; use letters",
        ),
        ([HEADER, "a.mp4,../x,laparoscopy,c,train"], "source '../x' is not a valid name"),
        ([HEADER, f"a.mp4,{'a' * 41},laparoscopy,c,train"], "at most 40"),
        (
            [HEADER, ROW, "b.mp4,alpha,cataract,c,train"],
            "'alpha' has the domains 'laparoscopy' and 'cataract'",
        ),
        (
            [HEADER, ROW, "b.mp4,Alpha,laparoscopy,c,train"],
            "'alpha' and 'Alpha' differ only in upper and lower case",
        ),
        (
            [HEADER, ROW, "b.mp4,alpha,laparoscopy,c"],
            "line 3: the row has 4 cells, but the header has 5; ",
        ),
        ([HEADER, ROW, f"{ROW},extra"], "line 3: the row has 6 cells, but the header has 5; "),
        ([f"{HEADER},public", f"{ROW},yes"], "line 2: public is 'yes'; use true or false"),
        (
            [f"{HEADER},license", f'{ROW},"CC0', f"{ROW},CC0"],
            "line 3: invalid CSV .* stray quote in this line or above",
        ),
        ([HEADER, f"{'a' * 200_000}.mp4,alpha,laparoscopy,c,train"], "line 2: invalid CSV"),
    ],
)
def test_an_invalid_manifest_is_refused_with_line_and_reason(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(ManifestError, match=f"{tmp_path}/videos.csv.*{message}"):
        read_manifest(write(tmp_path, *lines))


def test_an_unknown_column_may_be_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER},ward,surgeon", f"{ROW},3,X")
    with pytest.raises(ManifestError, match="'surgeon'"):
        read_manifest(path, ignore_columns=["ward"])
    assert len(read_manifest(path, ignore_columns=["ward", "surgeon"])) == 1


def test_an_optional_column_may_be_ignored_but_not_a_required_one(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER},license", f"{ROW},secret")
    assert read_manifest(path, ignore_columns=["license"])[0].license == ""
    with pytest.raises(
        ManifestError, match="the column case is required; remove it from --ignore_columns"
    ):
        read_manifest(path, ignore_columns=["case"])


def test_a_manifest_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none.csv does not exist"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match=rf"{tmp_path} is a folder, not a manifest; .*--videos"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match=r"cannot be read \(File name too long\)"):
        read_manifest(tmp_path / ("a" * 300))


def test_a_folder_gives_its_videos_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in (
        "b/2.MP4",
        "b/1.mkv",
        "a.avi",
        "notes.txt",
        ".hidden/x.mp4",
        "b/._1.mkv",
        "clip.mp4/inner.mov",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    videos = videos_of_folder(search_folder(tmp_path), metadata(split="val", license="CC0"))
    assert [str(video.path.relative_to(tmp_path)) for video in videos] == [
        "a.avi",
        "b/1.mkv",
        "b/2.MP4",
        "clip.mp4/inner.mov",
    ]
    assert {
        (video.source, video.domain, video.case, video.split, video.license) for video in videos
    } == {("alpha", "open", "", "val", "CC0")}


def test_case_from_takes_the_case_from_the_path(tmp_path: Path) -> None:
    for name in ("case12/left.mp4", "case7/right.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    videos = videos_of_folder(search_folder(tmp_path), metadata(case_from=r"case(\d+)/"))
    assert [video.case for video in videos] == ["12", "7"]


@pytest.mark.parametrize(
    ("case_from", "message"),
    [
        ("(", r"case_from '\(' is not a regular expression"),
        ("case", "'case' has 0 groups; put parentheses around the case"),
        ("(a)(b)", "has 2 groups"),
        (r"patient(\d+)", "finds no case in case1.mp4"),
        (r"case(\d*?)", "finds no case in case1.mp4"),
    ],
)
def test_a_case_from_that_finds_no_case_is_refused(
    tmp_path: Path, case_from: str, message: str
) -> None:
    (tmp_path / "case1.mp4").touch()
    with pytest.raises(ManifestError, match=message):
        videos_of_folder(search_folder(tmp_path), metadata(case_from=case_from))


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        ManifestError, match=rf"{tmp_path} and its subfolders contain no video file"
    ):
        search_folder(tmp_path)
    with pytest.raises(ManifestError, match="none is not a folder"):
        search_folder(tmp_path / "none")
