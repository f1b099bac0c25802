"""`surgrec order`: the samples that a rank trains on."""

import json
import sys
from typing import Annotated

from surgrec.ranges import Range, Seed
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream, rank_positions


def order(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: Seed = 0,
    global_batch: Annotated[int, Range(1, 10**7)] = 24,
    world_size: Annotated[int, Range(1, 10**6)] = 1,
    rank: Annotated[int, Range(0, 10**6)] = 0,
    start_step: Annotated[int, Range(0, 10**9)] = 0,
    num_steps: Annotated[int, Range(0, 10**9)] = 1,
) -> None:
    """Print the samples that a rank trains on, one JSON line each. No frame is decoded.

    Args:
        corpus: One or several corpora: folders, or s3://bucket/prefix.
        mixture: Mixture: a YAML file, or single fields. By default, domains have equal shares.
            Within a domain, a source's share is proportional to the square root of its size.
        seed: Seed of the run.
        global_batch: Samples per step over all ranks.
        world_size: Number of ranks.
        rank: Rank to print, from 0.
        start_step: First step.
        num_steps: Number of steps.

    Example:
        surgrec order /data/corpus --global_batch 192 --num_steps 2
    """
    stream = Stream(open_corpus(corpus), mixture, seed)
    for step in range(start_step, start_step + num_steps):
        positions = rank_positions(
            step, global_batch=global_batch, rank=rank, world_size=world_size
        )

        for draw in stream.draws(positions):
            line = {
                "step": step,
                "slot": draw.position - step * global_batch,
                "source": draw.source,
                "key": stream.key(draw),
                "source_epoch": draw.source_epoch,
            }
            sys.stdout.write(json.dumps(line) + "\n")
