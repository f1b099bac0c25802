from pathlib import Path

import pytest

from surgrec.errors import ManifestError
from surgrec.file_globs import select_files
from surgrec.video_folder import files_below

NAMES = ("a.mp4", "b.AVI", "day/a.mp4", "day/trash/c.mp4", "trash/d.mp4", "day/x [1].mp4", "trash2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def chosen(folder: Path, include: list[str], exclude: list[str]) -> list[str]:
    files = select_files(files_below(folder), include, exclude)
    return sorted(path.relative_to(folder).as_posix() for path in files.paths)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], sorted(NAMES)),
        (["*.mp4"], ["trash"], ["a.mp4", "day/a.mp4", "day/x [1].mp4"]),
        (["**/*.mp4"], ["**/trash/**"], ["a.mp4", "day/a.mp4", "day/x [1].mp4"]),
        (["day/*.mp4"], [], ["day/a.mp4", "day/x [1].mp4"]),
        (["day/"], ["day/trash"], ["day/a.mp4", "day/x [1].mp4"]),
        (["day/**"], ["x ?1?.mp4"], ["day/a.mp4", "day/trash/c.mp4"]),
        (["x [1].mp4"], [], ["day/x [1].mp4"]),
        (["**/" * 200 + "*" * 300 + ".AVI"], [], ["b.AVI"]),
        (["?.mp4", "*.AVI"], ["**/c.*"], ["a.mp4", "b.AVI", "day/a.mp4", "trash/d.mp4"]),
    ],
)
def test_globs_choose_files_below_a_folder(
    folder: Path, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    assert chosen(folder, include, exclude) == expected


def test_every_file_that_is_not_chosen_is_counted(folder: Path) -> None:
    files = select_files(files_below(folder), ["*.mp4"], ["trash", "day/**"])
    assert [each.detail for each in files.excluded] == [
        "2 files that no --include matches: 1 .avi, 1 without a suffix",
        "2 files that --exclude 'day/**' matches: 2 .mp4",
        "2 files that --exclude 'trash' matches: 2 .mp4",
    ]
    assert len(files.paths) + 6 == len(NAMES)


@pytest.mark.parametrize("glob", ["*.mkv", "nothing/**", "/", "", "trash/*/x", "("])
def test_a_glob_that_matches_nothing_is_refused(folder: Path, glob: str) -> None:
    for options in ({"include": [glob]}, {"exclude": [glob]}):
        with pytest.raises(ManifestError, match=r"matches none of 7 files|is empty; give a glob"):
            select_files(files_below(folder), **options)


@pytest.mark.slow
def test_a_glob_that_would_never_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / ("a" * 200)).touch()
    with pytest.raises(ManifestError, match="has too many wildcards"):
        select_files(files_below(tmp_path), ["*a" * 20 + "b"], [])
