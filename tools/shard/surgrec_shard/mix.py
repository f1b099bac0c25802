"""What a mixture draws of each source and domain: planned for a run, or counted by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from surgrec.cli import from_plain
from surgrec.stream.mixture import Mixture
from surgrec.stream.stream import SourcePlan
from surgrec.training.plan import CONFIG_FILE
from surgrec.training.rows import consumed_samples, read_metrics


@dataclass(frozen=True, kw_only=True)
class RunMixture:
    """What a run was asked to draw, and what it counted."""

    mixture: Mixture
    seed: int
    consumed: dict[str, int]
    """Samples per source."""


def read_run(run_dir: Path) -> RunMixture:
    """The mixture of a run and what it has consumed.

    Raises:
        ConfigError: The folder holds no run, or one that has not logged a step.
    """
    consumed = consumed_samples(read_metrics(run_dir))
    config = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    mixture = from_plain(Mixture, config["mixture"], str(run_dir / CONFIG_FILE))
    return RunMixture(mixture=mixture, seed=config["seed"], consumed=dict(consumed))


def by_domain(plans: Sequence[SourcePlan]) -> list[SourcePlan]:
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
