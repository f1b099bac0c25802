"""The totals of a source in `corpus.json`, which its index and its shards decide."""

import math
from collections.abc import Sequence
from typing import TypedDict

from surgrec.shards._write import Shard
from surgrec.shards.layout import Sample, source_digest


class SourceTotals(TypedDict):
    """The part of `SourceEntry` that the index and the shards decide."""

    domain: str
    samples: int
    videos: int
    cases: int
    hours: float
    bytes: int
    digest: str


def source_totals(samples: Sequence[Sample], shards: Sequence[Shard]) -> SourceTotals:
    """Return what `corpus.json` lists of the samples, at least one, and the shards of a source."""
    return SourceTotals(
        domain=samples[0].clip.domain,
        samples=len(samples),
        videos=len({sample.clip.video for sample in samples}),
        cases=len({sample.clip.case for sample in samples}),
        hours=round(math.fsum(sample.clip.duration_s for sample in samples) / 3600, 6),
        bytes=sum(shard.bytes for shard in shards),
        digest=source_digest((sample.key, sample.sha256) for sample in samples),
    )
