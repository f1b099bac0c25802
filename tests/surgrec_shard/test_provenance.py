"""One page says where the videos of a corpus come from, and what is missing."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from surgrec.manifest import Video
from tests.support.tool import fixed_key, refusal, run_here
from tests.support.videos import build_corpus
from tests.surgrec_shard.conftest import Files


@pytest.fixture
def corpus(files: Files, one_encoding: list[Path], tmp_path: Path) -> Path:
    """Return a corpus of three videos of 8 s under two licenses, after a removal."""
    (tmp_path / "broken.mp4").write_text("no video")
    paths = [video.path for video in files(range(4))] + [tmp_path / "broken.mp4", tmp_path / "gone"]
    videos = [
        Video(
            path=path,
            source="lap",
            domain="laparoscopy",
            case=f"secret-{number}",
            split="val" if number == 1 else "train",
            license="<CC0>" if number < 2 else "",
            procedure="cholecystectomy",
        )
        for number, path in enumerate(paths)
    ]
    private = fixed_key(tmp_path / "private")
    build_corpus(tmp_path / "corpus", videos, private=private)
    removed = run_here("remove", tmp_path / "corpus", "--private", private, "--case", "secret-3")
    assert removed.returncode == 0, removed.stderr
    return tmp_path / "corpus"


def test_the_page_counts_what_is_stored_missing_and_removed(corpus: Path) -> None:
    shown = run_here("provenance", corpus)
    assert shown.returncode == 0, shown.stderr
    for line in (
        "1 source, 3 videos, 0.01 h",
        "- stored: 3 videos (2 train, 1 val) of 3 cases",
        "- licenses: not stated 0.0022 h, <CC0> 0.0044 h",
        "- procedures: cholecystectomy 0.0067 h",
        "- videos not stored: 1 unreadable",
        "- videos not read: 1",
        "remove of lap: 0 videos added, 1 removed; digest ",
        "clip_s 4.0",
    ):
        assert line in shown.stdout
    assert "secret" not in shown.stdout


def test_the_page_says_which_names_are_public(
    files: Files, one_encoding: list[Path], tmp_path: Path
) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    videos = [
        replace(video, source=source, public=public)
        for video, source, public in zip(
            files(range(4)),
            ("all", "some", "some", "none"),
            (True, True, False, False),
            strict=True,
        )
    ]
    build_corpus(out, videos, private=private)
    shown = run_here("provenance", out).stdout
    assert shown.count("- names: public: cases have their names, and videos their digests") == 1
    assert shown.count("- names: public for 1 video, pseudonyms for the others") == 1
    assert shown.count("- names: pseudonyms, made with the private key") == 1


def test_the_page_is_json_and_html_too(corpus: Path, tmp_path: Path) -> None:
    shown = run_here("provenance", corpus, "--json", "true", "--html", tmp_path / "page.html")
    (source,) = json.loads(shown.stdout)["sources"]
    assert (source["videos"], source["cases"], source["clips"]) == (3, 3, 6)
    assert source["licenses"] == {"": 0.002222, "<CC0>": 0.004444}
    page = (tmp_path / "page.html").read_text()
    HTMLParser().feed(page)
    assert "&lt;CC0&gt; 0.0044 h" in page
    assert "<CC0>" not in page
    assert "secret" not in page


def test_a_folder_without_a_corpus_has_no_provenance(tmp_path: Path) -> None:
    assert f"{tmp_path} contains no corpus" in refusal(run_here("provenance", tmp_path))
