"""Clusters of a million clips: their time, memory and effect on rare kinds of clips.

    .venv/bin/python -m benchmarks.clusters [--part draws]

`time` clusters random vectors around directions, most of them near a few. `draws` plants ten kinds
of clips, 1,000 to 1, and prints the share of each kind that an epoch draws, without a policy and
under `balance`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32

from benchmarks.contenders.memory_use import peak_bytes
from surgrec.cli import parse
from surgrec.clusters import cluster_tree, gini
from surgrec.ranges import Range
from surgrec.stream.cluster_policy import ClusterPolicy

KINDS = (10_000, 3_000, 1_000, 300, 100, 70, 50, 30, 20, 10)
"""Clips of each planted kind."""
DIRECTIONS = 20_000


@dataclass(frozen=True, kw_only=True)
class ClusterBenchmark:
    """Clusters of made-up clips."""

    part: Literal["time", "draws"] = "time"
    """time: the time of all stages; draws: draws of rare and frequent kinds."""
    clips: Annotated[int, Range(1000, 10**8)] = 1_000_000
    """Vectors to cluster, for the part `time`."""
    width: Annotated[int, Range(8, 8192)] = 384
    """Their dimensions."""
    levels: tuple[int, ...] = (5000, 500, 50)
    """Clusters by level, from the finest to the coarsest, for the part `time`."""
    seed: Annotated[int, Range(0, 10**6)] = 0
    """Seed of vectors and clusters."""


def main(options: ClusterBenchmark) -> None:
    """Measure clusters of clips."""
    if options.part == "draws":
        _draws(options.seed)
    else:
        _time(options.clips, options.width, options.levels, options.seed)


def _time(clips: int, width: int, levels: Sequence[int], seed: int) -> None:
    vectors = made_vectors(clips, width, seed)
    start_s, used_s = time.perf_counter(), time.process_time()
    tree = cluster_tree(
        vectors,
        levels,
        seed=seed,
        in_place=True,
        tell=lambda stage: print(f"{_since(start_s)} {stage}", flush=True),
    )
    print(f"{_since(start_s)} done, {time.process_time() - used_s:.0f} s of processor time")

    # Choose half of the clips, as a run with this policy does.
    start_s = time.perf_counter()
    policy = ClusterPolicy(policy="balance", share=0.5)
    cases = np.random.default_rng(seed).integers(0, 10_535, clips)
    copies = policy.copies(tree.levels, cases, source="made")
    print(f"choice of {copies.sum():,} clips: {time.perf_counter() - start_s:.1f} s")
    for number, labels in enumerate(tree.levels, start=1):
        natural, drawn = np.bincount(labels), np.bincount(labels, copies)
        print(f"level {number}: Gini {gini(natural):.2f}, drawn {gini(drawn):.2f}")

    peak_gib = peak_bytes() / 2**30
    print(f"most memory: {peak_gib:.1f} GiB, of which vectors {vectors.nbytes / 2**30:.1f}")


def made_vectors(clips: int, width: int, seed: int) -> Float32[np.ndarray, "clips width"]:
    """Return noisy vectors around directions that are used in proportion to 1 / rank."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((DIRECTIONS, width), dtype=np.float32)
    weights = 1 / np.arange(1, DIRECTIONS + 1)
    chosen = random.choice(DIRECTIONS, clips, p=weights / weights.sum())
    vectors = random.standard_normal((clips, width), dtype=np.float32)
    vectors *= 0.5
    vectors += directions[chosen]
    return vectors


def _draws(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = random.permutation(np.repeat(np.arange(len(KINDS)), KINDS))
    directions = random.normal(size=(len(KINDS), 64))
    vectors = directions[kinds] + 0.5 * random.normal(size=(len(kinds), 64))
    tree = cluster_tree(vectors.astype(np.float32), [400, 40, 10], seed=seed)
    copies = ClusterPolicy(policy="balance", share=0.1).copies(
        tree.levels, np.zeros_like(kinds), source="made"
    )
    print("| clips of the kind | " + " | ".join(f"{number:,}" for number in KINDS) + " |")
    drawn = np.bincount(kinds, copies)
    print("| drawn, natural | " + " | ".join(f"{number * 0.1:.0f}" for number in KINDS) + " |")
    print("| drawn, balance | " + " | ".join(f"{number:.0f}" for number in drawn) + " |")


def _since(start_s: float) -> str:
    return f"{time.perf_counter() - start_s:6.1f} s"


if __name__ == "__main__":
    main(parse(ClusterBenchmark, prog="benchmarks/clusters.py"))
