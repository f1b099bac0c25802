"""Hostile configs, mixtures and splits: YAML bombs, ambiguous values, absurd numbers, class paths.

Most are tried with `--print_config`, which prints what was read.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from surgrec.yaml_files import parse_yaml
from tests.hostile.harness import Kind, Run, try_kind

Make = Callable[[Path], Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Worded(Kind):
    """A kind whose refusal must have these words: another reason would hide a fault."""

    words: str


def config(text: str | bytes) -> Make:
    """The command that prints the config of a file."""

    def make(folder: Path) -> Sequence[object]:
        path = folder / "given.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return ["mae", "--config", path, "--print_config"]

    return make


def flags(*words: str) -> Make:
    """The command that prints the config of flags."""
    return lambda folder: ["mae", *words, "--print_config"]


def split(text: str) -> Make:
    """The command that reads a split before it opens the corpus, which does not exist."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "split.yaml").write_text(text, encoding="utf-8")
        words = ("surgrec", "evaluate", folder / "none", "--encoder", folder / "none")
        return [*words, "--task", "phase", "--split", folder / "split.yaml"]

    return make


def prints(**expected: Any) -> Callable[[Path, Run], None]:
    """Check values of the printed config; `a__b` is the field b of the group a."""

    def check(folder: Path, run: Run) -> None:
        values = parse_yaml(run.out, "output")
        for name, value in expected.items():
            found = values
            for part in name.split("__"):
                found = found[part]
            assert found == value, name

    return check


def file_at(place: Callable[[Path], object]) -> Make:
    """The command that reads a config at a path that `place` prepares."""
    return lambda folder: ["mae", "--config", place(folder), "--print_config"]


def pipe(folder: Path) -> Path:
    """A named pipe."""
    os.mkfifo(folder / "pipe.yaml")
    return folder / "pipe.yaml"


def sparse(folder: Path) -> Path:
    """A file of a terabyte that takes no space."""
    (folder / "huge.yaml").touch()
    os.truncate(folder / "huge.yaml", 1 << 40)
    return folder / "huge.yaml"


def link(target: str) -> Callable[[Path], Path]:
    """A symbolic link."""

    def place(folder: Path) -> Path:
        (folder / "good.yaml").write_text("steps: 77\n", encoding="utf-8")
        (folder / "link.yaml").symlink_to(target)
        return folder / "link.yaml"

    return place


def based(text: str, files: dict[str, str]) -> Make:
    """The command that reads a config whose bases are these files."""

    def make(folder: Path) -> Sequence[object]:
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
        return config(text)(folder)

    return make


def tower(levels: int, width: int, shape: str) -> str:
    """Aliases of aliases: `shape` holds them as a list, as a mapping, or as a merge."""
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels):
        parts = [f"*a{level - 1}"] * width
        body = {
            "list": f"[{', '.join(parts)}]",
            "mapping": f"{{{', '.join(f'k{n}: {part}' for n, part in enumerate(parts))}}}",
            "merge": f"{{<<: [{', '.join(parts)}]}}",
        }[shape]
        lines.append(f"a{level}: &a{level} {body}")
    return "\n".join(lines)


