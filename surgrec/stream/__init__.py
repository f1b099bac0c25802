"""The stream: which sample comes at which position of a run, and the bytes of samples. No torch.

Example:
    >>> stream = Stream(open_corpus(["/data/corpus"]), Mixture(), seed=239)
    >>> draws = stream.draws(rank_positions(0, global_batch=24, rank=0, world_size=8))
    >>> mp4s = Fetcher(stream.sources, threads=8).fetch([stream.sample(draw) for draw in draws])
"""

from surgrec.stream._cache_filler import FillerStatus, run_cache_filler
from surgrec.stream._draw_plan import DrawPlan
from surgrec.stream._fetch import Fetcher, ReadStats
from surgrec.stream._mixture import Level, Mixture, Stage
from surgrec.stream._order import comparable_order, names_admitted, rank_positions, sample_key
from surgrec.stream._permutation import hash_int, hash_uniform
from surgrec.stream._stream import Draw, Stream

__all__ = [
    "Draw",
    "DrawPlan",
    "Fetcher",
    "FillerStatus",
    "Level",
    "Mixture",
    "ReadStats",
    "Stage",
    "Stream",
    "comparable_order",
    "hash_int",
    "hash_uniform",
    "names_admitted",
    "rank_positions",
    "run_cache_filler",
    "sample_key",
]
