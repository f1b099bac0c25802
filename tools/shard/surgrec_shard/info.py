"""Counts of a corpus, from `corpus.json` and the indexes alone."""

from dataclasses import asdict
from typing import Any

import numpy as np

from surgrec.shards import Source


def describe_sources(sources: dict[str, Source]) -> list[dict[str, Any]]:
    """Return one row per source: counts, hours, bytes, and the number of clips of each split."""
    return [_describe(source) for source in sources.values()]


def _describe(source: Source) -> dict[str, Any]:
    entry = asdict(source.entry) | {"shards": len(source.entry.shards)}
    splits = np.asarray(source.index.column("split").to_numpy(zero_copy_only=False), dtype=str)
    names, counts = np.unique(splits, return_counts=True)
    clips = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    return {"source": source.name, "root": source.store.address, **entry, "clips_per_split": clips}
