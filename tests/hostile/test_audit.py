"""Hostile audits: encoders and corpora that could hide what the encoder was pretrained on."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from surgrec.models import Encoder, save_encoder
from surgrec.runs.drawn import record_drawn
from surgrec.shards import Clip, open_corpus
from surgrec.stream import Mixture, Stream
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.evaluations import TINY, write_labels
from tests.support.samples import CLIP, write_corpus
from tests.support.videos import make_tiny_corpus

Record = Mapping[str, Any] | None

RULES = "name: split\ntrain: {stored: [val]}\ntest: {stored: [test]}\n"
TRAIN_CASES = ("t1", "t2")


# Inputs


def clip(case: str, video: int, source: str = "alpha", split: str = "test", **other: Any) -> Clip:
    return replace(CLIP, source=source, case=case, video=f"{video:012x}", split=split, **other)


def corpus(root: Path, clips: Sequence[Clip], train_source: str = "alpha") -> Path:
    """Write a corpus of these clips and of two more cases for the train part, with labels."""
    train = [
        clip(case, 900 + number, train_source, "val") for number, case in enumerate(TRAIN_CASES)
    ]
    by_source: dict[str, list[Clip]] = {}
    for each in [*train, *clips]:
        by_source.setdefault(each.source, []).append(each)
    write_corpus(root, by_source)
    write_labels(root)
    return root


def drawn(folder: Path, clips: Sequence[Clip], name: str = "then") -> Record:
    """Return the record of a run that drew these clips, from a corpus of its own."""
    by_source: dict[str, list[Clip]] = {}
    for each in clips:
        by_source.setdefault(each.source, []).append(replace(each, split="train"))
    sources = open_corpus([write_corpus(folder / name, by_source)])
    return record_drawn(Stream(sources, Mixture(), 0), 5000, {})


DRAWN = [clip("1", 1), clip("2", 2), clip("3", 3)]
"""Case 3 has another video, 33, which the run did not draw."""


def encoder(folder: Path, provenance: Mapping[str, Any]) -> Path:
    path = folder / "encoder.safetensors"
    save_encoder(Encoder(TINY), path, {"config": {"sampling_fps": 4.0}, **provenance})
    return path


def evaluate(folder: Path, weights: Path, rules: str = RULES, *more: object) -> list[object]:
    split = folder / "split.yaml"
    split.write_text(rules, encoding="utf-8")
    roots = more[:1] if more and isinstance(more[0], Path) else ()
    return [
        *("surgrec", "evaluate", folder / "corpus", *roots, "--encoder", weights),
        *("--task", "phase", "--split", split, "--out", folder / "out", "--device", "cpu"),
        *more[len(roots) :],
    ]


def later(*clips: Clip) -> Callable[[Path], list[object]]:
    """Evaluate an encoder that drew DRAWN on a corpus of these clips."""

    def make(folder: Path) -> list[object]:
        corpus(folder / "corpus", clips)
        recorded = {"drawn": drawn(folder, DRAWN), "init_from": None}
        return evaluate(folder, encoder(folder, recorded))

    return make


def renamed(*clips: Clip) -> list[Clip]:
    return [replace(each, source="omega") for each in clips]


def rekeyed(*clips: Clip) -> list[Clip]:
    return [replace(each, case=f"{each.case} by another key") for each in clips]


def chain(folder: Path, *records: Record, name: str = "vitl.pt") -> dict[str, Any]:
    """Return a provenance of a run and its initial weights, the run's record first."""
    provenance: dict[str, Any] = {}
    for number, record in reversed(list(enumerate(records))):
        link = {"drawn": record, "init_from": provenance or None, "name": f"{number} {name}"}
        provenance = link
    return provenance


def with_chain(*clips: Clip, records: Callable[[Path], Sequence[Record]]) -> Any:
    def make(folder: Path) -> list[object]:
        corpus(folder / "corpus", clips)
        return evaluate(folder, encoder(folder, chain(folder, *records(folder))))

    return make


def damaged(record: object) -> Any:
    def make(folder: Path) -> list[object]:
        corpus(folder / "corpus", [clip("8", 8), clip("9", 9)])
        return evaluate(folder, encoder(folder, {"drawn": record, "init_from": None}))

    return make


def split(rules: str) -> Any:
    def make(folder: Path) -> list[object]:
        corpus(folder / "corpus", [clip("8", 8), clip("9", 9)])
        known = {"drawn": {"sources": {}}, "init_from": None}
        return evaluate(folder, encoder(folder, known), rules)

    return make


