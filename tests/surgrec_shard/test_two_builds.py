"""Two builds into one corpus lose nothing, and a corpus keeps to its key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from surgrec_shard.private import PrivateFolder, default_private_folder

from surgrec.errors import ConfigError, ShardError
from surgrec.manifest import Video
from surgrec.shards import open_corpus
from surgrec.storage import Store, file_sha256, open_store
from tests.support.s3 import FaultyS3
from tests.support.tool import QUICK, build_folder, fixed_key, refusal, run_here
from tests.support.videos import build_corpus, make_video
from tests.surgrec_shard.conftest import Files


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "corpus")
    return str(request.getfixturevalue("s3_address"))


def of_source(videos: list[Video], source: str) -> list[Video]:
    return [
        Video(path=video.path, source=source, domain="other", case=video.case, split="train")
        for video in videos
    ]


def meanwhile(patch: pytest.MonkeyPatch, out: str, act: Callable[[], object]) -> None:
    """Let another build act after the first has read `corpus.json`, and before it replaces it."""
    store_type = type(open_store(out))
    replace = store_type.replace
    acts = [act]

    def late(self: Store, name: str, *arguments: Any) -> bool:
        if name == "corpus.json" and acts:
            acts.pop()()
        return replace(self, name, *arguments)

    patch.setattr(store_type, "replace", late)


@pytest.mark.usefixtures("one_encoding")
def test_two_builds_of_two_private_folders_do_not_lose_each_others_sources(
    files: Files, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = of_source(files(range(2)), "lap"), of_source(files(range(2)), "cat")

    def build_second() -> None:
        build_corpus(out, second, private=fixed_key(tmp_path / "b"))

    meanwhile(monkeypatch, out, build_second)
    result = build_corpus(out, first, private=fixed_key(tmp_path / "a"))
    assert set(result.corpus.sources) == {"lap", "cat"}
    assert set(open_corpus(out)) == {"lap", "cat"}
    assert run_here("verify", out).returncode == 0


@pytest.mark.usefixtures("one_encoding")
def test_a_source_that_another_build_has_changed_meanwhile_is_not_overwritten(
    files: Files, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = files(range(3))

    def build_second() -> None:
        build_corpus(out, videos, private=fixed_key(tmp_path / "b"))

    with monkeypatch.context() as patch:
        meanwhile(patch, out, build_second)
        with pytest.raises(ShardError, match="another build has changed the source 'lap'"):
            build_corpus(out, videos[:2], private=fixed_key(tmp_path / "a"))
    assert open_corpus(out)["lap"].entry.videos == 3
    assert build_corpus(out, videos, private=fixed_key(tmp_path / "a")).work.videos_encoded == 0
    assert run_here("verify", out).returncode == 0


@pytest.mark.usefixtures("one_encoding")
def test_a_key_that_comes_second_is_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "corpus")
    first, second = of_source(files(range(2)), "lap"), of_source(files(range(2)), "cat")
    other = tmp_path / "b"
    PrivateFolder(other)  # makes a key of its own
    meanwhile(monkeypatch, out, lambda: build_corpus(out, second, private=other))
    with pytest.raises(ShardError, match="was built with the key"):
        build_corpus(out, first, private=fixed_key(tmp_path / "a"))
    assert set(open_corpus(out)) == {"cat"}


def test_a_corpus_with_a_key_gets_no_second_one(files: Files, tmp_path: Path) -> None:
    out, folder = tmp_path / "corpus", files(range(2))[0].path.parent
    build = (*build_folder(folder), *QUICK, "--out", out, "--private")
    assert run_here(*build, fixed_key(tmp_path / "a")).returncode == 0
    sentence = refusal(run_here(*build, tmp_path / "b"))
    assert f"{tmp_path / 'b'} has no key; give the folder of that key" in sentence
    assert not (tmp_path / "b").exists()


def test_a_store_without_conditional_writes_is_refused_until_its_user_vouches(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    build = (*build_folder(tmp_path / "videos"), *QUICK, "--out", "s3://corpora/x")
    private = ("--private", tmp_path / "private")
    sentence = refusal(run_here(*build, *private))
    assert "s3://corpora/x is in a store without conditional writes" in sentence
    assert "--only_builder true" in sentence
    assert not [name for name in faulty_s3.objects if "/.tmp-" not in name]
    built = run_here(*build, *private, "--only_builder", "true")
    assert built.returncode == 0, built.stderr
    assert "x/corpus.json" in faulty_s3.objects


def test_the_private_folder_of_a_bucket_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found.add(default_private_folder(open_store("s3://corpora/surgery/1")))
    assert found == {tmp_path / "home/.local/share/surgrec/corpora%2Fsurgery%2F1.private"}
    assert default_private_folder(open_store("out")) == tmp_path / "b" / "out.private"


def test_addresses_with_a_dash_for_a_slash_have_other_private_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    addresses = ("s3://lab/b-c", "s3://lab/b/c", "s3://lab-b/c", "s3://lab/b%2Fc", "s3://lab-b-c")
    assert len({default_private_folder(open_store(each)) for each in addresses}) == 5


def test_without_a_home_the_private_folder_of_a_bucket_must_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.delenv("HOME")

    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(ConfigError, match=r"no home folder .* s3://corpora/surgery; .* --private"):
        default_private_folder(open_store("s3://corpora/surgery"))


@pytest.mark.usefixtures("one_encoding")
def test_names_of_videos_and_cases_are_keyed_unless_the_source_is_public(
    files: Files, tmp_path: Path
) -> None:
    (video,) = files(range(1))
    plain = file_sha256(video.path)[:12]
    nameless = [
        Video(path=video.path, source=source, domain="other", case="", split="train", public=public)
        for source, public in (("lap", False), ("open", True))
    ]
    build_corpus(tmp_path / "corpus", nameless, private=fixed_key(tmp_path / "private"))
    opened = open_corpus(tmp_path / "corpus")
    names = {name: source.index.sample(0).clip for name, source in opened.items()}
    assert (names["open"].video, names["open"].case) == (plain, plain)
    assert names["lap"].video == names["lap"].case != plain

    # Another key gives another name.
    PrivateFolder(tmp_path / "other")
    build_corpus(tmp_path / "second", nameless, private=tmp_path / "other")
    again = open_corpus(tmp_path / "second")["lap"].index.sample(0).clip
    assert again.video not in (plain, names["lap"].video)


@pytest.mark.usefixtures("one_encoding")
def test_a_patient_has_one_name_in_all_sources(files: Files, tmp_path: Path) -> None:
    rows = [
        ("lap", "op-1", "Muster"),
        ("lap", "op-2", "Muster"),
        ("cat", "op-1", "Muster"),
        ("cat", "op-1", ""),
        ("lap", "op-1", ""),
    ]
    videos = [
        Video(
            path=video.path,
            source=source,
            domain="other",
            case=case,
            patient=patient,
            split="train",
        )
        for video, (source, case, patient) in zip(files(range(5)), rows, strict=True)
    ]
    build_corpus(tmp_path / "corpus", videos, private=fixed_key(tmp_path / "private"))
    opened = open_corpus(tmp_path / "corpus")
    lap, cat = (set(opened[name].index.column("case").to_pylist()) for name in ("lap", "cat"))
    assert len(lap) == len(cat) == 2
    assert len(lap & cat) == 1
