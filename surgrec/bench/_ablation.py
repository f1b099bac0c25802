"""Ablations: methods whose pretraining differs in one respect alone, which their files prove."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.bench._choice import BenchEncoder
from surgrec.config_values import to_type
from surgrec.errors import ConfigError, SurgrecError, cut
from surgrec.runs.identity import different_lines
from surgrec.yaml_files import read_yaml

FOLDER = Path(__file__).with_name("ablations")
_SEEDS = ("config.seed", "order.seed")
"""Keys in which the pretraining seeds of one method differ."""
_FOLLOWS = ("consumed", "drawn")
"""Parts of a provenance that follow from the others: the data that a run has read."""
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A question that two methods answer, as data."""

    title: str
    question: str
    arms: tuple[str, ...]
    """Names of the two methods."""
    differs: tuple[str, ...]
    """The keys of the provenance in which they may differ, with all keys below them."""
    source: str = ""
    """Publication that asks the question."""


@dataclass(frozen=True, kw_only=True)
class Arms:
    """The runs of an ablation, whose provenance was compared."""

    ablation: Ablation
    seeds: list[int]
    """Pretraining seeds of each arm."""
    differs: list[str]
    """The keys in which the arms do differ."""


def ablation_names() -> list[str]:
    """Return the names of all ablations."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_ablation(name: str) -> Ablation:
    """Read an ablation by its name, or from a YAML file of the user.

    Raises:
        ConfigError: There is no such ablation, or a key is missing, unknown or wrong.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if path.parent == FOLDER and name not in ablation_names():
        raise ConfigError(
            f"there is no ablation {cut(name)!r}; choose from {', '.join(ablation_names())}, or "
            "give a YAML file with the same keys"
        )
    try:
        ablation: Ablation = to_type(Ablation, read_yaml(path))
    except SurgrecError as error:
        raise ConfigError(f"{path}: {error}") from None
    if len(set(ablation.arms)) != 2:
        raise ConfigError(f"{path}: arms are {', '.join(ablation.arms)}; give two names")
    return ablation


def check_arms(
    ablation: Ablation,
    encoders: Sequence[BenchEncoder],
    provenance: Mapping[str, Mapping[str, Any]],
) -> Arms:
    """Compare the recorded pretraining of the runs of an ablation.

    Args:
        ablation: The ablation.
        encoders: All encoders of the benchmark.
        provenance: The provenance of each encoder's file, by the encoder's name.

    Raises:
        ConfigError: An arm has no runs, the arms have other seeds, or they differ in more than
            the ablation names, or not at all.
    """
    runs = [_runs_by_seed(arm, encoders, provenance) for arm in ablation.arms]
    first, second = runs
    if first.keys() != second.keys():
        raise ConfigError(
            f"the arms of the ablation have other seeds ({_listed(first)} of {ablation.arms[0]}, "
            f"{_listed(second)} of {ablation.arms[1]}); train both with the same --seed values"
        )

    # Within an arm, only the seeds may differ.
    for arm, by_seed in zip(ablation.arms, runs, strict=True):
        reference = next(iter(by_seed.values()))
        for seed, run in by_seed.items():
            _refuse(
                f"the runs of {arm} with the seeds {next(iter(by_seed))} and {seed}",
                [key for key in _keys(reference, run) if key not in _SEEDS],
            )

    # Between the arms, only the subject of the ablation may differ.
    allowed: set[str] = set()
    for seed in first:
        keys = _keys(first[seed], second[seed])
        planned = {key for key in keys if _is_below(key, ablation.differs)}
        _refuse(
            f"the runs of {' and '.join(ablation.arms)} with the seed {seed}",
            [key for key in keys if key not in planned],
        )
        if not planned:
            raise ConfigError(
                f"the runs of {' and '.join(ablation.arms)} with the seed {seed} do not differ in "
                f"{', '.join(ablation.differs)}; give runs that do"
            )
        allowed |= planned
    return Arms(ablation=ablation, seeds=sorted(first), differs=sorted(allowed))


def _runs_by_seed(
    arm: str, encoders: Sequence[BenchEncoder], provenance: Mapping[str, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Return the provenance of each run of an arm by its seed."""
    found: dict[int, Mapping[str, Any]] = {}
    for encoder in encoders:
        if encoder.method != arm:
            continue
        run = provenance[encoder.name]
        seed = run.get("config", {}).get("seed")
        if not isinstance(seed, int) or "order" not in run:
            raise ConfigError(
                f"{encoder.path} does not record its pretraining; an ablation needs runs of "
                "SurgRec's recipes"
            )

        if seed in found:
            raise ConfigError(f"{arm} has two runs with the seed {seed}; give one for each seed")
        found[seed] = run

    if not found:
        raise ConfigError(
            f"the ablation needs runs of {arm}; give them with --encoders {arm}=RUN, once per seed"
        )
    return dict(sorted(found.items()))


def _keys(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two provenances differ, without what follows from others."""
    one, other = (
        {key: value for key, value in each.items() if key not in _FOLLOWS}
        for each in (first, second)
    )
    return [line.partition(": ")[0] for line in different_lines(one, other)]


def _is_below(key: str, allowed: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in allowed)


def _refuse(runs: str, keys: Sequence[str]) -> None:
    if keys:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        raise ConfigError(
            f"{runs} also differ in {', '.join(keys[:_SHOWN])}{more}; train them again with these "
            "equal, or leave out --ablation"
        )


def _listed(seeds: Mapping[int, object]) -> str:
    return ", ".join(map(str, seeds))