def two_corpora(folder: Path) -> list[object]:
    corpus(folder / "corpus", [clip("8", 8), clip("9", 9)])
    write_corpus(folder / "second", {"beta": [clip("x", 1, "beta"), clip("y", 7, "beta")]})
    write_labels(folder / "second")
    weights = encoder(folder, {"drawn": drawn(folder, DRAWN), "init_from": None})
    return evaluate(folder, weights, RULES, folder / "second")


def substitute_only(folder: Path) -> list[object]:
    clips = [clip("1", 1, split="train"), clip("2", 2, split="train")]
    sources = open_corpus([write_corpus(folder / "then", {"alpha": clips})])
    stream = Stream(sources, Mixture(), 0)
    (draw,) = stream.draws(np.arange(1))
    substitute = stream.key(next(stream.substitutes(draw)))
    record = record_drawn(stream, 1, {"alpha": {substitute}})
    corpus(folder / "corpus", [clip("1", 1), clip("2", 2)])
    return evaluate(folder, encoder(folder, {"drawn": record, "init_from": None}))


@cache
def real_corpus() -> Path:
    root = make_tiny_corpus(Path(mkdtemp()))
    write_labels(root)
    return root


def real(provenance: Callable[[Path], Mapping[str, Any]], *options: object) -> Any:
    """Evaluate on clips that can be decoded."""

    def make(folder: Path) -> list[object]:
        (folder / "corpus").symlink_to(real_corpus())
        rules = "name: s\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"
        return evaluate(folder, encoder(folder, provenance(folder)), rules, *options)

    return make


def drawn_from(*sources: str) -> Callable[[Path], Mapping[str, Any]]:
    def provenance(folder: Path) -> Mapping[str, Any]:
        opened = open_corpus([real_corpus()])
        stream = Stream({name: opened[name] for name in sources}, Mixture(), 0)
        return {"drawn": record_drawn(stream, 5000, {}), "init_from": None}

    return provenance


# Checks


def states(seen: int, unknown: int, *overrides: str) -> Callable[[Path, Run], None]:
    """Return a check of the counts and the overrides in the files of the evaluation."""

    def check(folder: Path, run: Run) -> None:
        record = json.loads((folder / "out/evaluation.json").read_bytes())
        counts = {row["check"]: row["found"] for row in record["audit"]}
        assert counts["test cases that the encoder was pretrained on"] == seen
        assert counts["test cases for which this is unknown"] == unknown
        assert len(record["overrides"]) == len(overrides)
        for sentence, words in zip(record["overrides"], overrides, strict=True):
            assert words in sentence
        assert all(words in " ".join(run.out.split()) for words in overrides)

    return check


def pretrained(seen: int, of: int) -> str:
    return f"the encoder was pretrained on {seen} of {of} test cases"


def unknown(number: int, of: int, why: str = "") -> str:
    return f"whether the encoder was pretrained on {number} of {of} test cases is unknown ({why}"


