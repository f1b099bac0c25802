"""The encoder with the best score of the probe, a file of the run folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import Encoder, encoder_provenance
from surgrec.terminal import escape, warn

BEST_ENCODER_FILE = "encoder_best.safetensors"
"""Name of the encoder with the best score of the probe in a run folder."""

WriteBest = Callable[[Encoder, int, Path, Mapping[str, Any]], None]
"""Writes a whole encoder after some steps to a path, with a record of its score."""


@dataclass(frozen=True, kw_only=True)
class BestEncoder:
    """The file of the best encoder, which records its score, its step and the probe."""

    path: Path
    write: WriteBest

    def require_probe(self, identity: Mapping[str, Any]) -> None:
        """Refuse an encoder whose score is of another probe.

        Raises:
            CheckpointError: The file is damaged, or has no score.
            ConfigError: The score is of another probe.
        """
        best = self._record()
        if best is not None and best["identity"] != identity:
            raise ConfigError(
                f"{self.path} was chosen by another probe (task {best['identity'].get('task')}), "
                "so scores cannot be compared; move the file to another folder, or give the same "
                "probe.corpus, task, split and clips"
            )

    def warn_if_lost(self, probes: Sequence[Mapping[str, Any]]) -> None:
        """Warn of an encoder that the next probe replaces, whatever its score."""
        if self.path.exists() and self._score(probes) is None:
            warn(
                f"{escape(str(self.path))} is of steps that this start "
                "does not continue; the next probe replaces it, whatever its score; copy it to "
                "keep it"
            )

    def is_beaten_by(self, score: float, probes: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether an encoder with a score would be the best.

        Args:
            score: Its score.
            probes: Rows of probe.jsonl, without those of dropped steps.
        """
        best = self._score(probes)
        return best is None or score > best

    def _score(self, probes: Sequence[Mapping[str, Any]]) -> float | None:
        """Return the score of the best encoder; None without one, or if its row was dropped.

        Such an encoder is of steps that a resume from an earlier checkpoint has discarded.
        """
        best = self._record()
        if best is None or (best["step"], best["score"]) not in {
            (row["step"], row["score"]) for row in probes
        }:
            return None
        return float(best["score"])

    def _record(self) -> dict[str, Any] | None:
        """Return the record of the best encoder's score; None if the run has no such encoder.

        Raises:
            CheckpointError: The file is damaged, or has no score.
        """
        if not self.path.exists():
            return None
        record = encoder_provenance(self.path).get("probe")
        if not isinstance(record, dict) or not {"score", "step", "identity"} <= record.keys():
            raise CheckpointError(
                f"{self.path} does not record the score of a probe; move it to another folder"
            )
        return record
