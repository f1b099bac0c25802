"""Names of the files in a run folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.errors import CheckpointError
from surgrec.runs._rows import keep_rows_before

_CHECKPOINT = re.compile(r"step-([0-9]{8,15})")


@dataclass(frozen=True)
class RunFiles:
    """Paths of the files that describe a run; README.md lists their contents."""

    run_dir: Path
    """Folder of the run."""

    @property
    def config(self) -> Path:
        """The resolved config, as YAML."""
        return self.run_dir / "config.yaml"

    @property
    def plan(self) -> Path:
        """The draws planned from each source, as JSON."""
        return self.run_dir / "plan.json"

    @property
    def starts(self) -> Path:
        """One row per start of the run."""
        return self.run_dir / "starts.jsonl"

    @property
    def metrics(self) -> Path:
        """One row per step."""
        return self.run_dir / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """One row per sample of every step, if `log.samples` is set."""
        return self.run_dir / "samples.jsonl"

    @property
    def skipped(self) -> Path:
        """One row per sample of every skipped step."""
        return self.run_dir / "skipped.jsonl"

    @property
    def probe(self) -> Path:
        """One row per probe of the encoder, if the run has a probe."""
        return self.run_dir / "probe.jsonl"

    @property
    def drift(self) -> Path:
        """One row per comparison with the features of the start, if the run has one."""
        return self.run_dir / "drift.jsonl"

    @property
    def alarms(self) -> Path:
        """One row per alarm."""
        return self.run_dir / "alarms.jsonl"

    @property
    def quarantine(self) -> Path:
        """One row per bad sample."""
        return self.run_dir / "quarantine.jsonl"

    @property
    def stop(self) -> Path:
        """A file that a user creates to stop the run at its next sync."""
        return self.run_dir / "STOP"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.run_dir / "checkpoints"

    def checkpoint_steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(
            step
            for path in self.checkpoints.iterdir()
            if (match := _CHECKPOINT.fullmatch(path.name))
            and path.name == f"step-{(step := int(match.group(1))):08d}"
            and path.is_dir()
        )

    def require_newest(self, provenance: Mapping[str, Any], steps: Sequence[int]) -> None:
        """Refuse an encoder of the run that is older than the newest checkpoint.

        Args:
            provenance: Provenance of the encoder.
            steps: The checkpoints before the encoder file was read; a run may save meanwhile.

        Raises:
            CheckpointError: Names both steps.
        """
        step, newest = provenance.get("step"), max(steps, default=0)
        if isinstance(step, int) and step < newest:
            raise CheckpointError(
                f"{self.run_dir} has an encoder file of step {step}, but a checkpoint of step "
                f"{newest}, since a save was cut short; resume the run, which writes the encoder "
                f"of step {newest}, or give the encoder file itself to use step {step}"
            )

    def drop_rows_from(self, step: int) -> None:
        """Drop the rows of `step` and later steps, which a resumed run writes again."""
        for path in (self.metrics, self.samples, self.skipped, self.quarantine):
            keep_rows_before(path, step)

        # These count the steps done, so the rows of the checkpoint itself stay.
        for path in (self.probe, self.drift, self.alarms):
            keep_rows_before(path, step + 1)
