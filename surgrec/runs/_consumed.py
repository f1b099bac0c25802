"""The samples that a run has consumed, counted from its metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from surgrec.config_values import from_plain
from surgrec.errors import ConfigError
from surgrec.runs._files import RunFiles
from surgrec.runs._rows import ConsumedRow, MetricsRow, read_rows
from surgrec.stream import Mixture
from surgrec.yaml_files import read_yaml


@dataclass(frozen=True, kw_only=True)
class RunMixture:
    """The mixture of a run and the samples it has consumed."""

    mixture: Mixture
    """The declared mixture."""
    seed: int
    """Seed of the order."""
    consumed: dict[str, int]
    """Samples per source, counted while the run trained."""


def read_run(run_dir: Path) -> RunMixture:
    """Read the mixture of a run and count the samples it has consumed.

    Raises:
        ConfigError: The folder contains no run, or a run without a logged step.
    """
    consumed = consumed_samples(read_metrics(run_dir, ConsumedRow))
    path = RunFiles(run_dir).config
    config = read_yaml(path)
    if not isinstance(config, dict) or not isinstance(config.get("seed"), int):
        raise ConfigError(f"{path} has no seed as a whole number; restore the run's own file")
    mixture = from_plain(Mixture, config.get("mixture"), f"{path}, mixture")
    return RunMixture(mixture=mixture, seed=config["seed"], consumed=dict(consumed))


def read_metrics(run_dir: Path, kind: type[Any] = MetricsRow) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl, at least one.

    Args:
        run_dir: Folder of the run.
        kind: Type of the rows, with the columns that the caller needs.

    Raises:
        ConfigError: The folder contains no run, or a run without a logged step; or a row is
            damaged.
    """
    path = RunFiles(run_dir).metrics
    rows = read_rows(path, kind)
    if not rows:
        raise ConfigError(
            f"{run_dir} holds no run with a logged step ({path.name} is missing or empty); "
            "give the folder of a run"
        )

    for before, row in pairwise(rows):
        if row["step"] <= before["step"]:
            raise ConfigError(
                f"{path}: step {row['step']} follows step {before['step']}, but a run logs each "
                "step once; restore the file from a copy, or remove the repeated rows"
            )

    return rows


def consumed_samples(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of samples per source that rows of metrics.jsonl count."""
    consumed: Counter[str] = Counter()
    for row in rows:
        consumed.update(row["consumed"])
    return consumed
