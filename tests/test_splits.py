"""Split files: their rules, and the cases that match."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation import read_split
from surgrec.shards import open_corpus
from surgrec.shards._index import SourceIndex
from surgrec.splits import CaseVideo, Rule, choose, corpus_videos, divide
from tests.support.samples import make_clips, write_corpus

PARTS = "name: x\ntrain: {stored: [train]}\ntest: {stored: [test]}\n"
VIDEOS = [
    CaseVideo(source=source, case=f"video{number:02d}", video=f"{source}-{number}", stored=stored)
    for source, stored in (("cholec80", "train"), ("m2cai16", "test"))
    for number in range(1, 81)
]


def rule(**conditions: list[str]) -> Rule:
    """Return a rule with these conditions only."""
    return Rule(**({"sources": [], "cases": [], "stored": []} | conditions))


def chosen(**conditions: list[str]) -> list[str]:
    """Return the names of the matching cases."""
    return [video.case_name for video in choose(rule(**conditions), VIDEOS, "here")]


def write(folder: Path, text: str) -> Path:
    """Write a split file; return its path."""
    path = folder / "split.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_patients_come_from_the_index_or_are_private_names(tmp_path: Path) -> None:
    clips = {name: make_clips(2, name) for name in ("alpha", "beta")}
    sources = open_corpus([write_corpus(tmp_path, clips)])
    assert {video.patient for video in corpus_videos(sources)} == {
        clip.case for each in clips.values() for clip in each if clip.case != clip.video
    }

    alpha = sources["alpha"]
    public = replace(alpha, entry=replace(alpha.entry, videos_public=2))
    assert {video.patient for video in corpus_videos({"alpha": public})} == {""}

    rows = alpha.index.num_rows
    table = alpha.index.table().append_column("patient", pa.array(["P"] * rows))
    named = replace(public, index=SourceIndex(table, "here"))
    assert {video.patient for video in corpus_videos({"alpha": named})} == {"P"}

    table = alpha.index.table().append_column("patient", pa.array(list(map(str, range(rows)))))
    table = table.set_column(table.column_names.index("video"), "video", pa.array(["v"] * rows))
    double = replace(alpha, index=SourceIndex(table, "here"))
    with pytest.raises(ConfigError, match=r"alpha/v has several values of patient \(0, 1\)"):
        corpus_videos({"alpha": double})


def test_a_split_file_has_two_rules_and_a_digest(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'name: halves\ntrain: {cases: ["video{01..40}"]}\ntest: {stored: [val, test]}\n'
    )
    split = read_split(path)
    assert split.rules == {
        "train": {"cases": ["video{01..40}"]},
        "test": {"stored": ["val", "test"]},
    }
    assert (split.name, len(split.sha256)) == ("halves", 64)
    path.write_text(path.read_text() + "# a comment\n")
    assert read_split(path).sha256 != split.sha256


def test_val_kind_and_source_are_optional(tmp_path: Path) -> None:
    plain = read_split(write(tmp_path, PARTS))
    assert (plain.val, plain.kind, plain.source) == (None, None, "")
    assert [*plain.rules] == ["train", "test"]

    text = f"{PARTS}val: {{cases: ['video{{79..81}}']}}\nkind: official\nsource: arXiv:1602.03012\n"
    split = read_split(write(tmp_path, text))
    assert [*split.rules] == ["train", "val", "test"]
    assert (split.kind, split.source) == ("official", "arXiv:1602.03012")
    parts = divide(split, VIDEOS)
    assert [video.case_name for video in parts.val] == [
        f"{source}/video{number}" for source in ("cholec80", "m2cai16") for number in (79, 80)
    ]
    assert (parts.absent, parts.named) == (["video81"], 3), "names of val are counted"
    assert not divide(plain, VIDEOS).val


def test_the_split_of_the_phantom_can_be_read() -> None:
    split = read_split(Path(__file__).parents[1] / "recipes/splits/phantom_phases.yaml")
    assert split.rules["train"]["stored"] == ["train"]
    assert split.rules["test"]["stored"] == ["val", "test"]


def test_a_case_must_meet_every_condition_by_any_of_its_patterns() -> None:
    assert chosen(sources=["chol*"], cases=["video{01..03}", "video80"]) == [
        "cholec80/video01",
        "cholec80/video02",
        "cholec80/video03",
        "cholec80/video80",
    ]
    assert len(chosen(stored=["train", "val"])) == 80
    assert chosen(stored=["test"], cases=["video1?"])[0] == "m2cai16/video10"


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("video{01..40}", 40),
        ("video{41..80}", 40),
        ("video{08..12}", 5),
        ("video{0..1}{1..2}", 4),
        ("*{1..3}", 24),
    ],
)
def test_ranges_expand_as_in_a_shell(pattern: str, count: int) -> None:
    assert len(chosen(sources=["cholec80"], cases=[pattern])) == count


def test_a_name_that_contains_wildcards_matches_itself() -> None:
    video = CaseVideo(source="local", case="case[7]", video="v", stored="train")
    assert choose(rule(cases=["case[7]"]), [video], "here") == [video]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"cases": ["vidoe07"]},
            r"here: no case of the corpus matches 'vidoe07'; did you mean 'video07'\?",
        ),
        ({"cases": ["video{90..99}"]}, r"matches 'video\{90..99\}'; did you mean 'video"),
        (
            {"sources": ["cholec8"]},
            r"no source of the corpus matches 'cholec8'; did you mean 'cholec80'\?",
        ),
        ({"sources": ["x"]}, r"no source of the corpus matches 'x'; it has cholec80, m2cai16"),
        (
            {"sources": ["cholec80"], "stored": ["test"]},
            "here: no case of the corpus meets all its conditions",
        ),
    ],
)
def test_a_condition_without_a_match_is_refused(
    conditions: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(**conditions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("- a", r"split.yaml is \['a'\]; give a mapping with the keys name, train, test"),
        ("nam: x", "unknown key 'nam'; did you mean 'name'"),
        (f"{PARTS}kind: published", "kind is 'published'; give one of official, convention, ours"),
        (f"{PARTS}kind: [ours]", r"kind is \['ours'\]; give one of"),
        (f"{PARTS}source: 1602.03012", "source is 1602.03012; give a text of at most 1000"),
        (f"{PARTS}definition: official", "definition is 'official'; leave the key out"),
        (f"{PARTS}source: {'x' * 1001}", "; give a text of at most 1000 characters"),
        (f"{PARTS}val: {{}}", "val has no condition; give at least one of sources, cases, stored"),
        (f"{PARTS}val: {{cases: ['a{{2..1}}']}}", "val, cases: the range in .* runs backwards"),
        ("name: x\ntrain: {stored: [train]}", "has no 'test'"),
        ("name: 7\ntrain: {}\ntest: {}", "name is 7"),
        (
            "name: x\ntrain: {}\ntest: {}",
            "train has no condition; give at least one of sources, cases, stored",
        ),
        (
            "name: x\ntrain: {case: [a]}\ntest: {}",
            "train: unknown key 'case'; did you mean 'cases'",
        ),
        ("name: x\ntrain: {cases: a}\ntest: {}", "cases is 'a'; give a list of strings"),
        (
            "name: x\ntrain: {cases: [1]}\ntest: {}",
            r"cases is \[1\]; give a list of strings, with numbers in quotes",
        ),
        (
            "name: x\ntrain: {stored: [tset]}\ntest: {}",
            "stored contains 'tset'; give one or several of train, val, test",
        ),
        (
            'name: x\ntrain: {cases: ["v{9..1}"]}\ntest: {}',
            r"the range in 'v\{9..1\}' runs backwards",
        ),
        ('name: x\ntrain: {cases: ["v{1..10000000000}"]}\ntest: {}', "more than 100,000 names"),
        (
            f"name: x\ntrain: {{cases: ['{'{1..1000}' * 4}']}}\ntest: {{}}",
            "more than 100,000 names",
        ),
        (
            "name: x\ntrain: {cases: ['a{1..50000}', 'b{1..50000}', c]}\ntest: {}",
            "train, cases: the ranges up to .* stand for more than 100,000 names; use smaller",
        ),
        (
            f"name: x\ntrain: {{cases: ['v{{1..{'9' * 5000}}}']}}\ntest: {{}}",
            "more than 12 digits",
        ),
        (
            "name: x\ntrain: {stored: [train]}\ntrain: {stored: [val]}\ntest: {}",
            "line 3: the key 'train' stands twice",
        ),
        ("name: x\ntrain: {class_path: os.system}\ntest: {}", "unknown key 'class_path'"),
        ("name: !!python/object/apply:os.getcwd []", "line 1: the tag .* is not known"),
    ],
)
def test_an_invalid_split_file_is_refused_in_one_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        read_split(write(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml cannot be read \(No such file"):
        read_split(tmp_path / "nowhere.yaml")


def test_cases_missing_from_the_corpus_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'name: x\ntrain: {cases: ["video{01..40}"]}\ntest: {cases: ["video{79..85}"]}\n'
    )
    parts = divide(read_split(path), VIDEOS)
    assert parts.absent == [f"video{number}" for number in range(81, 86)]
    assert parts.named == 47
    assert len({video.case for video in parts.test}) == 2


def test_the_videos_of_a_corpus_have_stored_clips(tiny_corpus: Path) -> None:
    videos = corpus_videos(open_corpus([tiny_corpus]))
    assert [video.source for video in videos] == ["alpha"] * 2 + ["beta"] * 2 + ["gamma"] * 2
    assert len({video.video for video in videos}) == 6
    assert sorted(video.stored for video in videos if video.source == "beta") == ["train", "val"]
