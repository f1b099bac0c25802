"""Hostile reports: names, numbers and sizes that could turn, break or swell a page."""

import html.parser
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.harness import Kind, Run, try_kind
from tests.support.logged_runs import make_evaluation, make_run
from tests.support.samples import make_clips, write_corpus

Change = Callable[[Any], None]
Make = Callable[[Path], Sequence[object]]

SCRIPT = "<script>alert(1)</script>"
ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "link", "audio", "video", "input"}
HIDDEN = {*map(chr, range(32)), "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff"} - {"\t", "\n"}


# Inputs


def run_folder(folder: Path, name: str = "run", steps: int = 3) -> Path:
    """Write a run of a few steps, and its corpus, whose clips cannot be decoded."""
    corpus = folder / "corpus"
    if not corpus.exists():
        clips = {source: make_clips(4, source) for source in ("alpha", "gamma")}
        write_corpus(corpus, clips)
    return make_run(folder / name, corpus, None, steps=steps)


def report(*runs: Path) -> list[object]:
    return ["surgrec", "report", *runs, "--out", "report.html"]


def edit_json(path: Path, change: Change) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_rows(path: Path, change: Change) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def plan(change: Change) -> Make:
    """Make a run whose plan.json is changed."""

    def make(folder: Path) -> Sequence[object]:
        run = run_folder(folder)
        edit_json(run / "plan.json", change)
        return report(run)

    return make


def metrics(change: Change, steps: int = 3) -> Make:
    """Make a run whose metrics.jsonl is changed."""

    def make(folder: Path) -> Sequence[object]:
        run = run_folder(folder, steps=steps)
        edit_rows(run / "metrics.jsonl", change)
        return report(run)

    return make


def every_row(**values: object) -> Change:
    return lambda rows: [row.update(values) for row in rows]


def evaluation(change: Change, count: int = 1) -> Make:
    """Make a run with evaluations that are changed."""

    def make(folder: Path) -> Sequence[object]:
        run = run_folder(folder)
        content = make_evaluation()
        change(content)
        for number in range(count):
            path = run / f"evaluation/task-{number}/evaluation.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(content), encoding="utf-8")
        return report(run)

    return make


def named(name: str) -> Make:
    """Make a run whose folder has this name."""
    return lambda folder: report(run_folder(folder, name))


def config(content: bytes) -> Make:
    def make(folder: Path) -> Sequence[object]:
        run = run_folder(folder)
        (run / "config.yaml").write_bytes(content)
        return report(run)

    return make


def corpus_file(change: Change) -> Make:
    def make(folder: Path) -> Sequence[object]:
        run = run_folder(folder)
        edit_json(folder / "corpus/corpus.json", change)
        return report(run)

    return make


def put(path: Sequence[str | int], value: object) -> Change:
    """Return a change of one value."""

    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


def many_sources(content: Any) -> None:
    content["sources"] = [
        content["sources"][0] | {"source": f"source-{number}", "share": 1e-4}
        for number in range(10_000)
    ]


def corpus_of_many_sources(folder: Path) -> Sequence[object]:
    clips = {f"s{number}": make_clips(1, f"s{number}") for number in range(60)}
    write_corpus(folder / "corpus", clips)
    return report(make_run(folder / "run", folder / "corpus", None, steps=3))


def clips_with_hostile_names(folder: Path) -> Sequence[object]:
    clips = [replace(clip, case=SCRIPT, procedure=SCRIPT, view=SCRIPT) for clip in make_clips(4)]
    write_corpus(folder / "corpus", {"alpha": clips})
    return report(make_run(folder / "run", folder / "corpus", None, steps=3))


def pipe_in_place_of_the_metrics(folder: Path) -> Sequence[object]:
    run = run_folder(folder)
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    return report(run)


def page_in_place_of_a_folder(folder: Path) -> Sequence[object]:
    (folder / "report.html").mkdir()
    return report(run_folder(folder))


def linked_twice(folder: Path) -> Sequence[object]:
    (folder / "link").symlink_to(run_folder(folder))
    return report(folder / "run", folder / "link")


def runs_of_one_name(folder: Path) -> Sequence[object]:
    return report(*(run_folder(folder, f"deep-{number}/run", steps=1) for number in range(6)))


# Checks


