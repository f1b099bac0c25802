"""Imported weights record the names of the data that they were trained on."""

from pathlib import Path

import pytest

from surgrec.convert import ImportOptions, export_weights, import_weights, read_external
from surgrec.encoders import read_preset
from surgrec.errors import CheckpointError
from surgrec.models import encoder_provenance
from surgrec.runs.drawn import pretraining_data
from tests.support.weight_layouts import (
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
)

TINY = ImportOptions(num_heads=4, decoder_heads=3, positions="rope")


def vjepa2(folder: Path) -> Path:
    vjepa_file(folder / "vitl.pt", target_encoder=random_tensors(vjepa_encoder(48, 2, 192, 8)))
    return folder / "vitl.pt"


def test_the_data_of_the_publisher_reach_the_audit_of_an_imported_encoder(tmp_path: Path) -> None:
    weights = read_external(vjepa2(tmp_path), "vjepa", TINY)
    out = tmp_path / "encoder.safetensors"
    lines = import_weights(weights, out, sampling_fps=None)
    stated = read_preset("vjepa2").pretraining
    assert f"trained on, as stated: {', '.join(stated.data)}" in lines
    audited = pretraining_data(encoder_provenance(out), "encoder")
    assert audited.published == stated.data
    assert audited.unknown == ("vitl.pt",), "names are no record of videos"


def test_names_that_the_user_gives_replace_those_of_the_publisher(tmp_path: Path) -> None:
    options = ImportOptions(num_heads=4, positions="rope", pretraining_data=["Cholec80", "ours"])
    origin = read_external(vjepa2(tmp_path), "vjepa", options).origin
    assert origin.pretraining == {"data": ["Cholec80", "ours"]}


def test_the_surgrec_release_states_surgical_data_and_videomae_v1_none(tmp_path: Path) -> None:
    path = tmp_path / "mae.pth"
    videomae_file(path, random_tensors(videomae_model(48, 3, 192, 8)))
    release = read_external(path, "surgrec", TINY).origin.pretraining
    assert release is not None
    assert "Cholec80" in release["data"]
    assert release["has_surgery"] == "yes"
    origin = read_external(path, "videomae", TINY).origin
    assert origin.format == "videomae"
    assert origin.pretraining is None, "its project publishes files of several data sets"


def test_a_note_with_damaged_names_is_refused(tmp_path: Path) -> None:
    first = read_external(vjepa2(tmp_path), "vjepa", TINY)
    export_weights(first, "vjepa", tmp_path / "run.pt", {"pretraining": {"data": "LEMON"}}, None)
    with pytest.raises(CheckpointError, match=r"run\.pt: its note states pretraining data"):
        read_external(tmp_path / "run.pt", "vjepa", TINY)


def test_an_export_of_a_run_keeps_the_names_of_its_start_alone(tmp_path: Path) -> None:
    first = read_external(vjepa2(tmp_path), "vjepa", TINY)
    provenance = {"init_from": {"name": "vitl.pt", "pretraining": first.origin.pretraining}}
    export_weights(first, "vjepa", tmp_path / "run.pt", provenance, first.origin.license)
    again = read_external(tmp_path / "run.pt", "vjepa", TINY).origin
    assert again.pretraining is None, "the run was trained on other data"
    assert again.init_from == provenance["init_from"]
