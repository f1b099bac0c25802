"""The remedy for a run that has diverged."""

from pathlib import Path

from surgrec.runs import RunFiles


def lower_rate_from(run_dir: Path, failed: int) -> str:
    """Return the remedy for a run whose loss, gradient or weights are not finite.

    It is to go on from the newest checkpoint before the failure, with a lower learning rate.

    Args:
        run_dir: Folder of the run.
        failed: The first step that failed.
    """
    files = RunFiles(run_dir)
    steps = files.checkpoint_steps()
    if not steps:
        return "start in another run_dir with a smaller --optimizer.lr.value"

    # The checkpoint of step N contains the steps before N.
    before = max((step for step in steps if step <= failed), default=steps[0])
    newer = [f"step-{step:08d}" for step in steps if step > before]
    remove = f"remove {', '.join(newer)} from {files.checkpoints}, and " if newer else ""
    return (
        f"{remove}go on from step {before} with --resume true --resume_with_changes optimizer and "
        "a smaller --optimizer.lr.value"
    )
