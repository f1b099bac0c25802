"""Traces of checkpoints that are gone: a new start would overwrite the encoder and the log."""

import os
from pathlib import Path

from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import ENCODER_FILE, encoder_provenance
from surgrec.runs import RunFiles, read_rows
from surgrec.storage import in_the_way
from surgrec.text import counted
from surgrec.training._checkpoint import Checkpoints
from surgrec.yaml_files import read_yaml


def require_nothing_lost(checkpoints: Checkpoints, first_save: int) -> None:
    """Check that a run folder without a checkpoint never had one. Changes nothing.

    A run that was killed before or during its first save has lost nothing.

    Args:
        checkpoints: Checkpoints in the run folder.
        first_save: Steps before the first checkpoint, if `config.yaml` does not tell it.

    Raises:
        CheckpointError: The place of the checkpoints is not a folder, the folder has an encoder
            file, or its log reaches the first checkpoint.
        ConfigError: The log has a damaged row.
    """
    run_dir, folder = checkpoints.run_dir, checkpoints.folder
    if found := in_the_way(folder):
        raise CheckpointError(f"{found}, or choose another run_dir")

    remedy = (
        "a start at step 0 would overwrite the run; restore the folder "
        f"{folder}, or choose another run_dir"
    )
    encoder = run_dir / ENCODER_FILE
    if os.path.lexists(encoder):
        step = encoder_step(encoder)
        # A save puts its encoder file in place just before its checkpoint.
        if not isinstance(step, int) or not checkpoints.unfinished(step).is_dir():
            of_step = f" of step {step}" if isinstance(step, int) else ""
            raise CheckpointError(
                f"{run_dir} has an encoder file{of_step}, but no checkpoint, and {remedy}"
            )

    # A save that was cut short has created the folder. The run goes on while the save writes, but
    # not beyond the second save, which waits for the first.
    files = RunFiles(run_dir)
    rows = read_rows(files.metrics)
    logged = max((row["step"] + 1 for row in rows), default=0)
    first = _first_save(files.config, first_save)
    if rows and logged > (2 * first if folder.exists() else first - 1):
        raise CheckpointError(
            f"{files.metrics} has rows of {counted(logged, 'step')}, which reach the first save, "
            f"but {run_dir} has no checkpoint, and {remedy}"
        )


def encoder_step(path: Path) -> object:
    """Return the step of an encoder file, or None if it is missing or damaged."""
    try:
        return encoder_provenance(path).get("step")
    except CheckpointError:
        return None


def _first_save(config: Path, default: int) -> int:
    """Return the first step that the run in a folder saves, by its own config."""
    try:
        values = read_yaml(config)
    except ConfigError:  # damaged, or of a start that was refused
        return default
    wanted = [values.get(name) for name in ("save_every", "steps")] if values else []
    steps = [value for value in wanted if isinstance(value, int)]
    return min(steps, default=default)
