"""Which sample comes next (pure functions), then fetching its bytes. No torch."""

from surgrec.stream.cache_filler import FillerStatus, run_cache_filler
from surgrec.stream.cache_policy import ShardDemands
from surgrec.stream.draw_plan import (
    SourcePlan,
    over_repeated,
    plan_draws,
    require_few_repeats,
    sum_by_domain,
    summarize_draws,
)
from surgrec.stream.fetch import Fetcher, ReadStats
from surgrec.stream.mixture import Level, Mixture
from surgrec.stream.order import rank_positions, sample_key
from surgrec.stream.permutation import hash_int, hash_uniform
from surgrec.stream.stream import Draw, Stream

__all__ = [
    "Draw",
    "Fetcher",
    "FillerStatus",
    "Level",
    "Mixture",
    "ReadStats",
    "ShardDemands",
    "SourcePlan",
    "Stream",
    "hash_int",
    "hash_uniform",
    "over_repeated",
    "plan_draws",
    "rank_positions",
    "require_few_repeats",
    "run_cache_filler",
    "sample_key",
    "sum_by_domain",
    "summarize_draws",
]
