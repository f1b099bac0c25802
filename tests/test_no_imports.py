"""Nothing that is read is executed: no config, mixture, split, flag or weights file names code."""

import json
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from surgrec.clips import load_clips
from surgrec.config_values import config_in
from surgrec.errors import SurgrecError
from surgrec.models import Encoder, EncoderConfig
from surgrec.models.encoder_file import save_encoder
from surgrec.ranges import type_hints
from tests.support.documents import parse_config
from tests.support.in_process import train
from tests.support.processes import ROOT, load_recipe
from tests.support.tool import run_here, surgrec_here

PLANTED = "planted_module"
NAMES = (f"{PLANTED}.Encoder", "this.d", "antigravity.webbrowser", "surgrec.models.EncoderConfig")
"""A module of the folder, modules of the standard library that act on import, and our own class."""
SPECS: tuple[Any, ...] = (
    NAMES[0],
    {"class_path": NAMES[0]},
    {"class_path": NAMES[0], "init_args": {"width": 48}},
    {"class_path": NAMES[1]},
    NAMES[2],
    {"class_path": NAMES[3]},
)
"""Forms in which a value could name a class."""


@pytest.fixture(autouse=True)
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plant a module that can be imported, and prove that no test imports it."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / f"{PLANTED}.py").write_text("class Encoder: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.chdir(tmp_path)
    watched = (PLANTED, "this", "antigravity")
    for name in watched:
        sys.modules.pop(name, None)
    yield
    assert not [name for name in watched if name in sys.modules]


@pytest.fixture(scope="module")
def recipes() -> dict[str, ModuleType]:
    """Both recipes as modules."""
    return {name: load_recipe(name) for name in ("jepa", "mae")}


def nested_configs(config_type: Any, place: str = "") -> Iterator[str]:
    """Dotted names of all fields of a config that are configs, lists or mappings."""
    for each in fields(config_type):
        hint = type_hints(config_type)[each.name]
        name = f"{place}{each.name}"
        inner = config_in(hint)
        if inner is not None and is_dataclass(inner):
            yield name
            yield from nested_configs(inner, f"{name}.")
        elif "list" in str(hint) or "dict" in str(hint) or "tuple" in str(hint):
            yield name


def nested(name: str, value: Any) -> dict[str, Any]:
    """A mapping with one value at a dotted name."""
    *groups, last = name.split(".")
    tree = {last: value}
    for group in reversed(groups):
        tree = {group: tree}
    return tree


