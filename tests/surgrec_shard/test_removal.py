"""A removed case leaves no byte, in the corpus and in the private folder, whatever happens."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import surgrec_shard.removal
from surgrec_shard.private import PrivateFolder, state_of
from surgrec_shard.purge import purge

from surgrec.annotations import PLAIN, LabelFiles
from surgrec.errors import ShardError
from surgrec.manifest import Video
from surgrec.recordings import Recording
from surgrec.shards import open_corpus
from surgrec.storage import Store, open_store
from tests.support.tool import QUICK, digests, fixed_key, refusal, run_here
from tests.support.videos import build_corpus
from tests.surgrec_shard.conftest import Files, everything

CASE, LABEL, PATIENT = "Case-Musterfrau-4711", "finding-4712", "Patient-4713"
FILE, BROKEN, MISSING, COPY = "file-4714.mp4", "file-4715.mp4", "file-4716.mp4", "file-4717.mp4"

pytestmark = pytest.mark.usefixtures("one_encoding")


@dataclass(frozen=True, kw_only=True)
class Clinic:
    """Videos of two sources; one case has four files, three of them without clips."""

    videos: list[Video]
    others: list[Video]
    """Those of other cases."""
    needles: list[bytes]
    """Names, digests and labels of the case."""


@pytest.fixture
def clinic(files: Files, tmp_path: Path) -> Clinic:
    folder = tmp_path / "videos"
    folder.mkdir()
    labels = folder / "labels.csv"
    labels.write_text(f"task,start_s,end_s,value\nphase,0,5,{LABEL}\n")
    others = files(range(5))
    shutil.copy(files(range(5, 6))[0].path, folder / FILE)
    shutil.copy(folder / FILE, folder / COPY)
    (folder / BROKEN).write_text("no video")

    case = [
        Video(
            path=folder / name,
            source="lap",
            domain="other",
            case=CASE,
            split="train",
            patient=PATIENT,
            labels=(LabelFiles(paths=(labels,), mapping=PLAIN),) if name == FILE else (),
        )
        for name in (FILE, BROKEN, MISSING, COPY)
    ]
    cat = [
        Video(
            path=path,
            source="cat",
            domain="other",
            case=f"{number}-4718" if number else "other",
            split="train",
            patient=PATIENT if number else "",
        )
        for number, path in enumerate([others[0].path, folder / FILE])
    ]
    words = [CASE, LABEL, FILE, BROKEN, MISSING, COPY]
    words += [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (FILE, BROKEN)]
    return Clinic(
        videos=[*others, *case, *cat],
        others=others,
        needles=[word.encode() for word in words],
    )


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "corpus")
    return str(request.getfixturevalue("s3_address"))


def stored(address: str) -> bytes:
    """Return all bytes and names of a corpus."""
    store = open_store(address)
    if store.is_local:
        return everything(Path(address))
    copy: Iterator[bytes] = (name.encode() + b"\n" + store.read(name) for name in store.list())
    return b"\n".join(copy)


def clips_of(address: str, source: str, case: str) -> tuple[set[str], list[bytes]]:
    """Return the names of the videos of a case, and the bytes of its clips."""
    opened = open_corpus(address)[source]
    samples = [opened.index.sample(row) for row in range(opened.index.num_rows)]
    mine = [sample for sample in samples if sample.clip.case == case]
    return {sample.clip.video for sample in mine}, [
        opened.store.read_range(f"{source}/{sample.shard}", sample.mp4_offset, sample.mp4_size)
        for sample in mine
    ]


def case_of(address: str, source: str, file: Path, private: Path) -> str:
    """Return the pseudonym of a file's case, from the private report."""
    (report,) = private.glob("videos-*.csv")
    line = next(
        row for row in report.read_text().splitlines() if row.startswith(f"{file},{source}")
    )
    return line.split(",")[3]


def remove(out: str, private: Path, *words: object) -> Any:
    return run_here("remove", out, "--private", private, "--workers", 1, *words)


def records_of(private: Path, corpus: Path) -> dict[str, bytes]:
    """Return the records of groups of a corpus."""
    address = json.dumps(open_store(corpus).address)
    return {
        path.name: path.read_bytes()
        for path in (private / "groups").glob("*.json")
        if f'"corpus": {address}' in path.read_text()
    }


