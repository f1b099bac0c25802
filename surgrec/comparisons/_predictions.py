"""Read `predictions.parquet`: windows, labels and the predictions of all classifiers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from surgrec.comparisons._kinds import REMEDY, Kind
from surgrec.errors import ConfigError, ShardError, reason
from surgrec.parquet import read_parquet
from surgrec.regular_files import read_regular

_MAX_BYTES = 1 << 30
_MAX_ROWS = 20_000_000
_MAX_VALUES = 500_000_000
_MAX_PREDICTIONS = 10_000
"""Largest files, tables and numbers of values and predictions that are read."""
_MAX_S = 1e9
"""Latest time of a label, in seconds of the video."""
_ROUNDING = 1e-3
"""Error of stored probabilities and of their sum, and of times in seconds."""

_WINDOW_COLUMNS = ("source", "case", "video", "start_s", "end_s")
_GROUP_COLUMNS = ("features", "classifier", "seed", "head_seed")
_TYPES: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(
        ("features", "classifier", "source", "case", "video"),
        ("text", pa.string()),
    ),
    **dict.fromkeys(("seed", "head_seed"), ("whole numbers", pa.int64())),
    **dict.fromkeys(("start_s", "end_s", "time_s"), ("numbers", pa.float64())),
}
"""Columns of predictions.parquet: their types in words and as read."""
_TIME = "time_s"
"""Column with the time of each label; files of format 1 lack it."""
_PROBABILITY = "probability"
"""Column with a list of numbers for each window, one per class; files of format 1 lack it."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The test windows of an evaluation, sorted by source, case, video and time."""

    source: list[str]
    case: list[str]
    video: list[str]
    start_s: Float64[np.ndarray, " n"]
    end_s: Float64[np.ndarray, " n"]
    time_s: Float64[np.ndarray, " n"]
    """Time of the label, in seconds of the video; the end of the window where it is unknown."""
    has_label_times: bool
    """Whether the times of the labels are known."""
    label: np.ndarray
    """Label of each window: the index of its class, which classes it has, or a number."""

    @property
    def case_names(self) -> list[str]:
        """Case of each window, as `source/case`."""
        return [f"{source}/{case}" for source, case in zip(self.source, self.case, strict=True)]

    @property
    def stride_s(self) -> float:
        """Usual seconds from the label of one window to that of the next of its video."""
        videos = np.array(self.video)
        steps = np.diff(self.time_s)[videos[1:] == videos[:-1]]
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 1.0

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Windows":
        """Return the windows of these rows, in this order."""
        order = rows.tolist()
        return Windows(
            source=[self.source[row] for row in order],
            case=[self.case[row] for row in order],
            video=[self.video[row] for row in order],
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
            time_s=self.time_s[rows],
            has_label_times=self.has_label_times,
            label=self.label[rows],
        )

    def differ_from(self, other: "Windows") -> bool:
        """Return whether the windows or their labels are others."""
        return not (
            self.source == other.source
            and self.case == other.case
            and self.video == other.video
            and np.array_equal(self.start_s, other.start_s)
            and np.array_equal(self.end_s, other.end_s)
            and np.array_equal(self.time_s, other.time_s)
            and np.array_equal(self.label, other.label)
        )


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The predictions of one classifier for all windows, in their order."""

    features: str
    """`trained`, `random`, `pixels` or `none`, as in `predictions.parquet`."""
    classifier: str
    seed: int
    head_seed: int
    value: np.ndarray
    """One row per window: the index of a class or `NO_CLASS`, probabilities of all classes, or a
    number."""
    probability: Float64[np.ndarray, "n classes"] | None
    """None if the classifier gives none."""

    @property
    def is_constant(self) -> bool:
        """Whether all windows have one prediction."""
        return bool((self.value == self.value[:1]).all())

    def take(self, rows: Int64[np.ndarray, " m"]) -> "Predicted":
        """Return the predictions for the windows of these rows, in this order."""
        probability = None if self.probability is None else self.probability[rows]
        return replace(self, value=self.value[rows], probability=probability)


def read_predictions(
    path: Path, kind: Kind, classes: Sequence[str]
) -> tuple[Windows, list[Predicted]]:
    """Return the windows and the predictions of each classifier.

    Args:
        path: The file `predictions.parquet`.
        kind: Kind of the task.
        classes: The classes of `evaluation.json`.

    Raises:
        ConfigError: The file is missing, damaged, too large, or not one prediction of each
            classifier for all windows.
    """
    table = _typed_table(path, kind)
    order = [(name, "ascending") for name in (*_GROUP_COLUMNS, *_WINDOW_COLUMNS)]
    table = table.sort_by(order)

    groups = table.group_by(list(_GROUP_COLUMNS), use_threads=False).aggregate([([], "count_all")])
    counts = groups.column("count_all").to_pylist()
    if not counts or len(counts) > _MAX_PREDICTIONS or len(set(counts)) > 1:
        raise ConfigError(
            f"{path} has {len(counts)} predictions of {min(counts, default=0)} to "
            f"{max(counts, default=0)} windows, and not one of each for all windows; {REMEDY}"
        )

    label = kind.read(table.column("label"), classes, path)
    predicted = kind.read_predicted(table.column("prediction"), classes, path)
    size = counts[0]
    shared = table.slice(0, size)
    windows = _windows(shared, label[:size], path)
    predictions = []
    for index, row in enumerate(groups.select(list(_GROUP_COLUMNS)).to_pylist()):
        rows = slice(index * size, (index + 1) * size)
        found = _windows(table.slice(rows.start, size), label[rows], path)
        if found.differ_from(windows):
            raise ConfigError(
                f"{path} has other windows or labels for {row['classifier']!r} than for the first "
                f"classifier; {REMEDY}"
            )
        probability = _probabilities(table.slice(rows.start, size), kind, len(classes), path)
        value = probability if kind.ranks_classes else predicted[rows]
        if value is None:
            raise ConfigError(
                f"{path} has no probabilities of {row['classifier']!r}, by which {kind.name} are "
                f"ranked; {REMEDY}"
            )
        predictions.append(Predicted(**row, value=value, probability=probability))
    return windows, predictions


def _typed_table(path: Path, kind: Kind) -> pa.Table:
    """Return the columns of the file that comparisons read, in their types."""
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({reason(error)}); {REMEDY}") from None
    try:
        table = read_parquet(data, str(path), most_rows=_MAX_ROWS, most_values=_MAX_VALUES)
    except ShardError as error:
        raise ConfigError(str(error)) from None

    if "head_seed" not in table.column_names:  # format 1
        table = table.append_column("head_seed", pa.array([0] * len(table), pa.int64()))
    types = _TYPES | dict.fromkeys(("label", "prediction"), (kind.cell_name, kind.cell))
    if _TIME not in table.column_names:
        del types[_TIME]
    columns = {name: _column(table, name, types[name], path) for name in types}
    if _PROBABILITY in table.column_names:
        columns[_PROBABILITY] = table.column(_PROBABILITY)
    return pa.table(columns)


def _column(table: pa.Table, name: str, expected: tuple[str, Any], path: Path) -> pa.ChunkedArray:
    """Return a column of the expected type, without empty cells."""
    words, kind = expected
    if name not in table.column_names:
        raise ConfigError(f"{path} lacks the column {name!r}; {REMEDY}")
    column = table.column(name)
    if column.type != kind:
        raise ConfigError(f"{path}: the column {name!r} has no {words}; {REMEDY}")
    if column.null_count:
        raise ConfigError(f"{path}: the column {name!r} has empty cells; {REMEDY}")
    if pa.types.is_floating(kind) and not np.isfinite(column.to_numpy()).all():
        raise ConfigError(f"{path}: the column {name!r} has numbers that are not finite; {REMEDY}")
    return column


def _probabilities(
    rows: pa.Table, kind: Kind, num_classes: int, path: Path
) -> Float64[np.ndarray, "n classes"] | None:
    """Return the probabilities of the rows of one prediction; None if it has none."""
    if _PROBABILITY not in rows.column_names:
        return None
    column = rows.column(_PROBABILITY)
    if column.null_count == len(column):
        return None

    # Accept lists of the right length that are probabilities, up to rounding.
    lists = pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type)
    if lists and not column.null_count:
        flat = pc.list_flatten(column)
        lengths = pc.list_value_length(column).to_numpy()
        if (lengths == num_classes).all() and not flat.null_count:
            found: Float64[np.ndarray, "n classes"] = (
                flat.to_numpy().astype(np.float64).reshape(-1, num_classes)
            )
            inside = (found > -_ROUNDING) & (found < 1 + _ROUNDING)
            one = np.abs(found.sum(1) - 1) < _ROUNDING
            if inside.all() and (kind.ranks_classes or one.all()):
                return found

    raise ConfigError(
        f"{path}: the column {_PROBABILITY!r} has rows that are not {num_classes} probabilities"
        f"{'' if kind.ranks_classes else ' with the sum 1'}; {REMEDY}"
    )


def _windows(rows: pa.Table, label: np.ndarray, path: Path) -> Windows:
    """Return sorted rows as windows; each occurs once."""
    # The rows are sorted, so equal windows are neighbors.
    keys = [rows.column(name) for name in ("source", "case", "video")]
    start_s, end_s = (rows.column(name).to_numpy() for name in ("start_s", "end_s"))
    repeated = (np.diff(start_s) == 0) & (np.diff(end_s) == 0)
    for column in keys:
        names = column.combine_chunks()
        repeated &= pc.equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    if repeated.any():
        raise ConfigError(f"{path} has a window twice; {REMEDY}")

    # The label's time must lie in its window.
    has_label_times = _TIME in rows.column_names
    time_s = rows.column(_TIME).to_numpy() if has_label_times else end_s
    inside = (time_s >= start_s - _ROUNDING) & (time_s <= end_s + _ROUNDING)
    if not (inside & (np.abs(time_s) < _MAX_S)).all():
        raise ConfigError(f"{path} has a label at a time outside its window; {REMEDY}")

    source, case, video = (column.to_pylist() for column in keys)
    return Windows(
        source=source,
        case=case,
        video=video,
        start_s=start_s,
        end_s=end_s,
        time_s=time_s,
        has_label_times=has_label_times,
        label=label,
    )
