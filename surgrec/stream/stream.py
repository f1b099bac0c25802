"""A run's stream over opened corpora: from a position to the sample that stands there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from surgrec.errors import MixtureError
from surgrec.shards.corpus import Source
from surgrec.shards.layout import Sample
from surgrec.stream.mixture import Leaf, Mixture
from surgrec.stream.order import Order


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What stands at one position."""

    position: int
    source: str
    row: int
    """Row of the source's index."""
    source_epoch: int


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """What a stretch of the stream draws of one source."""

    source: str
    domain: str
    samples: int
    """Samples that may be drawn."""
    share: float
    """Exact share of every block of the stream."""
    draws: int
    """Samples drawn."""
    epochs: float
    """Draws per sample."""


class Stream:
    """The order of a run, and the rows of the corpora that it draws. Reads no shard."""

    def __init__(self, sources: dict[str, Source], mixture: Mixture, seed: int) -> None:
        self.sources = sources
        self._rows = {
            name: source.index.rows(splits=mixture.splits, min_duration_s=mixture.min_duration_s)
            for name, source in sources.items()
        }
        leaves = [
            Leaf(
                source=name,
                domain=source.entry.domain,
                digest=source.entry.digest,
                rows=source.index.rows_digest(self._rows[name]),
                size=len(self._rows[name]),
            )
            for name, source in sources.items()
        ]
        self.order = Order(leaves, mixture, seed)

    def draws(self, positions: Int64[np.ndarray, " n"]) -> list[Draw]:
        """What stands at these positions."""
        drawn = self.order(positions)
        names = [self.order.leaves[leaf].source for leaf in drawn.leaf]
        return [
            Draw(position=int(position), source=name, row=int(self._rows[name][sample]), source_epoch=int(epoch))
            for position, name, sample, epoch in zip(positions, names, drawn.sample, drawn.epoch, strict=True)
        ]

    def substitutes(self, draw: Draw) -> Iterator[Draw]:
        """What stands in for a draw whose sample is bad: the others of its source, in the same order in every run."""
        for sample in self.order.substitutes(draw.position):
            yield replace(draw, row=int(self._rows[draw.source][sample]))

    def sample(self, draw: Draw) -> Sample:
        """The index row of a draw."""
        return self.sources[draw.source].index.sample(draw.row)

    def key(self, draw: Draw) -> str:
        """The sample key of a draw."""
        return self.sources[draw.source].index.key(draw.row)

    def require_duration(self, seconds: float) -> None:
        """Refuses a stream that may draw a clip too short for what is read from it.

        Raises:
            MixtureError: A clip of a drawn source lasts less than `seconds`.
        """
        for leaf, count in zip(self.order.leaves, self.order.counts, strict=True):
            if not count:
                continue
            durations = self.sources[leaf.source].index.column("duration_s").to_numpy()[self._rows[leaf.source]]
            short = int((durations < seconds - 1e-6).sum())
            if short:
                raise MixtureError(
                    f"{leaf.source}: {short} of {leaf.size} clips are shorter than the {seconds:g} s that a training clip spans; "
                    f"set mixture.min_duration_s to {seconds:g}, or sample fewer frames or at a higher rate"
                )

    def plan(self, positions: int) -> list[SourcePlan]:
        """What the first `positions` positions draw of each source."""
        draws = self.order.consumed(positions)
        return [
            SourcePlan(
                source=leaf.source,
                domain=leaf.domain,
                samples=leaf.size,
                share=int(count) / self.order.mixture.block,
                draws=draws[leaf.source],
                epochs=draws[leaf.source] / leaf.size if leaf.size else 0.0,
            )
            for leaf, count in zip(self.order.leaves, self.order.counts, strict=True)
        ]