def test_no_byte_of_a_removed_case_is_left(clinic: Clinic, out: str, tmp_path: Path) -> None:
    private = fixed_key(tmp_path / "private")
    assert len(build_corpus(out, clinic.videos, private=private).failures) == 3
    case = case_of(out, "lap", tmp_path / "videos" / FILE, private)
    names, clips = clips_of(out, "lap", case)
    assert len(clips) == 2
    assert all(clip in stored(out) for clip in clips)
    assert all(needle in everything(private) for needle in clinic.needles)

    before = open_corpus(out)["lap"].entry.digest
    removed = remove(out, private, "--case", CASE, "--source", "lap")
    assert removed.returncode == 0, removed.stderr
    assert "lap: removed 2 videos" in removed.stderr
    assert str(tmp_path / "videos" / FILE) in removed.stderr
    assert f"digest {before[:12]} before" in removed.stderr
    assert "noncurrent" in removed.stderr

    # The clips of the same file in the other source stay, so look at those of this source alone.
    assert not open_store(out).list("lap/.tmp-")
    left = clips_of(out, "lap", case)
    assert left == (set(), [])
    remains = b"".join(
        open_store(out).read(name) for name in open_store(out).list("lap/") if ".tar" in name
    )
    assert not [clip for clip in clips if clip in remains]
    shown = everything(private)
    assert not [needle for needle in clinic.needles[:2] if needle in shown + stored(out)]
    assert not [needle for needle in clinic.needles[3:6] if needle in shown]
    assert run_here("verify", out, "--decode", "true").returncode == 0

    # With the patient, the file leaves the other source as well.
    assert remove(out, private, "--patient", PATIENT).returncode == 0
    both = everything(private) + stored(out)
    everywhere = [*clinic.needles, *(name.encode() for name in names), case.encode(), *clips]
    assert not [needle for needle in everywhere if needle in both]
    changes = open_store(out).read("corpus.json").decode()
    assert changes.count('"command": "remove"') == 2
    assert run_here("verify", out, "--decode", "true").returncode == 0


def test_a_plan_of_a_killed_build_that_names_only_the_case_is_removed(
    clinic: Clinic, tmp_path: Path
) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    missing = [video for video in clinic.videos if video.path.name == MISSING]
    build_corpus(str(out), [*clinic.others, *missing], private=private)
    (plan,) = (path for path in (private / "plans").iterdir() if path.name.startswith("lap-"))
    mark = plan.stem.rsplit("-", 1)[1]
    shutil.copy(plan, plan.with_name(f"lap-{'0' * 16}-{mark}.json"))

    removed = remove(str(out), private, "--case", CASE, "--source", "lap")
    assert removed.returncode == 0, removed.stderr
    assert CASE.encode() not in everything(private)