@pytest.mark.parametrize("method", ["jepa", "mae"])
def test_no_config_or_flag_of_a_recipe_imports_a_class(
    recipes: dict[str, ModuleType],
    method: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipes[method]
    config_type = recipe.JepaConfig if method == "jepa" else recipe.MaeConfig
    places = ["", *nested_configs(config_type)]
    assert len(places) > 10

    for place in places:
        for spec in SPECS:
            path = tmp_path / "config.yaml"
            tree = nested(place, spec) if place else spec
            path.write_text(json.dumps(tree), encoding="utf-8")
            lines = [["--config", str(path)]]
            flags = json.dumps(spec) if isinstance(spec, dict) else spec
            lines += [[f"--{place}", flags]] if place else []
            lines += [[f"--{place}.class_path", NAMES[0]]]
            for line in lines:
                with pytest.raises(SystemExit) as stopped:
                    parse_config(recipes, method, line)
                assert stopped.value.code == 2, line
                errors = capsys.readouterr().err
                assert errors.count("\n") == 1, errors


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("surgrec", "mix", "corpus", "--samples", "10", "--mixture"),
    ("surgrec", "mix", "corpus", "--samples", "10", "--mixture.levels"),
    ("surgrec", "mix", "corpus", "--samples", "10", "--mixture.stages"),
    ("surgrec", "mix", "corpus", "--samples", "10", "--mixture.weights"),
    ("surgrec", "order", "corpus", "--mixture"),
    ("surgrec", "order", "corpus", "--mixture.class_path"),
    ("surgrec", "evaluate", "corpus", "--encoder", "e", "--task", "phase", "--split"),
    ("surgrec-shard", "build", "--out", "o", "--videos", ".", "--encode"),
    ("surgrec-shard", "build", "--out", "o", "--videos", ".", "--pack"),
    ("surgrec-shard", "build", "--out", "o", "--videos", ".", "--ignore_columns"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_flag_of_a_command_imports_a_class(command: tuple[str, ...], tmp_path: Path) -> None:
    run = surgrec_here if command[0] == "surgrec" else run_here
    for spec in SPECS:
        path = tmp_path / "given.yaml"
        path.write_text(json.dumps(spec), encoding="utf-8")
        text = json.dumps(spec) if isinstance(spec, dict) else spec
        for value in (text, str(path)):
            done = run(*command[1:], value)
            assert done.returncode in (1, 2), done.stderr
            assert done.stderr.count("error:") == 1
            assert "Traceback" not in done.stderr


def test_no_mixture_of_load_clips_imports_a_class(tiny_corpus: Path, tmp_path: Path) -> None:
    for spec in SPECS:
        path = tmp_path / "mixture.yaml"
        path.write_text(json.dumps(spec), encoding="utf-8")
        given = [path, *([spec] if isinstance(spec, dict) else [])]
        for mixture in given:
            with pytest.raises(SurgrecError):
                load_clips(tiny_corpus, mixture=mixture, fps=4.0, num_frames=8, crop_px=32)


def test_no_file_of_a_run_imports_a_class(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train("mae", tiny_corpus, run_dir)
    good = {name: (run_dir / name).read_bytes() for name in ("config.yaml", "metrics.jsonl")}

    for spec in SPECS:
        for place in ("mixture", "mixture.levels", "objective"):
            config = {"mixture": {}, "seed": 0, "objective": {}} | nested(place, spec)
            (run_dir / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
            surgrec_here("mix", tiny_corpus, "--run", run_dir)
            if spec == SPECS[1]:
                surgrec_here("report", run_dir, "--out", tmp_path / "report.html")
        (run_dir / "config.yaml").write_bytes(good["config.yaml"])

    # A corpus from others.
    for spec in SPECS:
        corpus = tmp_path / "corpus"
        corpus.mkdir(exist_ok=True)
        (corpus / "corpus.json").write_text(json.dumps(spec), encoding="utf-8")
        assert surgrec_here("mix", corpus, "--samples", "10").returncode == 1
    for name, data in good.items():
        (run_dir / name).write_bytes(data)


SMALL = EncoderConfig(width=48, depth=1, num_heads=2, patch_size=8, num_frames=4, crop_px=16)


@pytest.mark.parametrize("place", ["config", "provenance", "parts", "config.width", "format"])
def test_no_header_of_a_weights_file_imports_a_class(place: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "encoder.safetensors"
    save_encoder(Encoder(SMALL), path, {"source": {"path": "x", "sampling_fps": 4.0}})
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["surgrec"])

    for spec in SPECS:
        forged = dict(header)
        if place == "config.width":
            forged["config"] = {**header["config"], "width": spec}
        else:
            forged[place] = spec
        save_file(tensors, path, metadata={"surgrec": json.dumps(forged)})
        commands = (
            ("features", tmp_path, "--encoder", path, "--out", tmp_path / "features"),
            ("export", path, "--format", "timm", "--out", tmp_path / "timm"),
            ("import", path, "--out", tmp_path / "again.safetensors"),
            (
                *("evaluate", tmp_path, "--encoder", path, "--task", "phase"),
                *("--split", ROOT / "recipes/splits/phantom_phases.yaml"),
            ),
        )
        for command in commands:
            assert "Traceback" not in surgrec_here(*command).stderr


def test_no_split_imports_a_class(tmp_path: Path) -> None:
    split = tmp_path / "split.yaml"
    for spec in SPECS:
        for place in ("", "name", "train", "test", "train.cases", "train.stored"):
            parts: dict[str, Any] = {"name": "s", "train": {"stored": ["train"]}, "test": {}}
            tree = spec if not place else {**parts, **nested(place, spec)}
            split.write_text(json.dumps(tree), encoding="utf-8")
            done = surgrec_here(
                "evaluate", tmp_path, "--encoder", "e", "--task", "phase", "--split", split
            )
            assert done.returncode == 1, done.stderr
