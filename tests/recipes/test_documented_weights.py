"""Every command that is told to begin from published weights takes them: files of the published sizes, key by key."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from surgrec.errors import CheckpointError
from surgrec.models import Encoder
from surgrec.objectives import JepaObjective, MaeObjective
from surgrec.training.init_weights import load_init_weights
from tests.support.documents import parse_config, told_commands
from tests.support.processes import ROOT, load_recipe
from tests.support.weight_layouts import (
    Shapes,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
)

DOCUMENTS = [ROOT / "recipes/README.md", *sorted((ROOT / "recipes/configs").rglob("*.yaml"))]


def told_beginnings() -> Iterator[tuple[str, str, list[str]]]:
    """Document, recipe and words of each command that begins from a file, not from a run."""
    for path in DOCUMENTS:
        for method, words in told_commands(path.read_text(encoding="utf-8")):
            if any(word.endswith((".pt", ".pth")) for word in words):
                yield path.stem, method, words
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for words in re.findall(r"`(--init_from [^`]*)`", readme):
        yield (
            "the main README",
            "jepa",
            ["--config", "jepa_vitl16", *words.split()],
        )


TOLD = {f"{document} {number}": told for number, (document, *told) in enumerate(told_beginnings())}


def constant_tensors(shapes: Shapes) -> dict[str, torch.Tensor]:
    """One number for each tensor, repeated by its strides: a file of full size that is small."""
    return {
        name: torch.full((), 0.01 * number).expand(shape)
        for number, (name, shape) in enumerate(shapes)
    }


def published_files(folder: Path) -> None:
    """V-JEPA 2's ViT-L and VideoMAE's ViT-B under the names that the documents give them."""
    encoder = constant_tensors(vjepa_encoder(1024, 24, 4096, 16))
    predictor = constant_tensors(vjepa_predictor(1024, 384, 12, 10))
    vjepa_file(folder / "vitl.pt", encoder=encoder, target_encoder=encoder, predictor=predictor)
    videomae_file(
        folder / "vitb.pth", constant_tensors(videomae_model(768, 12, 3072, 16, (384, 4, 1536)))
    )


def begin(method: str, words: list[str], folder: Path) -> list[str]:
    """The networks that these words fill from the folder's files. They have shapes and no numbers: it is quick."""
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
@pytest.mark.parametrize(("method", "words"), TOLD.values(), ids=TOLD)
def test_a_told_command_takes_the_whole_published_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, words: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    published_files(tmp_path)
    assert begin(method, words, tmp_path) == [
        "encoder",
        "predictor" if method == "jepa" else "decoder",
    ]


def test_without_its_format_a_vit_l_of_v_jepa_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Why the commands say it: SurgRec-JEPA's file has the same names and another license."""
    monkeypatch.chdir(ROOT)
    published_files(tmp_path)
    words = ["--config", "jepa_vitl16_continued", "--init_from", "vitl.pt"]
    with pytest.raises(CheckpointError, match="in a recipe by --init_format"):
        begin("jepa", words, tmp_path)


def test_commands_are_told_for_both_methods() -> None:
    assert {method for method, _ in TOLD.values()} == {"jepa", "mae"}
    assert len(TOLD) >= 5
