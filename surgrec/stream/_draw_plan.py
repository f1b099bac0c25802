"""The draw plan: how many samples of each source a run draws, as planned or as counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from surgrec.errors import MixtureError
from surgrec.stream._mixture import Mixture
from surgrec.stream._stream import Stream


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """One source's part of a draw plan."""

    source: str
    domain: str
    samples: int
    """Samples that the mixture admits (its splits and its minimum duration)."""
    hours: float
    """Stored video in these samples, hours."""
    share: float
    """Draws of this source as a fraction of all draws."""
    draws: int
    """Samples drawn, repeats included."""
    epochs: float
    """Mean number of draws per sample."""


@dataclass(frozen=True, kw_only=True)
class DrawPlan:
    """Draws, share and epochs of each source for a number of positions.

    Example:
        >>> plan = DrawPlan.for_positions(stream, steps * global_batch)
        >>> plan.require_few_repeats()
        >>> {source.source: source.draws for source in plan.sources}
        {'cholec80': 1536, 'heichole': 512}
    """

    sources: tuple[SourcePlan, ...]
    """Sorted by name."""
    mixture: Mixture
    """Mixture of the run, for its limit on repeats."""

    @classmethod
    def for_positions(cls, stream: Stream, positions: int) -> "DrawPlan":
        """Return the plan of the first `positions` positions of a stream."""
        return cls.from_counts(stream, stream.order.consumed(positions))

    @classmethod
    def from_counts(cls, stream: Stream, draws: Mapping[str, int]) -> "DrawPlan":
        """Return the plan for given numbers of draws.

        Args:
            stream: Sources and mixture.
            draws: Samples drawn per source, planned or counted by a run; 0 for sources that it
                lacks.
        """
        total = sum(draws.values())
        plans = []
        for name, source in sorted(stream.sources.items()):
            rows_by_stratum = [
                rows
                for stratum, rows in zip(stream.order.strata, stream.rows, strict=True)
                if stratum.source == name
            ]
            samples = sum(map(len, rows_by_stratum))
            source_draws = draws.get(name, 0)
            durations_s = source.index.column("duration_s").to_numpy()

            plans.append(
                SourcePlan(
                    source=name,
                    domain=source.entry.domain,
                    samples=samples,
                    hours=float(sum(durations_s[rows].sum() for rows in rows_by_stratum)) / 3600,
                    share=source_draws / total if total else 0.0,
                    draws=source_draws,
                    epochs=source_draws / samples if samples else 0.0,
                )
            )
        return cls(sources=tuple(plans), mixture=stream.order.mixture)

    def domains(self) -> list[SourcePlan]:
        """Return the sums per domain, with an empty `source`.

        Epochs are draws per sample of the whole domain.
        """
        sums = []
        for domain in sorted({plan.domain for plan in self.sources}):
            members = [plan for plan in self.sources if plan.domain == domain]
            samples = sum(plan.samples for plan in members)
            draws = sum(plan.draws for plan in members)

            sums.append(
                SourcePlan(
                    source="",
                    domain=domain,
                    samples=samples,
                    hours=sum(plan.hours for plan in members),
                    share=sum(plan.share for plan in members),
                    draws=draws,
                    epochs=draws / samples if samples else 0.0,
                )
            )
        return sums

    def repeats_warning(self) -> str:
        """Return a sentence that names the sources beyond `max_repeats`, or an empty string."""
        limit = self.mixture.max_repeats
        over = [
            f"{plan.source} ({plan.epochs:.1f})"
            for plan in self.sources
            if limit and plan.epochs > limit
        ]

        if not over:
            return ""
        return (
            f"the mean number of draws per sample exceeds max_repeats {limit:g} in "
            f"{', '.join(over)}"
        )

    def require_few_repeats(self) -> None:
        """Refuse a plan that repeats a source more often than the mixture's `max_repeats`.

        Raises:
            MixtureError: A source is beyond the limit, and the mixture does not say
                `over_max_repeats: warn`.
        """
        if self.mixture.over_max_repeats == "refuse" and (over := self.repeats_warning()):
            raise MixtureError(
                f"mixture: {over}; lower the weight of these sources, raise an alpha, shorten the "
                "run, or set over_max_repeats to warn"
            )
