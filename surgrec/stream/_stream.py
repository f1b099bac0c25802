"""The stream of a run over opened corpora: from a position to the row of an index."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from surgrec.errors import MixtureError
from surgrec.shards import Sample, Source
from surgrec.stream._mixture import Mixture, level_columns
from surgrec.stream._order import Order
from surgrec.stream._shares import Stratum

_TOLERANCE_S = 1e-6
_VIEW_COLUMNS = ("duration_s", "width", "height", "num_frames")
"""Columns of an index that decide the start and the crop of a view, and which clips are bad."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The sample at one position."""

    position: int
    source: str
    stratum: int
    """Index into the order's strata."""
    row: int
    """Row of the source's index."""
    source_epoch: int
    """Completed passes over the stratum before this draw."""


class Stream:
    """The endless sequence of samples of a run. It reads no shard, and can be pickled.

    Args:
        sources: Opened sources by name, of one corpus or several.
        mixture: Levels, weights, stages and block sizes.
        seed: Seed of the run.

    Raises:
        MixtureError: The mixture does not fit the sources.
        ShardError: A level names a column that an index lacks.

    Example:
        >>> stream = Stream(open_corpus(["/data/corpus"]), Mixture(), seed=239)
        >>> [stream.key(draw) for draw in stream.draws(np.arange(3))]
    """

    def __init__(self, sources: dict[str, Source], mixture: Mixture, seed: int) -> None:
        self.sources = sources
        rows_by_name: dict[str, Int64[np.ndarray, " _"]] = {}
        strata = []
        for source in sources.values():
            for stratum, rows in _stratify(source, mixture):
                strata.append(stratum)
                rows_by_name[stratum.name] = rows

        self.order = Order(strata, mixture, seed)
        self.rows = [rows_by_name[stratum.name] for stratum in self.order.strata]
        """Index rows of each stratum's samples, in the order of `order.strata`."""

    def draws(self, positions: Int64[np.ndarray, " n"]) -> list[Draw]:
        """Return the draws at these positions."""
        arrays = self.order(positions)
        strata = self.order.strata

        return [
            Draw(
                position=position,
                source=strata[stratum].source,
                stratum=stratum,
                row=int(self.rows[stratum][sample]),
                source_epoch=epoch,
            )
            for position, stratum, sample, epoch in zip(
                positions.tolist(),
                arrays.stratum.tolist(),
                arrays.sample.tolist(),
                arrays.epoch.tolist(),
                strict=True,
            )
        ]

    def substitutes(self, draw: Draw) -> Iterator[Draw]:
        """Yield the substitutes of a bad draw: other samples of its stratum, in a fixed order."""
        for sample in self.order.substitutes(draw.position):
            yield replace(draw, row=int(self.rows[draw.stratum][sample]))

    def sample(self, draw: Draw) -> Sample:
        """Return the index entry of a draw."""
        return self.sources[draw.source].index.sample(draw.row)

    def key(self, draw: Draw) -> str:
        """Return the sample key of a draw."""
        return self.sources[draw.source].index.key(draw.row)

    def require_duration(self, seconds: float) -> None:
        """Refuse a stream that may draw a clip shorter than a training clip.

        Args:
            seconds: Time span of a training clip.

        Raises:
            MixtureError: A stratum that is drawn in some stage has a shorter clip.
        """
        strata = zip(self.order.strata, self.rows, self.order.counts.T, strict=True)
        for stratum, rows, counts in strata:
            if not counts.any():
                continue

            durations_s = self.sources[stratum.source].index.column("duration_s").to_numpy()[rows]
            num_short = int((durations_s < seconds - _TOLERANCE_S).sum())
            if num_short:
                raise MixtureError(
                    f"{stratum.name}: {num_short} of {stratum.size} clips are shorter than the "
                    f"{seconds:g} s of a training clip; "
                    f"set mixture.min_duration_s to {seconds:g} to leave them out, "
                    "or sample fewer frames, or at a higher rate"
                )


def _stratify(
    source: Source, mixture: Mixture
) -> Iterator[tuple[Stratum, Int64[np.ndarray, " _"]]]:
    """Divide the admitted samples of a source into strata; yield each with its index rows."""
    index = source.index
    source_rows = index.rows(splits=mixture.splits, min_duration_s=mixture.min_duration_s)
    source_rows_digest = index.rows_digest(source_rows)
    source_clips_digest = index.columns_digest(_VIEW_COLUMNS, source_rows)

    for values, rows in index.partition(source_rows, level_columns(mixture)):
        stratum = Stratum(
            source=source.name,
            domain=source.entry.domain,
            source_digest=source.entry.digest,
            source_rows_digest=source_rows_digest,
            source_clips_digest=source_clips_digest,
            size=len(rows),
            values=values,
            rows_digest=index.rows_digest(rows) if values else "",
        )
        yield stratum, rows
