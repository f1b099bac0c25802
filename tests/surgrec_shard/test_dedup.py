"""`surgrec-shard dedup` and `build --exclude_overlap_with`: copies among cases that look alike."""

import csv
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from surgrec.shards import open_corpus
from tests.support.phantom_cases import copy_video, render_case
from tests.support.tool import build_folder, run_here, write_csv

pytestmark = pytest.mark.slow
_ENCODING = ("--encode.short_side_px", "96", "--encode.preset", "ultrafast", "--workers", "1")


@dataclass(frozen=True, kw_only=True)
class Hospitals:
    """Corpora of four cases, and of copies of two of them beside another case."""

    cases: list[Path]
    corpus: Path
    copies: Path


def build(
    corpus: Path, rows: list[dict[str, Any]], *options: object
) -> "subprocess.CompletedProcess[str]":
    rows = [{"domain": "laparoscopy", "split": "train", **row} for row in rows]
    manifest = write_csv(corpus.parent / f"{corpus.name}.csv", rows)
    return run_here("build", "--manifest", manifest, "--out", corpus, *_ENCODING, *options)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path_factory.getbasetemp() / "dedup-cache"))


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    folder = tmp_path_factory.mktemp("hospitals")
    cases = [render_case(folder / "cases", number, seconds=20) for number in range(1, 6)]
    rows = [
        {"path": path, "source": "lap", "case": f"case-{number}"}
        for number, path in enumerate(cases[:4])
    ]
    assert build(folder / "corpus", rows).returncode == 0

    fast = copy_video(
        cases[0], folder / "fast.mp4", start_s=5.3, filters="setpts=PTS/1.25,scale=iw*0.7:-2"
    )
    cropped = copy_video(
        cases[1], folder / "cropped.mp4", start_s=3.7, filters="crop=iw*0.9:ih*0.9,hflip", crf=32
    )
    rows = [
        {"path": fast, "source": "web", "case": "clip-1"},
        {"path": cropped, "source": "web", "case": "clip-2"},
        {"path": cases[4], "source": "web", "case": "clip-3"},
    ]
    assert build(folder / "copies", rows).returncode == 0
    return Hospitals(cases=cases, corpus=folder / "corpus", copies=folder / "copies")


def names(corpus: Path, report: str) -> dict[str, str]:
    """Return the names of the videos in the corpus by file."""
    with (Path(f"{corpus}.private") / report).open(newline="") as file:
        return {Path(row["path"]).name: row["corpus_video"] for row in csv.DictReader(file)}


def test_different_cases_of_one_procedure_are_no_copies(hospitals: Hospitals) -> None:
    result = run_here("dedup", hospitals.corpus)
    assert result.returncode == 0
    assert "4 videos compared, 80 seconds" in result.stderr
    assert "no copies" in result.stderr


