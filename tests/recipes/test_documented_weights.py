"""Documented commands that start from published weights load them.

The files have the published names and sizes, key by key.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from surgrec.errors import CheckpointError
from surgrec.models import Encoder
from surgrec.objectives import JepaObjective, MaeObjective
from surgrec.training._init_weights import load_init_weights
from tests.support.documents import documented_commands, parse_config
from tests.support.processes import ROOT, load_recipe
from tests.support.weight_layouts import (
    Shapes,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
)

DOCUMENTS = [
    ROOT / "recipes/README.md",
    ROOT / "docs/continued-pretraining.md",
    *sorted((ROOT / "recipes/configs").rglob("*.yaml")),
]


def init_from_commands() -> Iterator[tuple[str, str, list[str]]]:
    """Yield document, recipe and arguments of each command that starts from a file, not a run."""
    for path in DOCUMENTS:
        for method, words in documented_commands(path.read_text(encoding="utf-8")):
            if any(word.endswith((".pt", ".pth")) for word in words):
                yield path.stem, method, words
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for words in re.findall(r"`(--init_from [^`]*)`", readme):
        yield (
            "the main README",
            "jepa",
            ["--config", "jepa_vitl16", *words.split()],
        )


COMMANDS = {
    f"{document} {number}": command
    for number, (document, *command) in enumerate(init_from_commands())
}


def constant_tensors(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Return tensors that repeat one number by their strides: a small file of full-size tensors."""
    return {
        name: torch.full((), 0.01 * number).expand(shape)
        for number, (name, shape) in enumerate(shapes)
    }


@pytest.fixture(autouse=True)
def small_files_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small files stand for published ones, whose tensors take gigabytes."""
    monkeypatch.setattr("surgrec.convert._checkpoint_file._MAX_GROWTH", 1 << 20)


def published_files(folder: Path) -> None:
    """Write V-JEPA 2's ViT-L and VideoMAE's ViT-B under the names that the documents use."""
    encoder = constant_tensors(vjepa_encoder(1024, 24, 4096, 16))
    predictor = constant_tensors(vjepa_predictor(1024, 384, 12, 10))
    vjepa_file(folder / "vitl.pt", encoder=encoder, target_encoder=encoder, predictor=predictor)
    videomae_file(
        folder / "vitb.pth", constant_tensors(videomae_model(768, 12, 3072, 16, (384, 4, 1536)))
    )


def initialized_networks(method: str, words: list[str], folder: Path) -> list[str]:
    """Return the networks that a command initializes, on the meta device, which is quick."""
    config = parse_config(
        {method: load_recipe(method)}, method, [*words, "--corpus", "c", "--run_dir", "r"]
    )
    with torch.device("meta"):
        kind = JepaObjective if method == "jepa" else MaeObjective
        objective = kind(Encoder(config.encoder), config.objective)
    initialized: list[str] = load_init_weights(
        folder / config.init_from, objective, config.init_format, config.init_license
    )["initialized"]
    return initialized


@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter")
@pytest.mark.parametrize(("method", "words"), COMMANDS.values(), ids=COMMANDS)
def test_a_documented_command_loads_the_whole_published_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, words: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    published_files(tmp_path)
    assert initialized_networks(method, words, tmp_path) == [
        "encoder",
        "predictor" if method == "jepa" else "decoder",
    ]


def test_a_vit_l_of_vjepa_without_a_format_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SurgRec-JEPA's file has the same names and another license, so commands give the format."""
    monkeypatch.chdir(ROOT)
    published_files(tmp_path)
    words = ["--config", "jepa_vitl16_continued", "--init_from", "vitl.pt"]
    with pytest.raises(CheckpointError, match=r"\(in a recipe --init_format\)"):
        initialized_networks("jepa", words, tmp_path)


def test_both_methods_have_documented_commands() -> None:
    assert {method for method, _ in COMMANDS.values()} == {"jepa", "mae"}
    assert len(COMMANDS) >= 5
