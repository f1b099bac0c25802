"""Result folders are read whole, or refused in one sentence that names the fault."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from surgrec.comparisons._results import read_result, result_folders
from surgrec.errors import ConfigError
from surgrec.scores.classification import NO_CLASS
from tests.support.results import CLASSES, WINDOWS, write_result

ROWS = 6 * 12 * WINDOWS


def test_windows_and_predictions_are_read_in_one_order(tmp_path: Path) -> None:
    result = read_result(write_result(tmp_path / "a", probabilities=True))
    assert result.classes == CLASSES
    assert (result.primary, result.task, result.split) == ("knn", "phase", "official")
    assert len(result.windows.label) == 12 * WINDOWS
    found = [(each.features, each.classifier, each.seed) for each in result.predictions]
    assert found == [
        ("none", "majority", 0),
        *(("random", "knn", seed) for seed in range(3)),
        ("trained", "knn", 0),
        ("trained", "logistic", 0),
    ]
    assert result.predictions[0].probability is None
    trained = result.predictions[4]
    assert 0.7 < (trained.value == result.windows.label).mean() < 0.9
    assert trained.probability is not None
    assert (trained.probability.argmax(1) == trained.value).all()


def test_files_of_the_first_format_are_read(tmp_path: Path) -> None:
    without = dict.fromkeys(("head_seed", "time_s", "probability"))
    old = write_result(
        tmp_path / "a", format=1, kind=None, classifiers=None, overrides=None, columns=without
    )
    assert len(read_result(old).predictions) == 6


def test_the_order_of_rows_in_the_file_does_not_matter(tmp_path: Path) -> None:
    from pyarrow import parquet

    first = read_result(write_result(tmp_path / "a"))
    path = write_result(tmp_path / "b/a") / "predictions.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.take(np.random.default_rng(0).permutation(len(table))), path)
    second = read_result(path.parent)
    assert not first.windows.differ_from(second.windows)
    for one, other in zip(first.predictions, second.predictions, strict=True):
        assert (one.value == other.value).all()


def test_probabilities_may_be_rounded_and_verdicts_absent(tmp_path: Path) -> None:
    rounded = pa.array([[1.0000001, 0.0, -1e-9]] * ROWS, pa.list_(pa.float32()))
    result = read_result(
        write_result(tmp_path / "a", verdicts=[], columns={"probability": rounded})
    )
    assert result.primary == "knn"
    assert result.predictions[0].probability is not None


def test_a_run_has_the_results_of_its_evaluations(tmp_path: Path) -> None:
    for task in ("phase", "tools"):
        write_result(tmp_path / "run/evaluation" / task)
    folders = result_folders(tmp_path / "run")
    assert [folder.name for folder in folders] == ["phase", "tools"]
    assert result_folders(folders[0]) == [folders[0]]
    with pytest.raises(ConfigError, match=r"none has no evaluation\.json"):
        result_folders(tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 3}, "has format 3, but"),
        ({"format": "x"}, "format is a text, not a whole number"),
        ({"kind": "boxes"}, "predictions of the kind 'boxes'"),
        ({"kind": "numbers"}, "no sorted list of at most 10000 classes of numbers"),
        ({"kind": "labels"}, "column 'label' has no lists of texts"),
        ({"task": 5}, "task is a whole number, not a text"),
        ({"classes": []}, "has no sorted list of at most 10000 classes"),
        ({"classes": [{"value": "access", "train": 1, "test": 1}] * 2}, "no sorted list"),
        ({"units": {"patients": [0]}}, "units that are not centers and patients of 12 cases"),
        ({"units": {"rooms": [0] * 12}}, "units that are not centers and patients of 12 cases"),
        ({"verdicts": [], "classifiers": {}}, "has 0 primary verdicts"),
        ({"classes": [{"value": "access", "train": 1, "test": 1}]}, "has the class 'closure'"),
    ],
)
def test_an_unfit_evaluation_file_is_refused(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    folder = write_result(tmp_path / "a", **changes)
    with pytest.raises(ConfigError, match=sentence):
        read_result(folder)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"label": None}, "lacks the column 'label'"),
        ({"start_s": pa.array(["0"] * ROWS)}, "column 'start_s' has no numbers"),
        ({"time_s": pa.array([99.0] * ROWS)}, "a label at a time outside its window"),
        ({"end_s": pa.array([np.nan] * ROWS)}, "column 'end_s' has numbers that are not finite"),
        ({"case": pa.array([None] * ROWS, pa.string())}, "column 'case' has empty cells"),
        ({"start_s": pa.array([1.0] * ROWS), "end_s": pa.array([2.0] * ROWS)}, "a window twice"),
        ({"seed": pa.array([0] * (ROWS - 1) + [1], pa.int64())}, "5 predictions of 1 to 1440"),
        ({"seed": pa.array(range(ROWS), pa.int64())}, "other windows or labels for 'majority'"),
        ({"probability": pa.array([[2.0, 0, 0]] * ROWS)}, "not 3 probabilities"),
        ({"probability": pa.array([[0.5, 0.5]] * ROWS)}, "not 3 probabilities"),
        ({"probability": pa.array([[float("nan")] * 3] * ROWS)}, "not 3 probabilities"),
        ({"probability": pa.array([1.0] * ROWS)}, "not 3 probabilities"),
    ],
)
def test_unfit_predictions_are_refused(
    columns: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    folder = write_result(tmp_path / "a", columns=columns)
    with pytest.raises(ConfigError, match=sentence):
        read_result(folder)


def test_missing_and_damaged_predictions_are_refused(tmp_path: Path) -> None:
    path = write_result(tmp_path / "a") / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="is not a valid parquet file"):
        read_result(path.parent)
    path.unlink()
    with pytest.raises(ConfigError, match="No such file or directory"):
        read_result(path.parent)


def test_an_empty_prediction_is_no_class_and_an_empty_label_is_refused(tmp_path: Path) -> None:
    table = parquet.read_table(write_result(tmp_path / "a") / "predictions.parquet")
    texts = table.column("prediction").to_pylist()
    some = pa.array(["" if row % 10 == 0 else text for row, text in enumerate(texts)])
    result = read_result(write_result(tmp_path / "b", columns={"prediction": some}))
    values = np.concatenate([each.value for each in result.predictions])
    assert (values == NO_CLASS).sum() == -(-len(texts) // 10)

    folder = write_result(tmp_path / "c", columns={"label": some})
    with pytest.raises(ConfigError, match="has the class ''"):
        read_result(folder)
