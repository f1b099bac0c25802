"""What a run left behind, read once for all sections of a report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from surgrec.errors import CheckpointError, ConfigError, ShardError, StorageError
from surgrec.evaluation import read_evaluations
from surgrec.features import EncoderChoice, FrozenEncoder, open_encoder
from surgrec.models import ENCODER_FILE
from surgrec.runs import consumed_samples, read_metrics, read_plan, read_rows
from surgrec.runs.plan import CONFIG_FILE
from surgrec.runs.rows import QUARANTINE_FILE, STARTS_FILE
from surgrec.shards import Source, open_corpus
from surgrec.storage import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run."""

    run_dir: Path
    name: str
    """Its folder's name, or as much of the path as tells it from the others."""
    rows: list[dict[str, Any]]
    """Of metrics.jsonl; at least one."""
    starts: list[dict[str, Any]]
    bad_samples: int
    plan: dict[str, Any]
    config: str
    """Its config.yaml."""
    trained: FrozenEncoder | None
    """The encoder that it saved last; None where it has not saved one yet."""
    evaluations: list[dict[str, Any]]
    """Of that encoder or of an earlier one."""

    @property
    def recipe(self) -> str | None:
        """What trained it: jepa or mae. None where no encoder says so yet."""
        return self.trained.facts["provenance"]["recipe"] if self.trained else None

    @property
    def corpora(self) -> list[str]:
        """Addresses of the corpora that it draws from."""
        addresses: list[str] = self.plan["corpora"]
        return addresses

    @property
    def num_clips(self) -> int:
        """Clips that it has been trained on."""
        return consumed_samples(self.rows).total()

    def realized_shares(self) -> dict[str, float]:
        """Share of each source among the clips that it has been trained on."""
        consumed = consumed_samples(self.rows)
        return {source: count / consumed.total() for source, count in sorted(consumed.items())}


def read_runs(run_dirs: Sequence[Path]) -> list[Run]:
    """The runs in these folders, in their order.

    Raises:
        ConfigError: A folder is given twice, or holds no run that has logged a step.
        CheckpointError: An encoder is damaged, or does not say which recipe trained it.
    """
    return [
        _read_run(run_dir, name)
        for run_dir, name in zip(run_dirs, distinct_names(run_dirs), strict=True)
    ]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell it from the others.

    Raises:
        ConfigError: Two paths lead to the same place.
    """
    parts = [path.resolve().parts for path in paths]
    twice = [path for path, count in Counter(parts).items() if count > 1]
    if twice:
        raise ConfigError(f"{Path(*twice[0])} is given twice; name each run once")
    lengths = [1] * len(parts)
    while True:
        names = ["/".join(own[-length:]) for own, length in zip(parts, lengths, strict=True)]
        count = Counter(names)
        if max(count.values(), default=1) == 1:
            return names
        lengths = [length + (count[name] > 1) for length, name in zip(lengths, names, strict=True)]


@dataclass(frozen=True, kw_only=True)
class OpenedCorpora:
    """The corpora of several runs, each opened once."""

    sources: dict[str, dict[str, Source]] = field(default_factory=dict)
    """Sources by name, by the corpus's address."""
    missing: dict[str, str] = field(default_factory=dict)
    """A sentence for each address that cannot be read."""

    def of(self, run: Run) -> dict[str, Source]:
        """The sources of one run that can be read, by name."""
        return {
            name: source
            for address in run.corpora
            for name, source in self.sources.get(address, {}).items()
        }


_HURRIED = RetryPolicy(deadline_s=20.0)
"""Somebody waits for the page, and it does without a corpus too."""


def open_corpora(runs: Sequence[Run]) -> OpenedCorpora:
    """The corpora of these runs; one that is gone or cannot be reached is a sentence, not an error."""
    opened = OpenedCorpora()
    for address in dict.fromkeys(address for run in runs for address in run.corpora):
        try:
            opened.sources[address] = open_corpus([address], policy=_HURRIED)
        except (StorageError, ShardError) as error:
            names = ", ".join(run.name for run in runs if address in run.corpora)
            opened.missing[address] = f"The corpus {address} of {names} cannot be shown: {error}."
    return opened


def _read_run(run_dir: Path, name: str) -> Run:
    return Run(
        run_dir=run_dir,
        name=name,
        rows=read_metrics(run_dir),
        starts=read_rows(run_dir / STARTS_FILE),
        bad_samples=len(read_rows(run_dir / QUARANTINE_FILE)),
        plan=read_plan(run_dir),
        config=(run_dir / CONFIG_FILE).read_text(encoding="utf-8"),
        trained=_read_encoder(run_dir),
        evaluations=read_evaluations(run_dir),
    )


def _read_encoder(run_dir: Path) -> FrozenEncoder | None:
    if not (run_dir / ENCODER_FILE).is_file():
        return None
    trained = open_encoder(EncoderChoice(path=run_dir), torch.device("cpu"))
    if "recipe" not in trained.facts["provenance"]:
        raise CheckpointError(
            f"{run_dir / ENCODER_FILE} does not say which recipe trained it; train the run again with this surgrec"
        )
    return trained
