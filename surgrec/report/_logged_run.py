"""Read the folders of runs once, for all sections of a report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from surgrec.errors import CheckpointError, ConfigError, ShardError, StorageError, reason
from surgrec.evaluation import read_evaluations
from surgrec.features.own_encoder import FrozenEncoder, open_own_encoder
from surgrec.models import ENCODER_FILE
from surgrec.regular_files import read_regular
from surgrec.runs import (
    Plan,
    RunFiles,
    StartRow,
    Watched,
    consumed_samples,
    read_metrics,
    read_plan,
    read_rows,
    read_watched,
)
from surgrec.shards import Source, open_corpus
from surgrec.storage import RetryPolicy

_MAX_CONFIG_BYTES = 1 << 20
_RETRY_POLICY = RetryPolicy(deadline_s=20.0)
"""Shorter than the default: a user waits for the page, and it can be written without a corpus."""


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The files of one run."""

    run_dir: Path
    name: str
    """Name of the folder, with as much of its path as distinguishes it from the other runs."""
    rows: list[dict[str, Any]]
    """Rows of `metrics.jsonl`, at least one."""
    starts: list[dict[str, Any]]
    """Rows of `starts.jsonl`."""
    watched: Watched
    """Rows of drift, probes and alarms."""
    num_bad_samples: int
    plan: Plan
    """Content of `plan.json`."""
    config: str
    """Text of `config.yaml`."""
    trained: FrozenEncoder | None
    """The encoder that the run saved last. None if it has not saved one yet."""
    evaluations: list[dict[str, Any]]
    """Contents of `evaluation.json` files, of this encoder or of an earlier one."""

    @property
    def recipe(self) -> str | None:
        """Recipe that trained the encoder: jepa or mae. None before the first encoder is saved."""
        return self.trained.facts["provenance"]["recipe"] if self.trained else None

    @property
    def corpora(self) -> list[str]:
        """Addresses of the corpora that the run draws from."""
        return self.plan["corpora"]

    @property
    def num_clips(self) -> int:
        """Number of clips that the run has consumed."""
        return consumed_samples(self.rows).total()

    def realized_shares(self) -> dict[str, float]:
        """Return the share of each source among the consumed clips."""
        consumed = consumed_samples(self.rows)
        total = max(1, consumed.total())
        return {source: count / total for source, count in sorted(consumed.items())}


@dataclass(frozen=True, kw_only=True)
class OpenedCorpora:
    """The corpora of several runs, each opened once."""

    sources: dict[str, dict[str, Source]] = field(default_factory=dict)
    """Sources by name, for each address of a corpus."""
    missing: dict[str, str] = field(default_factory=dict)
    """For each address that cannot be read, a sentence with the reason."""

    def sources_of(self, run: LoggedRun) -> dict[str, Source]:
        """Return the readable sources of one run by name."""
        return {
            name: source
            for address in run.corpora
            for name, source in self.sources.get(address, {}).items()
        }


def read_runs(run_dirs: Sequence[Path]) -> list[LoggedRun]:
    """Read the runs in these folders, in their order.

    Raises:
        ConfigError: A folder is given twice, or has no logged step.
        CheckpointError: An encoder is damaged, or does not name the recipe that trained it.
    """
    names = distinct_names(run_dirs)
    return [_read_run(run_dir, name) for run_dir, name in zip(run_dirs, names, strict=True)]


def open_corpora(runs: Sequence[LoggedRun]) -> OpenedCorpora:
    """Open the corpora of these runs. An unreadable corpus becomes a sentence, not an error."""
    corpora = OpenedCorpora()
    for address in dict.fromkeys(address for run in runs for address in run.corpora):
        try:
            corpora.sources[address] = open_corpus([address], policy=_RETRY_POLICY)
        except (StorageError, ShardError) as error:
            names = ", ".join(run.name for run in runs if address in run.corpora)
            corpora.missing[address] = f"The corpus {address} of {names} cannot be shown: {error}."
    return corpora


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of each path, as few as distinguish it from the others.

    Raises:
        ConfigError: Two paths lead to the same folder.
    """
    parts = [path.resolve().parts for path in paths]
    repeated = [path for path, count in Counter(parts).items() if count > 1]
    if repeated:
        raise ConfigError(f"{Path(*repeated[0])} is given twice; name each run once")

    lengths = [1] * len(parts)
    while True:
        names = ["/".join(path[-length:]) for path, length in zip(parts, lengths, strict=True)]
        counts = Counter(names)
        if max(counts.values(), default=1) == 1:
            return names

        # Lengthen the names that occur more than once.
        lengths = [length + (counts[name] > 1) for length, name in zip(lengths, names, strict=True)]


def _read_run(run_dir: Path, name: str) -> LoggedRun:
    return LoggedRun(
        run_dir=run_dir,
        name=name,
        rows=read_metrics(run_dir),
        starts=read_rows(RunFiles(run_dir).starts, StartRow),
        watched=read_watched(run_dir),
        num_bad_samples=len(read_rows(RunFiles(run_dir).quarantine)),
        plan=read_plan(run_dir),
        config=_read_config(RunFiles(run_dir).config),
        trained=_read_encoder(run_dir),
        evaluations=read_evaluations(run_dir),
    )


def _read_config(path: Path) -> str:
    """Return the text of config.yaml, which the page shows as it is."""
    try:
        return read_regular(path, _MAX_CONFIG_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({reason(error)}); restore the file from a copy"
        ) from None


def _read_encoder(run_dir: Path) -> FrozenEncoder | None:
    path = run_dir / ENCODER_FILE
    if not path.is_file():
        return None

    trained = open_own_encoder(run_dir, torch.device("cpu"))
    if not {"recipe", "order"} <= trained.facts["provenance"].keys():
        raise CheckpointError(
            f"{path} does not record the recipe that trained it; "
            "train the run again with this version of SurgRec"
        )
    return trained