DEEP = "nested deeper than 50 levels"
REFUSED_TEXTS: dict[str, tuple[str | bytes, str]] = {
    "billion laughs of lists": (tower(12, 10, "list"), "more than 100,000 values"),
    "billion laughs of mappings": (tower(12, 10, "mapping"), "more than 100,000 values"),
    "a bomb of merge keys": (tower(8, 60, "merge"), "more than 100,000 values"),
    "one huge list of aliases": ("a: &a [1]\nb: [" + "*a, " * 120_000 + "]", "100,000 values"),
    "a list inside itself": ("a: &a [1, *a]", "*a stands inside its own value"),
    "a mapping inside itself": ("a: &a {b: *a}", "*a stands inside its own value"),
    "a merge of itself": ("a: &a {<<: *a, b: 1}", "*a stands inside its own value"),
    "an alias of nothing": ("steps: *none", "*none has no anchor above it"),
    "an alias as a key that is a list": ("a: &a [1]\n*a : 2", "is not text"),
    "a merge of a number": ("encoder: {<<: 3}", "not a mapping"),
    "a merge of a list of numbers": ("encoder: {<<: [1, 2]}", "not a mapping"),
    "10,000 open brackets": ("[" * 10_000, DEEP),
    "100,000 closed brackets": ("a: " + "[" * 100_000 + "]" * 100_000, DEEP),
    "100,000 open braces": ("{a: " * 100_000, DEEP),
    "dashes nested in one line": ("- " * 50_000, DEEP),
    "indented mappings": ("".join(f"{' ' * n}k:\n" for n in range(500)), DEEP),
    "question marks nested as keys": ("? " * 50_000 + "a", "write the key as text"),
    "brackets nested in a key": ("{" + "[" * 5_000, "write the key as text"),
    "a wide list": ("a: [" + "1, " * 200_000 + "]", "more than 100,000 values"),
    "a wide mapping": ("".join(f"k{n}: 1\n" for n in range(150_000)), "more than 100,000 values"),
    "a comment of 5 MB": ("steps: 3 #" + "x" * 5_000_000, "larger than 4,000,000"),
    "a second document": ("steps: 3\n---\nsteps: 4", "a second document begins"),
    "a Python object": ("steps: !!python/object/apply:os.system [id]", "is not known"),
    "a Python name": ("steps: !!python/name:os.system", "is not known"),
    "a Python module as a key": ("!!python/module:this : 3", "is not known"),
    "binary data": ("steps: !!binary aGVsbG8=", "is not known"),
    "a set": ("mixture: {splits: !!set {train}}", "is not known"),
    "ordered pairs": ("mixture: !!omap [a: 1]", "is not known"),
    "a time with its tag": ("seed: !!timestamp 2024-01-01", "is not known"),
    "a tag of one's own": ("steps: !steps 3", "is not known"),
    "a tag with a directive": ("%TAG ! tag:x.y,2024:\n---\nsteps: !a 3", "is not known"),
    "a directive of a future version": ("%YAML 9.9\n---\nsteps: 3", "is not YAML"),
    "UTF-16": ("steps: 3".encode("utf-16"), "is not UTF-8 text"),
    "Latin-1": ("init_license: é".encode("latin-1"), "is not UTF-8 text"),
    "half a surrogate pair": (b"init_license: \xed\xa0\x80", "is not UTF-8 text"),
    "a NUL character": (b"steps: 3\0", "is not YAML"),
    "control characters": (b"init_license: a\x01\x02", "is not YAML"),
    "tabs as indentation": ("encoder:\n\twidth: 48", "is not YAML"),
    "an empty file": ("", "is empty"),
    "comments only": ("# nothing\n# here\n", "is empty"),
    "a number alone": ("3", "is not a YAML mapping"),
    "a list alone": ("- steps", "is not a YAML mapping"),
    "an unclosed quote": ('init_license: "a\nsteps: 3', "is not YAML"),
    "a colon too many": ("steps: 3: 4", "is not YAML"),
    "a key twice": ("steps: 3\nseed: 1\nsteps: 4", "line 3: the key 'steps' stands twice"),
    "a nested key twice": ("encoder: {width: 48, width: 96}", "the key 'width' stands twice"),
    "a key twice, once in quotes": ("steps: 3\n'steps': 4", "the key 'steps' stands twice"),
    "a key twice, once escaped": ('steps: 3\n"\\x73teps": 4', "the key 'steps' stands twice"),
    "two merge keys": ("a: &a {}\nb: {<<: *a, <<: *a}", "the key '<<' stands twice"),
    "a whole number of 400 digits": ("steps: " + "9" * 400, "400 digits"),
    "a fraction of 400 digits": ("sampling_fps: 1." + "3" * 400, "402 digits"),
    "an exponent that overflows": ("sampling_fps: 1e999", "too large"),
    "not a number": ("sampling_fps: .nan", "not a finite number"),
    "infinity": ("optimizer: {lr: {value: .inf}}", "not a finite number"),
    "a leading zero": ("steps: 0300", "write 300, or '0300' for text"),
    "a negative octal number": ("seed: -010", "write -10, or '-010' for text"),
    "minutes in place of steps": ("steps: 1:30", "steps is '1:30'; give a whole number"),
    "half a step": ("steps: 2.5", "steps is 2.5; give a whole number"),
    "true in place of a number": ("steps: true", "steps is true; give a whole number"),
    "null in place of a number": ("steps: null", "steps is null; give a whole number"),
    "a list in place of a number": ("steps: [3]", "steps is [3]; give a whole number"),
    "a mapping in place of a number": ("steps: {a: 3}", "give a whole number"),
    "a number in place of text": ("init_license: 3", "init_license is 3; give text or null"),
    "a number in place of a path": ("run_dir: 3", "run_dir is 3; give a path"),
    "text in place of true": ("resume: maybe", "resume is 'maybe'; give true or false"),
    "a list of three betas": ("optimizer: {betas: [0.9, 0.9, 0.9]}", "give a list of 2"),
    "a choice that is none": ("precision: fp64", "give one of 'no', 'bf16'"),
    "null as a group": ("encoder: null", "encoder is null; give a mapping"),
    "a number as a group": ("encoder: 3", "encoder is 3; give a mapping"),
    "a number as a mixture": ("mixture: 0.5", "mixture is 0.5; give a mapping"),
    "true as a schedule": ("optimizer: {lr: true}", "optimizer.lr is true; give a mapping"),
    "a folder as a group": ("encoder: .", "does not exist; check the path"),
    "a device as a group": ("encoder: /dev/zero", "a device, not a regular file"),
    "a file that is missing as a group": (
        "encoder: none.yaml",
        "neither a YAML file nor a mapping",
    ),
    "a list as a key": ("[a, b]: 3", "write the key as text"),
    "an empty key": ("'': 3", "'' is not accepted"),
    "a null key": ("~: 3", "'~' is not accepted"),
    "a key of 100,000 characters": ("'" + "k" * 100_000 + "': 3", "is not YAML"),
    "a key of 1,000 characters": ("'" + "k" * 1_000 + "': 3", "is not accepted"),
    "a key with a line break": ('"a\\nb": 3', "is not accepted"),
    "a class path": ("class_path: this.d", "a config names no classes"),
    "a class path of a group": ("encoder: {class_path: this.d}", "a config names no classes"),
    "a class path with arguments": (
        "encoder: {class_path: antigravity.geohash, init_args: {width: 48}}",
        "a config names no classes",
    ),
    "a class path of our own class": (
        "encoder: {class_path: surgrec.models.EncoderConfig}",
        "a config names no classes",
    ),
    "a class path in a list": (
        "mixture: {levels: [{class_path: this.d}]}",
        "a config names no classes",
    ),
    "a class as text": ("encoder: this.d", "neither a YAML file nor a mapping"),
    "a Python class attribute": ("encoder: {__class__: this.d}", "is not accepted"),
    "a method of a dataclass": ("encoder: {__post_init__: 3}", "is not accepted"),
    "a dotted key": ("encoder.width: 48", "is not accepted"),
    "a block of 10^15": ("mixture: {block: 1000000000000000}", "give 1 to 10,000,000"),
    "a batch of 10^12": ("global_batch: 1000000000000", "give 1 to 10,000,000"),
    "10^18 steps": ("steps: 1000000000000000000", "give 0 to 1,000,000,000"),
    "an encoder of width 10^9": (
        "encoder: {width: 1000000000, depth: 1, num_heads: 1}",
        "width is 1000000000; give 1 to 65536",
    ),
    "heads that do not divide the width": (
        "encoder: {width: 48, depth: 1, num_heads: 7}",
        "does not split into 7 equal heads",
    ),
    "a table of positions of terabytes": (
        "encoder: {width: 60000, depth: 1, num_heads: 10, num_frames: 60000, crop_px: 16000}",
        "more than 268435456 values",
    ),
    "a negative weight decay": ("optimizer: {weight_decay: -0.1}", "give 0 to 100"),
    "a beta of one": ("optimizer: {betas: [0.9, 1.0]}", "less than 1"),
    "a million workers": ("loader: {num_workers: 1000000}", "give 0 to 1024"),
    "a warm-up before the start": ("optimizer: {lr: {value: 1, warmup_steps: -5}}", "give 0 to"),
    "a schedule that ends before it decays": (
        "optimizer: {lr: {value: 1.0, start: null, warmup_steps: 0, decay: linear, end: 0,"
        " decay_start: 9, end_step: 9}}",
        "raise end_step",
    ),
    "a rate of zero frames": ("sampling_fps: 0", "more than 0"),
    "a mask of everything": ("objective: {mask_ratio: 1}", "less than 1"),
    "a negative seed": ("seed: -1", "give 0 to"),
    "views by the billion": ("views: 1000000000", "give 1 to 256"),
    "a crop that is turned around": ("augment: {scale: [0.9, 0.2]}", "the smaller number first"),
    "a column with two levels": (
        "mixture: {levels: [{by: case, alpha: 0}, {by: case, alpha: 1}]}",
        "name a column twice",
    ),
    "stages in disorder": (
        "mixture: {stages: [{start: 9000, weights: {}}, {start: 10, weights: {}}]}",
        "list them in order",
    ),
    "a cache of negative size": ("loader: {cache_gb: -1}", "more than 0"),
    "a weight below zero": ("mixture: {weights: {a: -1}}", "weights.a is -1.0; give 0 to"),
}

