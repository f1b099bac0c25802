"""Mixtures over the corpora that are shown, planned by the code that plans runs."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import yaml

from surgrec.config_values import as_plain, from_plain
from surgrec.errors import MixtureError
from surgrec.json_files import decode_json
from surgrec.shards import Source
from surgrec.stream import DrawPlan, Mixture, Stream

_SEED = 0
"""It changes the counts only if the last mixing block is not full."""
_MOST_SAMPLES = 10**16


def plan_mixture(sources: Mapping[str, Source], mixture: str, samples: int) -> dict[str, Any]:
    """Return the plan of a mixture as JSON, and its YAML.

    Args:
        sources: Sources of all corpora by name.
        mixture: Fields of a mixture, as a JSON object.
        samples: Samples that a run draws.

    Raises:
        MixtureError: The mixture does not fit the sources, or a field is invalid.
        ConfigError: A field is unknown or of another type.
    """
    if not 1 <= samples <= _MOST_SAMPLES:
        raise MixtureError(f"samples is {samples}; give 1 to {_MOST_SAMPLES}")

    given = decode_json(
        mixture or "{}", dict, "mixture", error=MixtureError, remedy="use the fields of the page"
    )
    config = from_plain(Mixture, given, "mixture")
    plan = DrawPlan.for_positions(Stream(dict(sources), config, _SEED), samples)

    hours = {each.source: each.hours * each.epochs for each in plan.sources}
    return {
        "sources": [{**vars(each), "hours_drawn": hours[each.source]} for each in plan.sources],
        "domains": [
            {
                **vars(domain),
                "hours_drawn": sum(
                    hours[each.source] for each in plan.sources if each.domain == domain.domain
                ),
            }
            for domain in plan.domains()
        ],
        "warning": plan.repeats_warning(),
        "mixture": as_plain(config),
        "yaml": mixture_yaml(config),
    }


def mixture_yaml(mixture: Mixture) -> str:
    """Return a mixture as YAML: its levels and weights, and all that differs from the default."""
    plain, default = as_plain(mixture), as_plain(Mixture())
    kept = {
        field.name: plain[field.name]
        for field in fields(Mixture)
        if field.name in ("levels", "weights") or plain[field.name] != default[field.name]
    }
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=False))
