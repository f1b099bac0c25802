"""Files of our own that are damaged, forged, or something else under their name."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.damage import change, damaged, kinds_of, nested, replaced, right_if
from tests.hostile.harness import Kind, Run, try_kind


def info(folder: Path) -> Sequence[object]:
    return ["surgrec-shard", "info", folder / "corpus"]


def mix(folder: Path) -> Sequence[object]:
    return ["surgrec", "mix", folder / "corpus", "--run", folder / "run"]


def report(folder: Path) -> Sequence[object]:
    return ["surgrec", "report", folder / "run", "--out", folder / "report.html"]


def lines(path: Path, *changes: tuple[int, bytes]) -> None:
    """Replace lines of a file by their numbers."""
    rows = path.read_bytes().splitlines(keepends=True)
    for number, line in changes:
        rows[number] = line
    path.write_bytes(b"".join(rows))


def row(**values: Any) -> bytes:
    """Return a row of metrics.jsonl with other values."""
    return json.dumps({"step": 1, "consumed": {"alpha": 4, "beta": 4}, **values}).encode() + b"\n"


def metrics_kind(words: str, *changes: tuple[int, bytes], right: Any = None) -> Kind:
    return Kind(
        name=f"metrics.jsonl {words}",
        make=damaged("run/metrics.jsonl", lambda path: lines(path, *changes), mix),
        right=right,
    )


def in_place_of_metrics(words: str, damage: Any) -> Kind:
    return Kind(name=f"metrics.jsonl {words}", make=damaged("run/metrics.jsonl", damage, mix))


def wrote_report(folder: Path, run: Run) -> None:
    assert "<html" in (folder / "report.html").read_text()


def corpus_kind(words: str, key: str, value: Any) -> Kind:
    return Kind(
        name=f"corpus.json {words} is refused",
        make=damaged("corpus/corpus.json", lambda path: change(path, key, value), info),
    )


def evaluation_kind(words: str, key: str, value: Any) -> Kind:
    file = "run/evaluation/phase/evaluation.json"
    return Kind(
        name=f"evaluation.json {words} is refused",
        make=damaged(file, lambda path: change(path, key, value), report),
    )


CORPUS = [
    *kinds_of("corpus/corpus.json", "a corpus.json", info, "sources", "sources.alpha.hours"),
    corpus_kind("of a later version", "schema_version", 99),
    corpus_kind("with a text as its version", "schema_version", "2"),
    corpus_kind("with a negative number of samples", "sources.alpha.samples", -1),
    corpus_kind("with a size of 2^70", "sources.alpha.bytes", 2**70),
    corpus_kind("with fewer samples than its index", "sources.alpha.samples", 3),
    corpus_kind("with a source that leads out of it", "sources", {"../run": {}}),
    corpus_kind("with a shard that is no object", "sources.alpha.shards.0", "a.tar"),
    corpus_kind("with an unknown field of a shard", "sources.alpha.shards.0.md5", "ab"),
    Kind(
        name="a corpus.json with a byte order mark is read",
        make=damaged(
            "corpus/corpus.json",
            lambda path: path.write_bytes(path.read_text().encode("utf-8-sig")),
            info,
        ),
        right=right_if("alpha"),
    ),
]

METRICS = [
    metrics_kind(
        "with a last line that was cut short is counted without it",
        (3, b'{"step": 3, "consu'),
        right=right_if("metrics.jsonl, line 4 is cut short and is left out"),
    ),
    metrics_kind(
        "with NUL bytes in place of its last line is counted without it",
        (3, bytes(300)),
        right=right_if("metrics.jsonl, line 4 is cut short and is left out"),
    ),
    metrics_kind("with a line of garbage is refused", (1, b"garbage\n")),
    metrics_kind("with a line of NUL bytes is refused", (1, bytes(300) + b"\n")),
    metrics_kind("with an empty line is refused", (1, b"\n")),
    metrics_kind("with a list as a line is refused", (1, b"[1]\n")),
    metrics_kind("with a line nested 100,000 deep is refused", (1, b"[" * 100_000 + b"\n")),
    metrics_kind("with two rows in a line is refused", (1, row().strip() + row())),
    metrics_kind("with a step twice is refused", (1, row(step=0))),
    metrics_kind("with steps out of order is refused", (2, row(step=0))),
    metrics_kind("with a negative step is refused", (1, row(step=-1))),
    metrics_kind("with a step of 10^18 is refused", (1, row(step=10**18))),
    metrics_kind("with a step of 1.5 is refused", (1, row(step=1.5))),
    metrics_kind("with a negative count is refused", (1, row(consumed={"alpha": -6}))),
    metrics_kind("with NaN as a count is refused", (1, row(consumed={"alpha": float("nan")}))),
    metrics_kind("with a list of counts is refused", (1, row(consumed=[6, 2]))),
    metrics_kind("with a count for an unknown source is refused", (1, row(consumed={"zeta": 8}))),
    metrics_kind("with a key twice in a row is refused", (1, b'{"step": 1, "step": 2}\n')),
    metrics_kind("with a row in Latin-1 is refused", (1, b'{"step": 1, "\xe9": 1}\n')),
    in_place_of_metrics("that is empty is refused", lambda path: path.write_bytes(b"")),
    in_place_of_metrics("that is a pipe is refused", lambda path: replaced(path, os.mkfifo)),
    in_place_of_metrics("that is a folder is refused", lambda path: replaced(path, Path.mkdir)),
    in_place_of_metrics(
        "that links to itself is refused", lambda path: replaced(path, lambda p: p.symlink_to(p))
    ),
    in_place_of_metrics(
        "with one line of 1 TiB is refused",
        lambda path: replaced(path, lambda p: p.touch() or os.truncate(p, 1 << 40)),
    ),
    Kind(
        name="a report of metrics.jsonl with a text as a loss is refused",
        make=damaged("run/metrics.jsonl", lambda path: lines(path, (1, row(loss="0.5"))), report),
    ),
    Kind(
        name="a report refuses starts.jsonl with a line of garbage",
        make=damaged("run/starts.jsonl", lambda path: lines(path, (0, b"garbage\n")), report),
    ),
    Kind(
        name="a report refuses starts.jsonl with a row of another type",
        make=damaged("run/starts.jsonl", lambda path: lines(path, (0, b'{"step": 1}\n')), report),
    ),
    Kind(
        name="a report refuses quarantine.jsonl that is a pipe",
        make=damaged("run/quarantine.jsonl", os.mkfifo, report),
    ),
    Kind(
        name="a report refuses quarantine.jsonl without steps",
        make=damaged(
            "run/quarantine.jsonl", lambda path: path.write_text('{"key": "a"}\n'), report
        ),
    ),
]

PLAN = [
    *kinds_of("run/plan.json", "a plan.json", report, "sources", "sources.0.share"),
    Kind(
        name="a plan.json with a number as an address is refused",
        make=damaged("run/plan.json", lambda path: change(path, "corpora", [1]), report),
    ),
]

EVALUATION = [
    *kinds_of(
        "run/evaluation/phase/evaluation.json",
        "an evaluation.json",
        report,
        "verdicts",
        "scores.0.metrics.macro_f1.value",
    ),
    evaluation_kind("of a later format", "format", 3),
    evaluation_kind("with an unknown classifier", "scores.0.classifier", "svm"),
    evaluation_kind("with an unknown primary metric", "primary_metric", "magic"),
    evaluation_kind("with a metric that no score has", "metrics.0", "magic"),
    evaluation_kind("with a text as a score", "scores.0.metrics.macro_f1.value", "0.5"),
    evaluation_kind("with an unknown verdict", "verdicts.0.verdict", "best"),
    evaluation_kind("with unknown features", "scores.0.features", "magic"),
    evaluation_kind("without counts of a part", "counts.test", {}),
    evaluation_kind("with a nested class", "classes.0.value", nested(20)),
]

CONFIG = [
    Kind(
        name=f"the config of a run with {words} is refused",
        make=damaged("run/config.yaml", lambda path, text=text: path.write_text(text), mix),
    )
    for words, text in {
        "a class_path as its mixture": "seed: 1\nmixture: {class_path: os.system}\n",
        "a class_path as a level": "seed: 1\nmixture: {levels: [{class_path: os.system}]}\n",
        "a Python tag": "seed: 1\nmixture: !!python/object/apply:os.system [ls]\n",
        "a text as its seed": "seed: one\nmixture: {}\n",
        "no mixture": "seed: 1\n",
        "a key twice": "seed: 1\nseed: 2\nmixture: {}\n",
        "a nested mixture": "seed: 1\nmixture: " + "[" * 5000 + "\n",
        "aliases that multiply": "a: &a [0,0,0,0,0,0,0,0,0]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nmixture: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nseed: 1\n",
    }.items()
]

KINDS = [
    *CORPUS,
    *METRICS,
    *PLAN,
    *EVALUATION,
    *CONFIG,
    Kind(
        name="a report of an undamaged run is written",
        make=damaged("run/plan.json", lambda path: None, report),
        right=wrote_report,
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