READ_TEXTS: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "a byte order mark": (b"\xef\xbb\xbfsteps: 3", {"steps": 3}),
    "line ends of Windows": (b"steps: 3\r\nseed: 4\r\n", {"steps": 3, "seed": 4}),
    "an exponent as a whole number": ("steps: 1e3", {"steps": 1000}),
    "an exponent without a point": (
        "optimizer: {lr: {value: 1e-6, start: null, warmup_steps: 0}}",
        {"optimizer__lr__value": 1e-6},
    ),
    "underscores between digits": ("steps: 1_000", {"steps": 1000}),
    "an octal number of YAML 1.2": ("steps: 0o17", {"steps": 15}),
    "a constant in place of a schedule": (
        "optimizer: {weight_decay: 0.25}",
        {"optimizer__weight_decay__value": 0.25, "optimizer__weight_decay__decay": "constant"},
    ),
    "a date as text": ("init_license: 2024-01-31", {"init_license": "2024-01-31"}),
    "text that looks like a number": ("init_license: '0300'", {"init_license": "0300"}),
    "names of sources that look like numbers": (
        "mixture: {weights: {12: 1, yes: 2, 2024-01-01: 3}}",
        {"mixture__weights": {"12": 1.0, "yes": 2.0, "2024-01-01": 3.0}},
    ),
    "anchors and merges": (
        "mixture: {stages: [&a {start: 10000, weights: {x: 1}}, {<<: *a, start: 20000}]}",
        {
            "mixture__stages": [
                {"start": start, "levels": None, "weights": {"x": 1.0}}
                for start in (10_000, 20_000)
            ]
        },
    ),
    "yes as true": ("resume: yes", {"resume": True}),
    "names with emoji and bidirectional marks": (
        "init_license: '\U0001f600 \u202eabc'",
        {"init_license": "\U0001f600 \u202eabc"},
    ),
}

