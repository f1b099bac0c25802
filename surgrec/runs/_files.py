"""Names of the files in a run folder."""

from dataclasses import dataclass
from pathlib import Path

from surgrec.runs._rows import keep_rows_before


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
    def quarantine(self) -> Path:
        """One row per bad sample."""
        return self.run_dir / "quarantine.jsonl"

    @property
    def stop(self) -> Path:
        """A file that a user creates to stop the run at its next sync."""
        return self.run_dir / "STOP"

    def drop_rows_from(self, step: int) -> None:
        """Drop the rows of `step` and later steps, which a resumed run writes again."""
        for path in (self.metrics, self.samples, self.quarantine):
            keep_rows_before(path, step)
