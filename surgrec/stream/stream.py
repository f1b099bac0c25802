"""A run's stream over opened corpora: from a position to the sample that stands there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from surgrec.errors import MixtureError
from surgrec.shards import Sample, Source
from surgrec.stream.mixture import Mixture, level_columns
from surgrec.stream.order import Order
from surgrec.stream.shares import Leaf


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What stands at one position."""

    position: int
    source: str
    leaf: int
    """Index into the order's leaves."""
    row: int
    """Row of the source's index."""
    source_epoch: int


class Stream:
    """The order of a run, and the rows of the corpora that it draws. Reads no shard."""

    def __init__(self, sources: dict[str, Source], mixture: Mixture, seed: int) -> None:
        self.sources = sources
        rows: dict[str, Int64[np.ndarray, " _"]] = {}
        leaves = []
        for source in sources.values():
            for leaf, own in _leaves(source, mixture):
                leaves.append(leaf)
                rows[leaf.name] = own
        self.order = Order(leaves, mixture, seed)
        self.rows = [rows[leaf.name] for leaf in self.order.leaves]
        """Of each leaf's samples, in the index of its source."""

    def draws(self, positions: Int64[np.ndarray, " n"]) -> list[Draw]:
        """What stands at these positions."""
        drawn = self.order(positions)
        leaves = self.order.leaves
        return [
            Draw(
                position=position,
                source=leaves[leaf].source,
                leaf=leaf,
                row=int(self.rows[leaf][sample]),
                source_epoch=epoch,
            )
            for position, leaf, sample, epoch in zip(
                positions.tolist(),
                drawn.leaf.tolist(),
                drawn.sample.tolist(),
                drawn.epoch.tolist(),
                strict=True,
            )
        ]

    def substitutes(self, draw: Draw) -> Iterator[Draw]:
        """What stands in for a draw whose sample is bad: the others of its leaf, in the same order in every run."""
        for sample in self.order.substitutes(draw.position):
            yield replace(draw, row=int(self.rows[draw.leaf][sample]))

    def sample(self, draw: Draw) -> Sample:
        """The index row of a draw."""
        return self.sources[draw.source].index.sample(draw.row)

    def key(self, draw: Draw) -> str:
        """The sample key of a draw."""
        return self.sources[draw.source].index.key(draw.row)

    def require_duration(self, seconds: float) -> None:
        """Refuses a stream that may draw a clip too short for what is read from it.

        Raises:
            MixtureError: A clip of a drawn leaf lasts less than `seconds`.
        """
        for leaf, rows, counts in zip(
            self.order.leaves, self.rows, self.order.counts.T, strict=True
        ):
            if not counts.any():
                continue
            durations = self.sources[leaf.source].index.column("duration_s").to_numpy()[rows]
            short = int((durations < seconds - 1e-6).sum())
            if short:
                raise MixtureError(
                    f"{leaf.name}: {short} of {leaf.size} clips are shorter than the {seconds:g} s that a training clip spans; "
                    f"set mixture.min_duration_s to {seconds:g}, or sample fewer frames or at a higher rate"
                )


def _leaves(source: Source, mixture: Mixture) -> Iterator[tuple[Leaf, Int64[np.ndarray, " _"]]]:
    """The samples of a source that may be drawn, apart by the mixture's level columns, and their rows."""
    rows = source.index.rows(splits=mixture.splits, min_duration_s=mixture.min_duration_s)
    digest = source.index.rows_digest(rows)
    for values, own in source.index.groups(rows, level_columns(mixture)):
        leaf = Leaf(
            source=source.name,
            domain=source.entry.domain,
            digest=source.entry.digest,
            rows=digest,
            size=len(own),
            values=values,
            own_rows=source.index.rows_digest(own) if values else "",
        )
        yield leaf, own