REFUSED_FLAGS: dict[str, tuple[tuple[str, ...], str]] = {
    "a class path as a flag": (("--encoder", "this.d"), "neither a YAML file nor a mapping"),
    "a class path below a group": (("--encoder.class_path", "this.d"), "is not an option"),
    "a class path in braces": (("--encoder", "{class_path: this.d}"), "names no classes"),
    "help of a class": (("--encoder.help", "this.d"), "is not an option"),
    "a bomb in a flag": (("--mixture.weights", "{" + "a: [" * 9_000), DEEP),
    "billion laughs in a flag": (
        ("--mixture", "{" + tower(9, 10, "list").replace("\n", ", ") + "}"),
        "values",
    ),
    "a flag of 100,000 characters": (("--" + "x" * 100_000, "1"), "is not an option"),
    "a flag without a name": (("--=3",), "is not an option"),
    "a flag of a dot": (("--.", "3"), "is not an option"),
    "a flag with an empty part": (("--mixture..block", "3"), "is not an option"),
    "a flag that ends in a dot": (("--mixture.", "3"), "is not an option"),
    "a field of a number": (("--steps.x", "3"), "is not an option"),
    "an index of a list": (("--mixture.levels.0.alpha", "3"), "is not an option"),
    "a flag without its value": (("--steps",), "needs a value"),
    "an empty value": (("--steps=",), "give a whole number"),
    "two values": (("--steps", "3", "4"), "belongs to no option"),
    "a long dash": (("\u2014\u2014steps", "3"), "belongs to no option"),
    "one dash": (("-steps", "3"), "is not an option"),
    "an abbreviation": (("--step", "3"), "did you mean '--steps'"),
    "a group forgotten": (("--block", "3"), "did you mean '--mixture.block'"),
    "a size that is not published": (("--encoder.size", "colossal"), "give one of"),
    "a config without a name": (("--config", ""), "needs the name or the path"),
    "bytes that are not UTF-8": (("--init_license", "\udcff", "--steps", "\udcfe"), "steps"),
    "a value with a line break": (("--steps", "3\n4"), "give a whole number"),
    "not a number as a flag": (("--sampling_fps", "nan"), "give a number"),
    "a hexadecimal fraction": (("--sampling_fps", "0x1p3"), "give a number"),
    "a path with a NUL in braces": (("--encoder", '{"a\\0": 3}'), "is not accepted"),
}

