"""Tables and files of features are read back only if they fit each other."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surgrec.errors import CheckpointError, StorageError
from surgrec.features import WindowRow, read_features
from surgrec.features._files import Failure, VideoFeatures, write_features_file
from surgrec.features._table import write_tables
from surgrec.storage import open_store

ROW = WindowRow(
    source="a",
    domain="d",
    case="c",
    video="v",
    split="test",
    start_s=0.0,
    end_s=2.0,
    file="a/v.safetensors",
    row=1,
)
FACTS = {"encoder": {"config": {"width": 4}}}


def write(folder: Path, row: WindowRow = ROW, values: torch.Tensor | None = None) -> None:
    """Write the features of two windows of a video, and a table with one of them."""
    store = open_store(folder)
    features = torch.arange(8.0).reshape(2, 4) if values is None else values
    video = VideoFeatures(
        features=features,
        start_s=np.array([0.0, 1.0]),
        failed=(Failure(start_s=None, reason="unreadable"),),
    )
    write_features_file(store, ROW.file, video, settings={}, digest="ab", made_by={"batch": 1})
    write_tables(store, [row], [], FACTS)


def change_facts(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "features.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def test_the_feature_of_a_row_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    features = read_features(tmp_path)
    assert features.rows == [ROW]
    assert features.values.tolist() == [[4.0, 5.0, 6.0, 7.0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda facts: facts.pop("encoder"), "lacks the field encoder"),
        (lambda facts: facts.update(encoder=[]), "encoder is a list, not an object"),
        (lambda facts: facts.update(encoder={"config": {"width": 10**12}}), "encoder.config.width"),
        (lambda facts: facts.update(failed=[{"source": "a"}]), r"\[0\] lacks the field"),
        (lambda facts: facts.update(format=2), "has format 2"),
        (lambda facts: facts["encoder"]["config"].update(width=5), "asks for row 1 of width 5"),
    ],
)
def test_facts_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    write(tmp_path)
    change_facts(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        read_features(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\0" * 9, "[" * 100_000, '{"format": NaN}'])
def test_facts_that_are_no_json_object_are_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    (tmp_path / "features.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"features\.json .*; remove the folder"):
        read_features(tmp_path)


@pytest.mark.parametrize("row", [-1, 2, 1 << 40])
def test_a_row_that_a_file_does_not_have_is_refused(tmp_path: Path, row: int) -> None:
    write(tmp_path, replace(ROW, row=row))
    with pytest.raises(CheckpointError, match=f"has 2 features of width 4, but .* row {row}"):
        read_features(tmp_path)


@pytest.mark.parametrize("file", ["../a/v.safetensors", "/etc/passwd", "", "a/../../b"])
def test_a_file_outside_the_folder_is_not_read(tmp_path: Path, file: str) -> None:
    write(tmp_path / "features", replace(ROW, file=file))
    with pytest.raises(StorageError, match="cannot name a file in"):
        read_features(tmp_path / "features")


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    write(tmp_path, values=torch.full((2, 4), torch.nan))
    with pytest.raises(CheckpointError, match=r"v\.safetensors: the tensor features is NaN"):
        read_features(tmp_path)


def test_a_file_of_facts_that_is_huge_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path)
    os.truncate(tmp_path / "features.json", 1 << 40)
    with pytest.raises(CheckpointError, match="larger than 268,435,456 bytes"):
        read_features(tmp_path)


def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ROW.file).unlink()
    os.mkfifo(tmp_path / ROW.file)
    with pytest.raises(CheckpointError, match="a named pipe, not a regular file"):
        read_features(tmp_path)