REFUSED: Mapping[str, tuple[Callable[[Path], Sequence[object]], str]] = {
    # The corpus changed since.
    "an unchanged corpus shows the overlap": (later(*DRAWN), pretrained(3, 3)),
    "a withdrawn clip does not hide the others": (later(*DRAWN[:2]), pretrained(2, 2)),
    "a withdrawn video does not hide its case": (
        later(DRAWN[0], clip("3", 33)),
        pretrained(2, 2),
    ),
    "further cases do not hide the drawn ones": (
        later(DRAWN[0], clip("8", 8), clip("9", 9)),
        pretrained(1, 3),
    ),
    "another encoding does not hide a case": (
        later(*(replace(each, fps=4.0, num_frames=40, config="0" * 12) for each in DRAWN)),
        pretrained(3, 3),
    ),
    "another cut into clips does not hide a case": (
        later(*(replace(each, start_s=3.0, duration_s=2.0, num_frames=16) for each in DRAWN)),
        pretrained(3, 3),
    ),
    "a renamed source does not hide a case": (later(*renamed(*DRAWN)), pretrained(3, 3)),
    "a renamed source does not hide the other video of a case": (
        later(*renamed(DRAWN[0], DRAWN[1], clip("3", 33))),
        pretrained(3, 3),
    ),
    "another private key does not hide a case": (later(*rekeyed(*DRAWN)), pretrained(3, 3)),
    "another private key and name do not hide a case": (
        later(*renamed(*rekeyed(*DRAWN))),
        pretrained(3, 3),
    ),
    "a case is found by its video although all others are gone": (
        later(*rekeyed(clip("3", 33), DRAWN[1]), clip("9", 9)),
        pretrained(1, 3),
    ),
    "a corrected case name does not hide it": (
        later(replace(DRAWN[0], case="1b"), *DRAWN[1:]),
        pretrained(3, 3),
    ),
    "a video that moved to another case makes both seen": (
        later(*DRAWN[1:], clip("8", 1), clip("1", 11)),
        pretrained(4, 4),
    ),
    "a new file of a drawn case is that case": (
        later(clip("1", 101), clip("2", 102)),
        pretrained(2, 2),
    ),
    "a source that was divided shows both halves": (
        later(replace(DRAWN[0], source="one"), replace(DRAWN[1], source="two")),
        pretrained(2, 2),
    ),
    "sources that were joined show all cases": (
        with_chain(
            clip("1", 1),
            clip("b", 7),
            records=lambda folder: [drawn(folder, [clip("1", 1, "one"), clip("b", 7, "two")])],
        ),
        pretrained(2, 2),
    ),
    "new videos of drawn cases in a renamed source are unknown": (
        later(clip("1", 101, "omega"), clip("2", 102, "omega")),
        unknown(2, 2, "it drew cases of the names of omega/1, omega/2 from a source of another"),
    ),
    "a drawn case name in a source beside the renamed one is unknown": (
        later(clip("8", 8), clip("3", 103, "omega")),
        unknown(1, 2, "it drew cases of the names of omega/3"),
    ),
    "new pseudonyms of a renamed private source are unknown": (
        with_chain(
            clip("a" * 12, 7, "omega"),
            clip("b" * 12, 8, "omega"),
            records=lambda folder: [drawn(folder, [clip("c" * 12, 1), clip("d" * 12, 2)])],
        ),
        unknown(2, 2, "the pseudonyms of omega cannot be compared with those of drawn cases"),
    ),
    "new pseudonyms of a source of the same name are unknown": (
        with_chain(
            clip("a" * 12, 7),
            clip("b" * 12, 8),
            records=lambda folder: [drawn(folder, [clip("c" * 12, 1), clip("d" * 12, 2)])],
        ),
        unknown(2, 2, "the pseudonyms of alpha cannot be compared with those of drawn cases"),
    ),
    "a key of another length is refused": (
        damaged({"sources": {}, "key": "ab"}),
        "its key is not 32 hexadecimal digits",
    ),
    "pseudonymous sources that are a text are refused": (
        damaged({"sources": {}, "pseudonymous": "a"}),
        "'pseudonymous' is not a list",
    ),
    "a drawn video in a second corpus is found": (two_corpora, pretrained(1, 4)),
    "the substitute of a bad sample was drawn": (substitute_only, pretrained(2, 2)),
    "a case name that turns the direction of text is named": (
        later(clip("a error: b\u202e", 1), clip("9", 9)),
        pretrained(1, 2),
    ),
    "a case name of a thousand letters is cut short": (
        later(clip("c" * 1000, 1), clip("9", 9)),
        pretrained(1, 2),
    ),
    # Initial weights.
    "the initial weights count": (
        with_chain(*DRAWN, records=lambda folder: [{"sources": {}}, drawn(folder, DRAWN)]),
        pretrained(3, 3),
    ),
    "the initial weights of the initial weights count": (
        with_chain(
            *DRAWN,
            records=lambda folder: [{"sources": {}}, {"sources": {}}, drawn(folder, DRAWN[:1])],
        ),
        pretrained(1, 3),
    ),
    "initial weights without a record are unknown": (
        with_chain(clip("8", 8), clip("9", 9), records=lambda folder: [{"sources": {}}, None]),
        unknown(2, 2, "1 vitl.pt has no record of training videos"),
    ),
    "a gap in the middle of a chain is unknown": (
        with_chain(
            clip("8", 8),
            clip("9", 9),
            records=lambda folder: [{"sources": {}}, None, {"sources": {}}],
        ),
        unknown(2, 2, "1 vitl.pt has no record"),
    ),
    "a known overlap comes before an unknown one": (
        with_chain(*DRAWN, records=lambda folder: [drawn(folder, DRAWN[:1]), None]),
        pretrained(1, 3),
    ),
    "a chain of forty weights is followed to its end": (
        with_chain(*DRAWN, records=lambda folder: [*[{"sources": {}}] * 39, drawn(folder, DRAWN)]),
        pretrained(3, 3),
    ),
    "a chain without an end in sight is refused": (
        with_chain(*DRAWN, records=lambda folder: [{"sources": {}}] * 500),
        "nest",
    ),
    # Files without a record.
    "an encoder file of an earlier version is unknown": (
        damaged(None),
        unknown(2, 2, "encoder has no record"),
    ),
    # Damaged records.
    "a record that is a list is refused": (damaged([]), "provenance.drawn is a list"),
    "a record that is a number is refused": (damaged(7), "provenance.drawn is a whole number"),
    "sources that are a list are refused": (damaged({"sources": []}), "no mapping 'sources'"),
    "digests that are numbers are refused": (damaged({"sources": {"a": 5}}), "not base64"),
    "digests that are no base64 are refused": (damaged({"sources": {"a": "%%%"}}), "not base64"),
    "half a digest is refused": (
        damaged({"sources": {"a": base64.b64encode(b"x" * 13).decode()}}),
        "13 bytes are not pairs of digests",
    ),
    # Splits.
    "a split without a test case in the corpus is refused": (
        split(RULES.replace("[test]", "[train]")),
        "no case of the corpus meets all its conditions",
    ),
    "a source that no corpus has is refused": (
        split("name: s\ntrain: {stored: [val]}\ntest: {sources: [alhpa]}\n"),
        "did you mean 'alpha'?",
    ),
    "a pattern that matches no case is refused": (
        split('name: s\ntrain: {stored: [val]}\ntest: {cases: ["case*"]}\n'),
        "no case of the corpus matches 'case*'",
    ),
    "a range that names no case is refused": (
        split('name: s\ntrain: {stored: [val]}\ntest: {cases: ["video{41..80}"]}\n'),
        "no case of the corpus matches 'video{41..80}'",
    ),
    "a range of ten thousand million cases is refused": (
        split('name: s\ntrain: {stored: [val]}\ntest: {cases: ["{1..10000000000}"]}\n'),
        "stand for more than 100,000 names",
    ),
    "four ranges of a thousand cases are refused": (
        split(f'name: s\ntrain: {{stored: [val]}}\ntest: {{cases: ["{"{1..1000}" * 4}"]}}\n'),
        "stand for more than 100,000 names",
    ),
    "shell patterns by the thousand are tried": (
        split('name: s\ntrain: {stored: [val]}\ntest: {cases: ["{1..9999}*[!a]?"]}\n'),
        "no case of the corpus matches '{1..9999}*[!a]?'; it has 8, 9, t1, t2",
    ),
    "a range of numbers of five thousand digits is refused": (
        split(f'name: s\ntrain: {{stored: [val]}}\ntest: {{cases: ["{{1..{"9" * 5000}}}"]}}\n'),
        "has numbers of more than 12 digits",
    ),
    "five thousand ranges of one number are expanded": (
        split(f'name: s\ntrain: {{stored: [val]}}\ntest: {{cases: ["{"{1..1}" * 5000}"]}}\n'),
        "no case of the corpus matches",
    ),
    "a test part of one case is refused": (
        split('name: s\ntrain: {stored: [val]}\ntest: {cases: ["8"]}\n'),
        "test has 1 case (alpha/8)",
    ),
    "equal parts are refused": (
        split("name: s\ntrain: {stored: [test]}\ntest: {stored: [test]}\n"),
        "that train has, too",
    ),
    "parts that share a case are refused": (
        split("name: s\ntrain: {stored: [val, test]}\ntest: {stored: [test]}\n"),
        "of 2 cases that train has, too (alpha/8, alpha/9)",
    ),
    "a rule without a condition is refused": (
        split("name: s\ntrain: {}\ntest: {stored: [test]}\n"),
        "has no condition",
    ),
}

KINDS = [
    *(Kind(name=name, make=make) for name, (make, _) in REFUSED.items()),
    Kind(
        name="a pretraining on other cases is stated",
        make=real(drawn_from("alpha", "gamma")),
        right=states(0, 0),
    ),
    Kind(
        name="an allowed overlap stands in the result",
        make=real(drawn_from("beta"), "--allow_pretraining_overlap", "true"),
        right=states(
            1, 0, "allowed by --allow_pretraining_overlap: the encoder was pretrained on 1"
        ),
    ),
    Kind(
        name="allowed unknown data stand in the result",
        make=real(lambda folder: {}, "--allow_unknown_pretraining", "true"),
        right=states(0, 2, "allowed by --allow_unknown_pretraining: whether the encoder was"),
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    if kind.name in REFUSED:
        assert REFUSED[kind.name][1] in run.errors
