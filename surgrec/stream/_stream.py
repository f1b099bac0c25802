"""The stream of a run over opened corpora: from a position to the row of an index."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import MixtureError
from surgrec.shards import Sample, Source
from surgrec.stream._clusters import chosen_by_clusters
from surgrec.stream._duplicates import without_duplicates
from surgrec.stream._mixture import Mixture, level_columns, resolved_stages
from surgrec.stream._order import Order
from surgrec.stream._shares import Stratum
from surgrec.stream.sampling_checks import (
    TOLERANCE_S,
    RepeatedFrames,
    find_repeated_frames,
    require_durations,
)
from surgrec.stream.stretches import Stretches

_VIEW_COLUMNS = ("duration_s", "width", "height", "num_frames")
"""Columns of an index that decide the start and the crop of a view, and which clips are bad."""
_JOIN_COLUMNS = ("start_s", "fps", "video")
"""Further columns that decide which clips are adjacent."""


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
        admitted = _admitted_rows(sources, mixture)
        for source in sources.values():
            for stratum, rows in _stratify(source, mixture, admitted[source.name]):
                strata.append(stratum)
                rows_by_name[stratum.name] = rows

        self.order = Order(strata, mixture, seed)
        self.rows = [rows_by_name[stratum.name] for stratum in self.order.strata]
        """Index rows of each stratum's samples, in the order of `order.strata`."""
        self._stretches: dict[str, Stretches] = {}

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

    def stretches(self, source: str) -> Stretches:
        """Return the stretches of the clips of a source that the mixture admits.

        They are computed once: ten million clips take seconds.
        """
        if source not in self._stretches:
            self._stretches[source] = Stretches(self.sources[source], self._admitted(source))
        return self._stretches[source]

    def identity(self, positions: int | None = None, *, join_clips: bool = False) -> dict[str, Any]:
        """Return everything that the samples depend on, as JSON.

        Streams whose identities are equal by `comparable_order` draw the same samples.

        Args:
            positions: As in `Order.identity`.
            join_clips: Whether training clips continue in adjacent clips. Then the columns that
                decide which clips are adjacent belong to the identity.
        """
        identity = self.order.identity(positions)
        parts = {
            part: {
                name: {**values, "admitted": self._admitted_digests[part][name]}
                for name, values in identity[part].items()
            }
            for part in ("sources", "strata")
        }
        if join_clips:
            for name, values in parts["sources"].items():
                values["joins"] = self._joins_digests[name]
        return identity | parts

    @cached_property
    def _admitted_digests(self) -> dict[str, dict[str, str]]:
        """Digests of the admitted clips by source, and of their places among these by stratum."""
        strata = self.order.strata
        digests: dict[str, dict[str, str]] = {"sources": {}, "strata": {}}
        for name, source in self.sources.items():
            admitted = self._admitted(name)
            digests["sources"][name] = source.index.clips_digest(admitted)
            for stratum, rows in zip(strata, self.rows, strict=True):
                if stratum.source == name:
                    places = np.searchsorted(admitted, rows)
                    digests["strata"][stratum.name] = hashlib.sha256(places.tobytes()).hexdigest()
        return digests

    @cached_property
    def _joins_digests(self) -> dict[str, str]:
        """Digests of the columns that decide which admitted clips are adjacent, by source."""
        return {
            name: source.index.columns_digest(_JOIN_COLUMNS, self._admitted(name))
            for name, source in self.sources.items()
        }

    def _admitted(self, source: str) -> Int64[np.ndarray, " n"]:
        """Return the admitted rows of a source, ascending; a repeated clip has several."""
        rows = [
            rows
            for stratum, rows in zip(self.order.strata, self.rows, strict=True)
            if stratum.source == source
        ]
        return np.sort(np.concatenate(rows))

    def require_sampling(
        self,
        num_frames: int,
        fps: float,
        *,
        allow_repeated_frames: bool = False,
        join_clips: bool = False,
    ) -> list[RepeatedFrames]:
        """Refuse a stream that may draw a clip too short or too slow for a training clip.

        Args:
            num_frames: Frames of a training clip.
            fps: Frames per second of a training clip.
            allow_repeated_frames: Accept clips that are stored at a lower rate. Their frames then
                repeat.
            join_clips: Accept shorter clips whose stretch is long enough.

        Returns:
            The sources whose frames repeat.

        Raises:
            MixtureError: A stratum that is drawn in some stage has a clip that is shorter, or that
                is stored at a lower rate while repeated frames are not allowed.
        """
        stored_fps: dict[str, list[Float64[np.ndarray, " _"]]] = defaultdict(list)
        strata = zip(self.order.strata, self.rows, self.order.counts.T, strict=True)
        for stratum, rows, counts in strata:
            if not counts.any():
                continue
            index = self.sources[stratum.source].index
            durations_s, rates = (
                index.column(name).to_numpy()[rows] for name in ("duration_s", "fps")
            )
            if join_clips:
                durations_s = self.stretches(stratum.source).lengths_s(rows)
            require_durations(stratum.name, durations_s, rates, num_frames, fps, joined=join_clips)
            stored_fps[stratum.source].append(rates)

        repeated = find_repeated_frames(
            {source: np.concatenate(rates) for source, rates in sorted(stored_fps.items())}, fps
        )
        if repeated and not allow_repeated_frames:
            slowest = min(row.least_fps for row in repeated)
            raise MixtureError(
                f"frames would repeat: {'; '.join(map(str, repeated))}, but a training clip has "
                f"{fps:g}; sample at most {slowest:g} frames per second, build the videos into "
                "another corpus with a higher --encode.fps if they have more frames, or set "
                "allow_repeated_frames to true"
            )
        return repeated