def test_copies_in_another_corpus_are_listed_with_their_times(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    out = tmp_path / "copies.parquet"
    result = run_here(
        "dedup", hospitals.copies, "--against", hospitals.corpus, "--json", "--out", out
    )
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert (found["videos"], found["other_videos"]) == (3, 4)
    assert parquet.read_table(out).to_pylist() == found["found"]

    copy_names = names(hospitals.copies, "videos-web.csv")
    case_names = names(hospitals.corpus, "videos-lap.csv")
    rows = {row["video"]: row for row in found["found"]}
    assert len(rows) == len(found["found"]) == 2
    fast, cropped = rows[copy_names["fast.mp4"]], rows[copy_names["cropped.mp4"]]
    assert fast["other_video"] == case_names[hospitals.cases[0].name]
    assert cropped["other_video"] == case_names[hospitals.cases[1].name]
    assert fast["speed"] == pytest.approx(1.25, abs=0.12)
    assert (fast["mirrored"], cropped["mirrored"]) == (0, 1)
    start_s = fast["other_start_s"] - fast["speed"] * fast["start_s"]
    assert start_s == pytest.approx(5.3, abs=1.5)


def test_a_shifted_copy_of_a_fast_endoscopy_is_found(tmp_path: Path) -> None:
    # With 3 pictures per second, its seconds differ from those of the original in 100 bits.
    case = render_case(tmp_path / "cases", 16, domain="endoscopy", seconds=14, seed=20261128)
    half = copy_video(case, tmp_path / "half.mp4", start_s=2.29, filters="scale=iw/2:-2")
    rows = [{"path": path, "source": "lap", "case": path.stem} for path in (case, half)]
    corpus = tmp_path / "corpus"
    assert build(corpus, rows).returncode == 0
    result = run_here("dedup", corpus, "--json")
    (found,) = json.loads(result.stdout)["found"]
    assert found["seconds"] >= 9
    assert abs(found["other_start_s"] - found["start_s"]) == pytest.approx(2.29, abs=0.8)


@pytest.mark.parametrize("squeeze", ["scale=iw:ih*0.75,setsar=1", "scale=iw*0.75:ih,setsar=1"])
def test_a_copy_of_another_aspect_ratio_is_found(tmp_path: Path, squeeze: str) -> None:
    case = render_case(tmp_path / "cases", 1, domain="endoscopy", seconds=16)
    copy = copy_video(case, tmp_path / "copy.mp4", start_s=3.5, filters=squeeze)
    rows = [{"path": path, "source": "lap", "case": path.stem} for path in (case, copy)]
    corpus = tmp_path / "corpus"
    assert build(corpus, rows).returncode == 0
    (found,) = json.loads(run_here("dedup", corpus, "--json").stdout)["found"]
    assert abs(found["other_start_s"] - found["start_s"]) == pytest.approx(3.5, abs=0.5)
    assert found["speed"] == 1


def test_one_patient_in_two_sources_is_one_case(hospitals: Hospitals, tmp_path: Path) -> None:
    files = (hospitals.cases[0], hospitals.copies.parent / "fast.mp4")
    rows = [
        {"path": path, "source": source, "case": f"case-of-{source}", "patient": "Musterfrau"}
        for path, source in zip(files, ("lap", "web"), strict=True)
    ]
    for name, public in (("private", "false"), ("public", "true")):
        assert build(tmp_path / name, rows, "--public", public).returncode == 0

    same = run_here("dedup", tmp_path / "private", "--json")
    (found,) = json.loads(same.stdout)["found"]
    assert (found["source"], found["other_source"], found["same_case"]) == ("lap", "web", 1)
    assert "1 copy, in 0 pairs of different cases" in run_here("dedup", tmp_path / "private").stderr

    # Public names are no pseudonyms: two sources may use one name for two patients.
    assert "1 copy, in 1 pair of different cases" in run_here("dedup", tmp_path / "public").stderr


def test_a_second_search_reads_no_shard(
    hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here("dedup", hospitals.copies)
    monkeypatch.setattr("surgrec_shard.stored_hashes._hash", lambda video: pytest.fail("decoded"))
    assert run_here("dedup", hospitals.copies).returncode == 0


def test_damaged_hashes_in_the_cache_are_made_again(
    hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path))
    run_here("dedup", hospitals.copies)
    (path, *_) = sorted(tmp_path.glob("hashes-of-user-*/*.npz"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    result = run_here("dedup", hospitals.copies)
    assert result.returncode == 0
    assert "is damaged; the video is hashed again" in result.stderr.replace("\n", " ")
    assert len(path.read_bytes()) == len(whole)


def test_a_damaged_clip_stops_the_search_with_its_key(
    hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "cache"))
    corpus = shutil.copytree(hospitals.copies, tmp_path / "corpus")
    sample = open_corpus(corpus)["web"].index.sample(0)
    shard = corpus / "web" / sample.shard
    shard.chmod(0o600)
    with shard.open("r+b") as file:
        file.seek(sample.mp4_offset + sample.mp4_size // 2)
        file.write(b"damage")
    result = run_here("dedup", corpus)
    assert result.returncode == 1
    assert f"{sample.key} does not have the digest of the index" in result.stderr


def test_a_corpus_is_not_compared_with_itself(hospitals: Hospitals) -> None:
    result = run_here("dedup", hospitals.corpus, "--against", hospitals.corpus)
    assert result.returncode == 1
    assert "names the same corpus" in result.stderr


def test_a_build_leaves_out_what_the_evaluation_has_with_its_case(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    # The second part of the first clip's case is no copy itself.
    copies = hospitals.copies.parent
    rows = [
        {"path": copies / "fast.mp4", "source": "web", "case": "clip-1"},
        {"path": hospitals.cases[4], "source": "web", "case": "clip-1"},
        {"path": render_case(tmp_path, 9, seconds=12), "source": "web", "case": "clip-9"},
    ]
    corpus, exclude = tmp_path / "corpus", ("--exclude_overlap_with", hospitals.corpus)
    result = build(corpus, rows, *exclude)
    assert result.returncode == 3
    assert "3 videos encoded" in result.stderr

    source = open_corpus(corpus)["web"]
    files = names(corpus, "videos-web.csv")
    kept = files[Path(str(rows[2]["path"])).name]
    assert set(source.index.column("video").to_pylist()) == {kept}
    assert {(row.video, row.reason) for row in source.dropped()} == {
        (video, "overlap") for video in files.values() if video != kept
    }
    report = (Path(f"{corpus}.private") / "videos-web.csv").read_text()
    assert "show the same as" in report
    assert "another video of its case overlaps" in report
    shards = {path.name for path in (corpus / "web").glob("*.tar")}
    assert shards == {shard.name for shard in source.entry.shards}

    # The same build has nothing to do. Without the switch, all videos come back.
    again = build(corpus, rows, *exclude)
    assert again.returncode == 3
    assert "0 videos encoded" in again.stderr
    assert "0 groups packed" in again.stderr
    assert build(corpus, rows).returncode == 0
    assert open_corpus(corpus)["web"].entry.videos == 3

    # Switched on for a complete source, it removes them again, from stored clips.
    later = build(corpus, rows, *exclude)
    assert later.returncode == 3
    assert "0 videos encoded" in later.stderr
    assert open_corpus(corpus)["web"].entry.videos == 1


def test_groups_are_written_kept_by_builds_and_completed_by_the_next_search(
    hospitals: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def groups() -> dict[str, set[int | None]]:
        table = open_corpus(corpus)["lap"].index.table()
        names = table.column("case").to_pylist()
        values = table.column("duplicate_group").to_pylist()
        return {
            case: {values[row] for row, name in enumerate(names) if name == case} for case in names
        }

    rows = [
        {"path": path, "source": "lap", "case": f"clip-{number}"}
        for number, path in enumerate(
            [hospitals.cases[0], hospitals.copies.parent / "fast.mp4", hospitals.cases[4]]
        )
    ]
    corpus, page = tmp_path / "corpus", tmp_path / "page.html"
    assert build(corpus, rows, "--public", "true").returncode == 0
    monkeypatch.setenv("COLUMNS", "80")
    result = run_here("dedup", corpus, "--write", "true", "--html", page)
    assert result.returncode == 1
    assert "duplicate_group: 2 clips in 1 group, written into lap" in result.stderr
    assert groups() == {"clip-0": {0, 1}, "clip-1": {1}, "clip-2": {0}}
    assert run_here("verify", corpus).returncode == 0

    # All names are whole in a narrow terminal and on the page.
    videos = set(open_corpus(corpus)["lap"].index.column("video").to_pylist())
    shown = [name for name in videos if f"lap/{name}" in result.stdout]
    assert len(shown) == 2
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert all(f"<td>lap/{name}</td>" in page.read_text() for name in shown)

    # A further video was not compared; the others keep their groups.
    rows.append({"path": hospitals.cases[3], "source": "lap", "case": "clip-3"})
    assert build(corpus, rows, "--public", "true").returncode == 0
    assert groups() == {"clip-0": {0, 1}, "clip-1": {1}, "clip-2": {0}, "clip-3": {None}}
    run_here("dedup", corpus, "--write", "true")
    assert groups()["clip-3"] == {0}
    assert run_here("remove", corpus, "--case", "clip-1").returncode == 0
    assert groups() == {"clip-0": {0, 1}, "clip-2": {0}, "clip-3": {0}}

    result = run_here("dedup", corpus, "--write", "true", "--against", hospitals.copies)
    assert result.returncode == 1
    assert "leave out one of them" in result.stderr.replace("\n", " ")


def test_a_shared_title_does_not_unite_two_operations(hospitals: Hospitals, tmp_path: Path) -> None:
    # Both operations begin with the same moving title of 10 s. The first one has a copy.
    title = render_case(tmp_path / "title", 9, seconds=10)
    rows = []
    for case, length_s in (("first", 20.0), ("twin", 12.0), ("second", 20.0)):
        file, operation = tmp_path / f"{case}.mp4", hospitals.cases[case == "second"]
        join = f"[1:v]trim=end={length_s},setpts=PTS-STARTPTS[cut];[0:v][cut]concat=n=2"
        command = ["ffmpeg", "-v", "error", "-i", title, "-i", operation, "-filter_complex", join]
        subprocess.run([*command, file], check=True)
        rows.append({"path": file, "source": "lap", "case": case})
    corpus = tmp_path / "corpus"
    assert build(corpus, rows, "--public", "true").returncode == 0
    run_here("dedup", corpus, "--write", "true")

    clips = open_corpus(corpus)["lap"].index.table().to_pylist()
    groups: dict[str, list[int]] = {}
    for clip in sorted(clips, key=lambda clip: clip["start_s"]):
        groups.setdefault(clip["case"], []).append(clip["duplicate_group"])
    assert groups["first"][:2] == groups["twin"][:2]
    assert groups["second"][0] == groups["first"][0] != groups["first"][1]
    assert set(groups["second"][1:]) == {0}


def test_a_removed_video_leaves_the_memory_of_overlaps(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    rows = [
        {"path": hospitals.copies.parent / "fast.mp4", "source": "web", "case": "clip-1"},
        {"path": hospitals.cases[4], "source": "web", "case": "clip-2"},
    ]
    corpus, private = tmp_path / "corpus", Path(f"{tmp_path / 'corpus'}.private")
    assert build(corpus, rows, "--exclude_overlap_with", hospitals.corpus).returncode == 3
    name = names(corpus, "videos-web.csv")["fast.mp4"]
    assert any(name in path.read_text() for path in (private / "overlaps").iterdir())
    assert run_here("remove", corpus, "--case", "clip-1").returncode == 0
    texts = [path.read_bytes() for path in private.rglob("*") if path.is_file()]
    assert not any(name.encode() in text for text in texts)


def test_the_corpus_to_build_is_not_its_own_evaluation(tmp_path: Path) -> None:
    videos = render_case(tmp_path / "videos", 1, seconds=8, width_px=96).parent
    out = tmp_path / "corpus"
    result = run_here(*build_folder(videos), "--out", out, "--exclude_overlap_with", out)
    assert result.returncode == 1
    assert "names the corpus that is built" in result.stderr