_REST = "\ntest: {stored: [test]}"
REFUSED_SPLITS: dict[str, tuple[str, str]] = {
    "a range of 10^10 names": ("name: s\ntrain: {cases: ['v{1..10000000000}']}" + _REST, "100,000"),
    "four ranges of 1,000": (
        "name: s\ntrain: {cases: ['v{1..1000}{1..1000}{1..1000}{1..1000}']}" + _REST,
        "more than 100,000 names",
    ),
    "2,000 ranges of two": (
        "name: s\ntrain: {cases: ['" + "{0..1}" * 2_000 + "']}" + _REST,
        "100,000",
    ),
    "many patterns of many names": (
        "name: s\ntrain: {sources: [" + ", ".join(["'v{1..9000}'"] * 50) + "]}" + _REST,
        "more than 100,000 names",
    ),
    "an end of 5,000 digits": (
        "name: s\ntrain: {cases: ['v{1.." + "9" * 5_000 + "}']}" + _REST,
        "more than 12 digits",
    ),
    "a range that runs backwards": ("name: s\ntrain: {cases: ['v{9..1}']}" + _REST, "backwards"),
    "a part that stands twice": (
        "name: s\ntrain: {stored: [train]}" + _REST + _REST,
        "stands twice",
    ),
    "a part with a class": ("name: s\ntrain: {class_path: this.d}" + _REST, "unknown key"),
    "a name that is a date": ("name: [2024-01-01]\ntrain: {}" + _REST, "give a string"),
    "a case that is a number": ("name: s\ntrain: {cases: [12]}" + _REST, "with numbers in quotes"),
    "a case that is no": ("name: s\ntrain: {cases: [no]}" + _REST, "with numbers in quotes"),
    "nested rules": ("name: s\ntrain: {cases: [[a]]}" + _REST, "give a list of strings"),
    "an empty rule": ("name: s\ntrain: {}" + _REST, "has no condition"),
    "laughs in a split": (tower(12, 10, "list") + "\nname: s", "more than 100,000 values"),
}

PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (pipe, "a named pipe, not a regular file"),
    "an endless device": (lambda folder: "/dev/zero", "a device, not a regular file"),
    "a terminal": (lambda folder: "/dev/tty", "cannot be read"),
    "the memory of the process": (lambda folder: "/proc/self/mem", "cannot be read"),
    "a terabyte": (sparse, "larger than 4,000,000 bytes"),
    "a link to itself": (link("link.yaml"), "does not exist"),
    "a link to nothing": (link("none"), "does not exist"),
    "a link to a pipe": (lambda folder: (pipe(folder), link("pipe.yaml")(folder))[1], "named pipe"),
    "a folder": (lambda folder: folder, "does not exist"),
    "a name of 5,000 characters": (lambda folder: "x" * 5_000, "neither a file nor a named"),
}

BASES: dict[str, tuple[str, dict[str, str], str]] = {
    "a base of itself": ("base: given.yaml", {}, "is its own base"),
    "bases in a circle": ("base: a.yaml", {"a.yaml": "base: given.yaml"}, "is its own base"),
    "a base that is missing": ("base: nothing", {}, "neither a file nor a named config"),
    "a base that is a list": ("base: [a, b]", {}, "give one name or one path"),
    "a base that is a device": ("base: /dev/zero", {}, "a device, not a regular file"),
    "a chain of 40 bases": (
        "base: b0.yaml",
        {f"b{n}.yaml": f"base: b{n + 1}.yaml" for n in range(40)} | {"b40.yaml": "steps: 3"},
        "use fewer files",
    ),
}

KINDS: list[Kind] = [
    *(
        Worded(name=f"a config with {name} is refused", make=config(text), words=words)
        for name, (text, words) in REFUSED_TEXTS.items()
    ),
    *(
        Kind(name=f"a config with {name} is read", make=config(text), right=prints(**expected))
        for name, (text, expected) in READ_TEXTS.items()
    ),
    *(
        Worded(name=f"{name} is refused on the command line", make=flags(*given), words=words)
        for name, (given, words) in REFUSED_FLAGS.items()
    ),
    *(
        Worded(name=f"a split with {name} is refused", make=split(text), words=words)
        for name, (text, words) in REFUSED_SPLITS.items()
    ),
    *(
        Worded(name=f"{name} in place of a config is refused", make=file_at(place), words=words)
        for name, (place, words) in PLACES.items()
    ),
    *(
        Worded(name=f"{name} is refused", make=based(text, files), words=words)
        for name, (text, files, words) in BASES.items()
    ),
    Kind(
        name="a link to a config is followed",
        make=file_at(link("good.yaml")),
        right=prints(steps=77),
    ),
    Kind(
        name="a flag before its config wins",
        make=lambda folder: ["mae", "--steps", "5", *config("steps: 9")(folder)[1:]],
        right=prints(steps=5),
    ),
    Kind(
        name="a bare boolean flag is true",
        make=flags("--resume", "--log.samples"),
        right=prints(resume=True, log__samples=True),
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    if isinstance(kind, Worded):
        assert kind.words in run.errors, run.errors


def test_the_kinds_of_this_family_are_distinct_inputs() -> None:
    texts = [
        json.dumps(str(value))
        for table in (REFUSED_TEXTS, REFUSED_FLAGS, REFUSED_SPLITS)
        for value in table.values()
    ]
    assert len(texts) == len(set(texts))
    assert len(KINDS) >= 170