def _admitted_rows(
    sources: dict[str, Source], mixture: Mixture
) -> dict[str, Int64[np.ndarray, " _"]]:
    """Return the rows that the mixture admits, by source; a repeated clip has several."""
    rows = {
        name: source.index.rows(
            splits=mixture.splits, min_duration_s=mixture.min_duration_s, limits=mixture.limits
        )
        for name, source in sources.items()
    }
    # A source that no stage draws from must not keep the only copy, and needs no clusters.
    drawn = {
        name: rows[name]
        for name in rows
        if any(stage.weights.get(name, 1.0) > 0 for stage in resolved_stages(mixture))
    }
    # A copy in a stretch that is too short must not be the one that its group keeps.
    drawn = _of_long_stretches(sources, drawn, mixture.min_stretch_s)
    if mixture.duplicates == "one":
        drawn = without_duplicates(sources, drawn)
    if mixture.clusters.policy != "off":
        drawn = chosen_by_clusters(sources, drawn, mixture.clusters)
    # Either leaves clips out, which divides stretches.
    if mixture.duplicates == "one" or mixture.clusters.policy != "off":
        drawn = _of_long_stretches(sources, drawn, mixture.min_stretch_s)
    return {**rows, **drawn}


def _of_long_stretches(
    sources: dict[str, Source], rows: dict[str, Int64[np.ndarray, " _"]], min_stretch_s: float
) -> dict[str, Int64[np.ndarray, " _"]]:
    """Return the rows whose stretch among these rows is long enough, by source."""
    if not min_stretch_s:
        return rows
    return {
        name: kept[Stretches(sources[name], kept).lengths_s(kept) >= min_stretch_s - TOLERANCE_S]
        for name, kept in rows.items()
    }


def _stratify(
    source: Source, mixture: Mixture, source_rows: Int64[np.ndarray, " n"]
) -> Iterator[tuple[Stratum, Int64[np.ndarray, " _"]]]:
    """Divide the admitted samples of a source into strata; yield each with its index rows."""
    index = source.index
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
