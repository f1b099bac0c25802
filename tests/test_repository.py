"""What the documents say is there, is there; and setting up fails with one sentence."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", "demo", ".git"} & set(path.relative_to(ROOT).parts)
]
ROOMS = [
    path.parent
    for path in [
        *ROOT.glob("surgrec/*/__init__.py"),
        ROOT / "tools/shard/surgrec_shard/__init__.py",
    ]
]


def test_every_link_and_path_in_a_document_exists() -> None:
    assert len(DOCUMENTS) > 10
    missing = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        paths = re.findall(r"`((?:surgrec|tools|recipes|tests|docker|benchmarks)/[\w./-]+)`", text)
        missing += [
            f"{document.name}: {link}" for link in links if not (document.parent / link).exists()
        ]
        missing += [f"{document.name}: {path}" for path in paths if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_every_room_has_a_readme_of_one_screen_that_says_what_always_holds(room: Path) -> None:
    readme = room / "README.md" if room.name != "surgrec_shard" else room.parent / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert "Always" in text or "always" in text
    assert len(text.splitlines()) <= 180


def test_the_library_does_not_import_recipes() -> None:
    sources = [*ROOT.glob("surgrec/**/*.py"), *ROOT.glob("tools/shard/surgrec_shard/**/*.py")]
    assert sources
    assert not [
        path
        for path in sources
        if re.search(r"^\s*(?:from|import) (?:surgrec\.)?recipes", path.read_text(), re.MULTILINE)
    ]


def test_set_up_without_ffmpeg_and_without_apt_says_so_in_one_sentence(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "id", "env"):
        (programs / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/setup.sh"), str(tmp_path / "venv")],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ffmpeg is missing" in done.stderr
    assert not (tmp_path / "venv").exists()
