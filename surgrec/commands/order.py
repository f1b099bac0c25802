"""`surgrec order`: what a rank trains on, without decoding a frame."""

import json
import sys

from surgrec.errors import ConfigError
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream, rank_positions


def order(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: int = 0,
    global_batch: int = 24,
    world_size: int = 1,
    rank: int = 0,
    start_step: int = 0,
    num_steps: int = 1,
) -> None:
    """What a rank would train on: one JSON line per sample, without decoding a frame.

    Args:
        corpus: One or several corpus roots.
        mixture: A mixture YAML file, or its fields as flags. Default: domains equally, sources by square root.
        seed: Seed of the run.
        global_batch: Samples per step over all ranks.
        world_size: Number of ranks.
        rank: Which rank.
        start_step: First step.
        num_steps: Number of steps.
    """
    if start_step < 0 or num_steps < 0:
        raise ConfigError(f"start_step {start_step} and num_steps {num_steps} may not be negative")
    stream = Stream(open_corpus(corpus), mixture, seed)
    for step in range(start_step, start_step + num_steps):
        for draw in stream.draws(
            rank_positions(step, global_batch=global_batch, rank=rank, world_size=world_size)
        ):
            line = {
                "step": step,
                "slot": draw.position - step * global_batch,
                "source": draw.source,
                "key": stream.key(draw),
                "source_epoch": draw.source_epoch,
            }
            sys.stdout.write(json.dumps(line) + "\n")