class Page(html.parser.HTMLParser):
    """The tags, addresses and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.faults: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            is_address = name in ("src", "href", "xlink:href", "action", "poster", "srcset")
            if name.startswith("on") or (
                is_address and not str(value).startswith(("data:image/", "#"))
            ):
                self.faults.append(f"{tag} {name}={value}")
            self.words.append(str(value))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shows(*words: str, most_bytes: int = 3_000_000) -> Callable[[Path, Run], None]:
    """Return a check: the page is safe, is not large, and has these words as text."""

    def check(folder: Path, run: Run) -> None:
        data = (folder / "report.html").read_bytes()
        assert len(data) < most_bytes, len(data)
        text = data.decode("utf-8")
        page = Page(text)
        assert not page.tags & ACTIVE
        assert not page.faults
        assert not HIDDEN & set(text)
        everything = " ".join(" ".join(page.words).split())
        for word in words:
            assert word in everything, word
        assert "Warning" not in run.errors, run.errors

    return check


def text_kind(name: str, make: Callable[[str], Make], text: str = SCRIPT, shown: str = "") -> Kind:
    return Kind(name=name, make=make(text), right=shows(shown or text))


POSITIONS: Mapping[str, Callable[[str], Make]] = {
    "a task": lambda text: evaluation(put(["task"], text)),
    "the name of a split": lambda text: evaluation(put(["split", "name"], text)),
    "a rule of a split": lambda text: evaluation(put(["split", "rule"], {"test": {"cases": text}})),
    "a protocol": lambda text: evaluation(put(["protocol"], text)),
    "a class": lambda text: evaluation(put(["classes", 0, "value"], text)),
    "a check of the audit": lambda text: evaluation(put(["audit", 0, "check"], text)),
    "the name of a classifier": lambda text: evaluation(put(["classifiers", "knn"], text)),
    "an override": lambda text: evaluation(put(["overrides"], [text])),
    "the digest of a source": lambda text: evaluation(put(["corpus", "digests"], {text: text})),
    "a planned source": lambda text: plan(put(["sources", 0, "source"], text)),
    "a planned domain": lambda text: plan(put(["sources", 0, "domain"], text)),
    "an address of a corpus": lambda text: plan(put(["corpora"], [text])),
    "a source in the log": lambda text: metrics(every_row(loss_by_source={text: 0.5, "b": 1.0})),
    "a config": lambda text: config(f"seed: 1 # {text}\n".encode()),
    "a domain of the corpus": lambda text: corpus_file(put(["sources", "alpha", "domain"], text)),
}

PAYLOADS = {
    "an attribute that ends early": ('"><img src=x onerror=alert(1)>', ""),
    "the end of a style": ("</style><style>*{display:none}</style>", ""),
    "the end of a picture": ("</text></svg><svg onload=alert(1)>", ""),
    "a template expression": ("{{ 7 * 7 }}{% raw %}", ""),
    "markup of the terminal": ("[bold red]x[/] [link=file:///etc]y", ""),
    "an override of the direction": ("case\u202etxt.7", r"case\u202etxt.7"),
    "an isolate without an end": ("\u2066\u2067case", r"\u2066\u2067case"),
    "characters without width": ("ca\u200bse\ufeff", r"ca\u200bse\ufeff"),
    "control characters": ("a\x1b[31m\x00\x08b", r"a\x1b[31m\x00\x08b"),
    "letters from right to left": ("תווית של מקרה", ""),
    "glyphs that the measuring font lacks": ("手術ビデオ 👩🏽‍⚕️", ""),
    "formulas": (r"$\frac{1}{0}$ %s %(x)d {0}", ""),
    "entities": ("&lt;b&gt;&#60;&amp;", ""),
    "a comment and a CDATA section": ("<!-- x --> ]]> <![CDATA[", ""),
    "an address that runs a script": ("javascript:alert(1)//data:text/html,<b>", ""),
    "a name of ten thousand letters": ("W" * 10_000, ""),
    "many lines": ("one\ntwo\r\nthree\u2028four", r"three\u2028four"),
}

KINDS = [
    *(
        text_kind(f"{position} that is a script stays text", make)
        for position, make in POSITIONS.items()
    ),
    *(
        text_kind(f"a class and its charts survive {name}", POSITIONS["a planned source"], *texts)
        for name, texts in PAYLOADS.items()
    ),
    # Names of files.
    Kind(
        name="a run folder that is markup stays text",
        make=named('<b onclick="x">&'),
        right=shows('Run <b onclick="x">&'),
    ),
    Kind(
        name="a run folder that is not UTF-8 is shown with escapes",
        make=named(os.fsdecode(b"run-\xff\xfe")),
        right=shows(r"run-\udcff\udcfe"),
    ),
    Kind(
        name="a run folder of a turned name is shown with escapes",
        make=named("run\u202e7"),
        right=shows(r"run\u202e7"),
    ),
    Kind(name="a run that is linked twice is refused", make=linked_twice),
    Kind(name="a page in place of which a folder is", make=page_in_place_of_a_folder),
    Kind(name="a pipe in place of the log is refused", make=pipe_in_place_of_the_metrics),
    Kind(
        name="runs of one name are told apart",
        make=runs_of_one_name,
        right=shows("Run deep-0/run", "Run deep-5/run"),
    ),
    # Numbers.
    Kind(
        name="losses that are not finite leave the chart empty",
        make=metrics(every_row(loss=float("nan"), loss_by_source={"alpha": float("inf")})),
        right=shows("loss: nothing was logged", "loss by source: nothing was logged"),
    ),
    Kind(
        name="losses at the end of the range of numbers have an axis",
        make=metrics(every_row(loss=1.7e308)),
        right=shows("loss"),
    ),
    Kind(
        name="losses that span all numbers have an axis",
        make=metrics(lambda rows: [rows[0].update(loss=-1.7e308), rows[1].update(loss=1.7e308)]),
        right=shows("loss"),
    ),
    Kind(
        name="losses that differ in the last bit have an axis",
        make=metrics(lambda rows: [row.update(loss=1e15 + n / 8) for n, row in enumerate(rows)]),
        right=shows("loss"),
    ),
    Kind(
        name="the smallest numbers have an axis",
        make=metrics(every_row(loss=5e-324)),
        right=shows("loss"),
    ),
    Kind(
        name="steps of 10^15 have an axis",
        make=metrics(lambda rows: [row.update(step=10**15 + n) for n, row in enumerate(rows)]),
        right=shows("1,000,000,000,000,003"),
    ),
    Kind(name="steps that go back are refused", make=metrics(lambda rows: rows.reverse())),
    Kind(name="times of zero are refused", make=metrics(every_row(step_s=0.0))),
    Kind(
        name="waiting longer than a step is all of the time",
        make=metrics(every_row(data_wait_s=5.0)),
        right=shows("100.0% of the time was spent waiting"),
    ),
    Kind(
        name="a run that consumed nothing has no shares",
        make=metrics(every_row(consumed={}, loss_by_source={})),
        right=shows("0.00%", "loss by source: nothing was logged"),
    ),
    Kind(
        name="shares that are no shares have an axis",
        make=plan(put(["sources", 0, "share"], 1e300)),
        right=shows("share of samples by source"),
    ),
    Kind(
        name="intervals that are turned round have an axis",
        make=evaluation(
            put(["scores", 0, "metrics", "macro_f1"], {"value": 0.5, "low": 1e9, "high": -1e9})
        ),
        right=shows("1000000000.000"),
    ),
    Kind(
        name="scores at the end of the range of numbers have an axis",
        make=evaluation(
            put(
                ["scores", 0, "metrics", "macro_f1"],
                {"value": 1.0, "low": -1.7e308, "high": 1.7e308},
            )
        ),
        right=shows("macro F1"),
    ),
    # Sizes and absences.
    Kind(
        name="ten thousand planned sources are listed",
        make=plan(many_sources),
        right=shows("40 of 10,002 sources", "source-9999", most_bytes=8_000_000),
    ),
    Kind(
        name="frames of sixty sources are cut short",
        make=corpus_of_many_sources,
        right=shows("Frames of the first 40 of 60 sources:", "s59"),
    ),
    Kind(
        name="ten thousand classes are listed",
        make=evaluation(
            lambda content: content.update(
                classes=[{"value": f"c{n}", "train": 1, "test": 1} for n in range(10_000)]
            )
        ),
        right=shows("c9999"),
    ),
    Kind(
        name="twenty evaluations share their tables",
        make=evaluation(lambda content: None, count=20),
        right=shows("phase, split by-case", most_bytes=5_000_000),
    ),
    Kind(
        name="a log of ten thousand steps has a small page",
        make=metrics(lambda rows: None, steps=10_000),
        right=shows("mean of 167 steps", most_bytes=1_000_000),
    ),
    Kind(
        name="five hundred restarts leave a readable chart",
        make=lambda folder: [
            (run := run_folder(folder, steps=600)),
            edit_rows(
                run / "starts.jsonl",
                lambda rows: rows.extend({"step": n, "processes": n} for n in range(30, 530)),
            ),
            report(run),
        ][-1],
        right=shows("resumed, 1 proc."),
    ),
    Kind(
        name="a config of two megabytes is cut short",
        make=config(b"seed: 1\n" + b"#" * 2_000_000),
        right=shows("The first 100,000 of 2,000,008 characters:"),
    ),
    Kind(name="a config that is not text is refused", make=config(b"\xff\xfe\x00seed")),
    Kind(
        name="a plan without sources has a page",
        make=plan(put(["sources"], [])),
        right=shows("alpha 75.0%, target 0.0%"),
    ),
    Kind(
        name="a run without a corpus has a page",
        make=plan(put(["corpora"], [])),
        right=shows("clips per second"),
    ),
    Kind(
        name="a corpus at an address of no store is a sentence",
        make=plan(put(["corpora"], ["http://192.0.2.1/x", "s3://", ""])),
        right=shows("The corpus http://192.0.2.1/x of run cannot be shown"),
    ),
    Kind(
        name="clips whose texts are scripts stay out of the page",
        make=clips_with_hostile_names,
        right=lambda folder, run: (
            shows("holds no encoder yet")(folder, run)
            if "alert(1)" not in (folder / "report.html").read_text(encoding="utf-8")
            else pytest.fail("the page has the name of a case")
        ),
    ),
    Kind(
        name="an unknown verdict is refused",
        make=evaluation(put(["verdicts", 0, "verdict"], SCRIPT)),
    ),
    Kind(
        name="an unknown classifier is refused",
        make=evaluation(put(["scores", 0, "classifier"], SCRIPT)),
    ),
    Kind(
        name="half of a pair in a name is refused or escaped",
        make=evaluation(put(["task"], "\ud800")),
        right=shows(r"\ud800"),
    ),
    Kind(
        name="a number in place of a name is refused",
        make=evaluation(put(["task"], 7)),
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
