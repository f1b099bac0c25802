"""What the documents say is there, is there; and setting up fails with one sentence."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from surgrec.tasks import find_cards

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", "demo", ".git"} & set(path.relative_to(ROOT).parts)
]
FENCE = re.MULTILINE | re.DOTALL
ROOMS = [
    path.parent
    for path in [
        *ROOT.glob("surgrec/*/__init__.py"),
        ROOT / "tools/shard/surgrec_shard/__init__.py",
    ]
]


def test_every_path_in_a_document_exists() -> None:
    missing = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        paths = re.findall(r"`((?:surgrec|tools|recipes|tests|docker|benchmarks)/[\w./-]+)`", text)
        missing += [f"{document.name}: {path}" for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_every_link_of_a_document_leads_to_a_file_and_a_heading() -> None:
    assert len(DOCUMENTS) > 10
    broken = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in DOCUMENTS
        for link in links_of(document)
        if not is_reached(document, link)
    ]
    assert broken == []


@pytest.mark.parametrize("link", ["b.md#one-more-day", "b.md#no-such-day", "c.md", "#a-day"])
def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path, link: str) -> None:
    page = tmp_path / "a.md"
    page.write_text(f"# One day\n\n[text]({link})\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# B\n\n## One `more` day?\n", encoding="utf-8")
    assert links_of(page) == [link]
    assert is_reached(page, link) == (link == "b.md#one-more-day")


def links_of(document: Path) -> list[str]:
    """Return the links of a document to files and headings of the repository."""
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^()\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=FENCE))
    return [link for link in links if not re.match(r"[a-z]+:", link)]


def is_reached(document: Path, link: str) -> bool:
    """Whether the file of a link exists, and its heading is in this file."""
    path, _, anchor = link.partition("#")
    page = document.parent / path if path else document
    return page.exists() and (not anchor or anchor in anchors_of(page))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as code hosts and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=FENCE)
    titles = re.findall(r"^#{1,3} (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w -]", "", title.strip().lower()).replace(" ", "-") for title in plain}


def test_the_list_of_pages_names_every_page() -> None:
    """The list is for readers of the repository; the site's menu is checked by its build."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages - set(links_of(ROOT / "docs/README.md")) == set()


def test_the_readme_counts_presets_and_tasks() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    presets = len([*(ROOT / "tools/shard/surgrec_shard/sources").glob("*.yaml")])
    cards = find_cards(["*"])
    assert f"{presets} presets" in readme
    assert f"{len(cards)} tasks on {len({card.preset for card in cards})} data sets" in readme


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
