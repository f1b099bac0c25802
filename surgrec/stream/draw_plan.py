"""What a run draws of each source: planned from its mixture, or counted while it trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surgrec.errors import MixtureError
from surgrec.stream.stream import Stream


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """What a stretch of the stream draws of one source."""

    source: str
    domain: str
    samples: int
    """Samples that may be drawn."""
    hours: float
    """Of stored video in these samples."""
    share: float
    """Of all samples drawn."""
    draws: int
    """Samples drawn."""
    epochs: float
    """Draws per sample."""


def require_few_repeats(stream: Stream, positions: int) -> None:
    """Refuses a run of so many positions that draws a source more often than the mixture's `max_repeats`.

    Raises:
        MixtureError: It does, and the mixture does not say `over_max_repeats: warn`.
    """
    mixture = stream.order.mixture
    if mixture.max_repeats is None or mixture.over_max_repeats == "warn":
        return
    found = over_repeated(plan_draws(stream, positions), mixture.max_repeats)
    if found:
        raise MixtureError(
            f"mixture: {found}; lower the weight, raise an alpha, shorten the run, or set over_max_repeats to warn"
        )


def plan_draws(stream: Stream, positions: int) -> list[SourcePlan]:
    """What the first `positions` positions draw of each source."""
    return summarize_draws(stream, stream.order.consumed(positions))


def summarize_draws(stream: Stream, draws: Mapping[str, int]) -> list[SourcePlan]:
    """The same for any numbers of samples drawn, by source: planned ones, or those that a run has counted."""
    total = sum(draws.values())
    plans = []
    for name, source in stream.sources.items():
        own = [
            rows
            for leaf, rows in zip(stream.order.leaves, stream.rows, strict=True)
            if leaf.source == name
        ]
        size = sum(map(len, own))
        durations = source.index.column("duration_s").to_numpy()
        drawn = draws.get(name, 0)
        plans.append(
            SourcePlan(
                source=name,
                domain=source.entry.domain,
                samples=size,
                hours=float(sum(durations[rows].sum() for rows in own)) / 3600,
                share=drawn / total if total else 0.0,
                draws=drawn,
                epochs=drawn / size if size else 0.0,
            )
        )
    return sorted(plans, key=lambda plan: plan.source)


def over_repeated(plans: Sequence[SourcePlan], max_repeats: float | None) -> str:
    """Names the sources whose samples a plan draws more often than `max_repeats`; empty if there is none."""
    over = [
        f"{plan.source} ({plan.epochs:.1f})"
        for plan in plans
        if max_repeats and plan.epochs > max_repeats
    ]
    return (
        f"each sample would be drawn more often than max_repeats {max_repeats:g}: {', '.join(over)}"
        if over
        else ""
    )


def sum_by_domain(plans: Sequence[SourcePlan]) -> list[SourcePlan]:
    """The sums of each domain, with an empty source; a domain's epochs are the draws per sample of all of it."""
    sums = []
    for domain in sorted({plan.domain for plan in plans}):
        own = [plan for plan in plans if plan.domain == domain]
        samples, draws = sum(plan.samples for plan in own), sum(plan.draws for plan in own)
        sums.append(
            SourcePlan(
                source="",
                domain=domain,
                samples=samples,
                hours=sum(plan.hours for plan in own),
                share=sum(plan.share for plan in own),
                draws=draws,
                epochs=draws / samples if samples else 0.0,
            )
        )
    return sums
