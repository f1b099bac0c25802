"""`surgrec-shard phantom`: procedural videos, to try SurgRec without patient data."""

import os
from pathlib import Path
from typing import Annotated

from surgrec.ranges import Range, Seed
from surgrec.terminal import escape, say, stage_progress
from surgrec_shard.phantom.render_corpus import render_corpus


def phantom(
    *,
    out: Path,
    seed: Seed = 0,
    minutes: Annotated[float, Range(0, 10_000, above=True)] = 12.0,
    workers: Annotated[int, Range(0, 1024)] = 0,
) -> None:
    """Render procedural videos that resemble surgery in four domains, with a manifest and labels.

    Args:
        out: Folder for the videos and their manifest.
        seed: The same seed gives the same bytes on one machine.
        minutes: Minutes of video over all sources.
        workers: Cases rendered at once; 0: one per core.

    Example:
        surgrec-shard phantom --out phantom --minutes 12
    """
    with stage_progress() as progress:
        manifest = render_corpus(
            out,
            seed=seed,
            minutes=minutes,
            workers=workers or os.cpu_count() or 1,
            progress=lambda done, total: progress("rendering", done, total),
        )
    say(escape(f"manifest: {manifest}"))