def test_a_file_of_the_case_that_had_other_bytes_before_leaves_no_digest(
    clinic: Clinic, tmp_path: Path
) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    build_corpus(out, clinic.videos, private=private)
    file = tmp_path / "videos" / FILE
    shutil.copy(clinic.others[1].path, file)
    with PrivateFolder(private).lock(), Recording(file) as recording:
        PrivateFolder(private).remember(state_of(recording), recording.sha256())

    removed = remove(str(out), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    assert FILE.encode() not in everything(private)
    shown = removed.stderr + removed.stdout
    assert f"{file}|" not in shown


def test_a_removal_gives_the_bytes_of_a_build_without_the_case(
    clinic: Clinic, tmp_path: Path
) -> None:
    private = fixed_key(tmp_path / "private")
    build_corpus(tmp_path / "corpus", clinic.videos, private=private)
    assert remove(str(tmp_path / "corpus"), private, "--patient", PATIENT).returncode == 0
    left = [video for video in clinic.videos if not video.patient]
    build_corpus(tmp_path / "fresh", left, private=fixed_key(tmp_path / "key"))
    assert digests(tmp_path / "corpus") == digests(tmp_path / "fresh")


class KilledError(BaseException):
    """Stands for SIGKILL between two operations."""


def kill_at(operation: int, patch: pytest.MonkeyPatch, store_type: type[Store]) -> None:
    """Let the n-th write to a store or to the private folder be the last moment."""
    done: list[object] = []

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if len(done) == operation:
                raise KilledError
            done.append(arguments)
            return method(*arguments, **options)

        return call

    for name in ("write", "upload", "delete", "replace"):
        patch.setattr(store_type, name, dying(getattr(store_type, name)))
    patch.setattr(Path, "unlink", dying(Path.unlink))


@pytest.mark.parametrize(
    "operations",
    [
        pytest.param((4, 14, 30, 45), id="some"),
        pytest.param(range(3, 300, 4), id="many", marks=pytest.mark.slow),
    ],
)
def test_a_killed_removal_leaves_the_old_or_the_new_corpus_and_is_finished_by_a_rerun(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operations: Sequence[int]
) -> None:
    first = tmp_path / "first"
    build_corpus(first / "corpus", clinic.videos, private=fixed_key(first / "private"))
    case = case_of("", "lap", tmp_path / "videos" / FILE, first / "private")
    names, clips = clips_of(str(first / "corpus"), "lap", case)
    first = first.rename(tmp_path / "moved")
    old = digests(first / "corpus")

    for operation in operations:
        now = tmp_path / f"at-{operation}"
        shutil.copytree(first, now)
        with monkeypatch.context() as patch:
            kill_at(operation, patch, type(open_store(now)))
            try:
                remove(str(now / "corpus"), now / "private", "--patient", PATIENT)
            except KilledError:
                pass
            else:
                assert operation > 60, "the removal was not killed"
                break
        sources = open_corpus(now / "corpus")
        assert all(not source.missing_tables() for source in sources.values())
        again = remove(str(now / "corpus"), now / "private", "--patient", PATIENT)
        assert again.returncode == 0, again.stderr
        both = everything(now / "private") + everything(now / "corpus")
        gone = [*clinic.needles, *(name.encode() for name in names), case.encode(), *clips]
        assert not [needle for needle in gone if needle in both]
        assert run_here("verify", now / "corpus").returncode == 0
        assert digests(now / "corpus") != old
        shutil.rmtree(now)


def test_a_build_asks_to_finish_an_interrupted_removal(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    build_corpus(out, clinic.others, private=private)

    def kill(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(surgrec_shard.removal, "purge", kill)
        with pytest.raises(KilledError):
            remove(str(out), private, "--case", "3")
    with pytest.raises(ShardError, match="the removal of 1 video was interrupted"):
        build_corpus(out, clinic.others, private=private)
    assert surgrec_shard.removal.purge is purge
    assert remove(str(out), private, "--case", "3").returncode == 0
    left = [video for video in clinic.others if video.case != "3"]
    assert build_corpus(out, left, private=private).work.groups_packed == 0


def test_unlisted_videos_leave_the_private_folder_too(clinic: Clinic, tmp_path: Path) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    lap = [video for video in clinic.videos if video.source == "lap"]
    build_corpus(out, lap, private=private)
    build_corpus(out, clinic.others, private=private, remove_unlisted=True)
    both = everything(private) + everything(out)
    assert not [needle for needle in clinic.needles if needle in both]


def test_one_video_or_a_whole_source_can_be_removed(clinic: Clinic, tmp_path: Path) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    build_corpus(out, clinic.videos, private=private)
    path = clinic.others[2].path
    assert remove(str(out), private, "--video", path).returncode == 0
    assert open_corpus(out)["lap"].entry.videos == 5
    name = open_corpus(out)["lap"].index.sample(0).clip.video
    assert remove(str(out), private, "--video", name, "--source", "lap").returncode == 0
    assert open_corpus(out)["lap"].entry.videos == 4

    assert remove(str(out), private, "--source", "cat").returncode == 0
    assert set(open_corpus(out)) == {"lap"}
    assert not [name for name in digests(out) if name.startswith("cat/")]
    assert run_here("verify", out).returncode == 0


def test_a_removal_that_finds_nothing_or_lacks_its_folder_is_refused(
    clinic: Clinic, tmp_path: Path
) -> None:
    out, private = tmp_path / "corpus", fixed_key(tmp_path / "private")
    build_corpus(out, clinic.others, private=private)
    before = digests(out)
    sentence = refusal(remove(str(out), private, "--case", "nobody"))
    assert f"{out} has no video of case 'nobody'" in sentence
    assert "give --case NAME" in refusal(remove(str(out), private))
    assert "has no key" in refusal(remove(str(out), tmp_path / "none", "--case", "3"))
    assert not (tmp_path / "none").exists()
    same = fixed_key(tmp_path / "same")
    assert f"{same} does not know the videos" in refusal(remove(str(out), same, "--case", "3"))
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "key").write_text("ab" * 32)
    (other / "key").chmod(0o600)
    assert "was built with the key" in refusal(remove(str(out), other, "--case", "3"))

    # A cut record may be about the same videos in another corpus.
    cut = private / "groups" / f"lap-train-00000-{'0' * 16}-{'0' * 8}.json"
    cut.write_text('{"config": "')
    cut.chmod(0o600)
    sentence = refusal(remove(str(out), private, "--case", "3"))
    assert f"{cut}" in sentence
    assert "remove it, and run the same command again" in sentence
    assert digests(out) == before


def test_a_removal_leaves_another_corpus_of_the_folder_able_to_remove(
    clinic: Clinic, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    private = fixed_key(tmp_path / "private")
    for corpus in (one, other):
        build_corpus(corpus, clinic.videos, private=private)
    kept = records_of(private, other)

    removed = remove(str(one), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    assert f"also stored in {other}: remove it there, too" in removed.stderr
    assert open_corpus(other)["lap"].entry.videos == 6

    # The other corpus still has its records, and the folder the names and digests of its files.
    assert records_of(private, other) == kept != {}
    assert all(needle in everything(private) for needle in clinic.needles)
    assert build_corpus(other, clinic.videos, private=private).work.groups_packed == 0

    removed = remove(str(other), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    assert "also stored" not in removed.stderr
    both = everything(private) + everything(one) + everything(other)
    assert not [needle for needle in clinic.needles if needle in both]
    assert digests(one) == digests(other)


def test_a_corpus_out_of_reach_keeps_its_plans_and_is_told(clinic: Clinic, tmp_path: Path) -> None:
    one, other, away = (tmp_path / name for name in ("one", "other", "unmounted"))
    private = fixed_key(tmp_path / "private")
    for corpus in (one, other):
        build_corpus(corpus, clinic.videos, private=private)
    other.rename(away)
    removed = remove(str(one), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    told = " ".join(removed.stderr.split())
    assert f"also stored in {other}, where no corpus is now: if its disk is not mounted" in told
    assert told.count(f"{private / 'plans'}/") >= 1

    away.rename(other)
    removed = remove(str(other), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    assert digests(one) == digests(other)


def test_a_moved_corpus_takes_its_plans_with_it(clinic: Clinic, tmp_path: Path) -> None:
    private = fixed_key(tmp_path / "private")
    build_corpus(tmp_path / "old", clinic.videos, private=private)
    moved = (tmp_path / "old").rename(tmp_path / "new")
    removed = remove(str(moved), private, "--patient", PATIENT)
    assert removed.returncode == 0, removed.stderr
    told = " ".join(removed.stderr.split())
    assert f"no corpus is at {tmp_path / 'old'}: {moved} has the same source" in told
    assert "also stored" not in told
    content = everything(private) + everything(moved)
    assert not [needle for needle in clinic.needles if needle in content]


def test_a_video_is_known_by_its_path_from_another_current_folder(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, private, file = tmp_path / "corpus", fixed_key(tmp_path / "private"), "videos/a.mp4"
    for folder, video in zip(("here", "there"), files(range(2)), strict=True):
        (tmp_path / folder / "videos").mkdir(parents=True)
        shutil.copy(video.path, tmp_path / folder / file)
        (tmp_path / folder / "list.csv").write_text(
            f"path,source,domain,case,split\n{file},{folder},other,1,train\n"
        )
        monkeypatch.chdir(tmp_path / folder)
        words = ("--out", out, "--private", private, *QUICK)
        assert run_here("build", "--manifest", "list.csv", *words).returncode == 0

    removed = remove(str(out), private, "--video", "../here/videos/a.mp4")
    assert removed.returncode == 0, removed.stderr
    assert removed.stderr.count("not removed: ") == 1
    assert set(open_corpus(out)) == {"there"}
    assert refusal(remove(str(out), private, "--video", "../here/videos/a.mp4"))
