"""The identity of a run, which a resumed run must share, and the provenance of its weights."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from surgrec import __version__
from surgrec.config_values import as_plain
from surgrec.errors import ConfigError, shown
from surgrec.runs._files import RunFiles
from surgrec.runs._rows import QuarantineRow, read_rows
from surgrec.runs.drawn import record_drawn
from surgrec.stream import Level, Mixture, Stream, comparable_order, names_admitted

CHANGEABLE_ON_RESUME = {
    "run_dir",
    "corpus",
    "mixture",
    "allow_repeated_frames",
    "init_from",
    "init_format",
    "init_license",
    "steps",
    "accumulation",
    "activation_checkpointing",
    "compile",
    "sharding",
    "loader",
    "log",
    "probe",
    "drift",
    "save_every",
    "keep_checkpoints",
    "milestone_every",
    "resume",
    "resume_with_changes",
}
"""Fields of a recipe's config that a resumed run may change.

The mixture is compared as part of the order, and the initial weights by their digest.
"""

_OPTIMIZER = "config.optimizer."
"""Beginning of the values that a resumed run may change if it is told to, and records: a run that
has diverged goes on with a smaller learning rate."""


_NEEDS_CORPUS = "give the corpus as it was"
_NEEDS_VERSION = "install the version of SurgRec that the last row of starts.jsonl names"
_REMEDIES = {
    _OPTIMIZER: "accept the change of the optimizer with --resume_with_changes optimizer",
    "order.sources.": _NEEDS_CORPUS,
    "order.strata": _NEEDS_CORPUS,
    "order.version": _NEEDS_VERSION,
    "versions.": _NEEDS_VERSION,
}
"""Beginnings of differences, and what a user can do about them."""
_DIGESTS = {
    "digest": "other clips, admitted or not, than in the saved run",
    "rows": "other rows than in the saved run",
    "admitted": "other admitted clips than in the saved run, or another order of them",
    "clips": "clips of other durations, sizes or numbers of frames than in the saved run",
    "joins": "clips of other videos, times or frame rates than in the saved run",
}
"""Digests in the identity of an order, and the meaning of a difference."""
_DIGEST_LINE = re.compile(rf'(order\.(?:sources|strata)\..+\.({"|".join(_DIGESTS)})): saved "')
_PART_LINE = re.compile(
    r"(order\.(?:sources|strata)\..+): saved (?:(null), now \{|\{.*\}, now null)"
)


@dataclass(frozen=True, kw_only=True)
class IdentityComparison:
    """How the identity of a resumed run differs from the saved one: one line per difference."""

    refused: list[str]
    """Differences with which the run cannot be resumed."""
    tuned: list[str]
    """Differences that the run records and goes on with."""
    unknown: list[str]
    """Names of values that the version that wrote the checkpoint did not record."""


def run_identity(
    recipe: str,
    stream: Stream,
    config: object,
    init_from: Mapping[str, Any] | None,
    *,
    positions: int,
    versions: Mapping[str, int],
    tuned: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the JSON values that a run and its resumption must share.

    Args:
        recipe: Name of the recipe, such as `jepa`.
        stream: Order of the samples. Stages of the mixture that begin later may differ.
        config: The recipe's config; fields in `CHANGEABLE_ON_RESUME` are left out.
        init_from: Record of the initial weights; None for random weights.
        positions: Positions of the stream that the run has consumed.
        versions: Versions of the masks and of the views.
        tuned: Changes of the optimizer at earlier resumes: `step` and `changed`, one line each.
    """
    fixed = {
        name: value for name, value in as_plain(config).items() if name not in CHANGEABLE_ON_RESUME
    }

    order = stream.identity(positions, join_clips=bool(fixed.get("join_clips")))

    return {
        "recipe": recipe,
        "versions": dict(versions),
        "order": order,
        "config": fixed,
        "init_from": init_from,
        "tuned": list(tuned),
    }


def compare_identities(
    saved: Mapping[str, Any],
    current: Mapping[str, Any],
    config: object,
    *,
    with_changes: Literal["optimizer"] | None = None,
) -> IdentityComparison:
    """Compare the identity in a checkpoint with that of the run that resumes.

    A config field that is newer than the checkpoint had its default. The first checkpoints recorded
    no versions, which were all 1. Clips that the mixture does not admit count only for checkpoints
    whose digests are of whole sources. Runs that join clips are compared by which are adjacent.

    Args:
        saved: The identity in a checkpoint.
        current: The identity of the run that resumes, from `run_identity`.
        config: Its config.
        with_changes: Part of the config that may differ.
    """
    by_admitted = names_admitted(saved["order"])
    saved, current = (
        {**each, "order": comparable_order(each["order"], by_admitted=by_admitted)}
        for each in (saved, current)
    )
    if not (_records_joins(saved) and _records_joins(current)):
        saved, current = _without_joins(saved), _without_joins(current)
    completed, unknown = _completed(saved, current, config)
    lines = [_in_words(line) for line in different_lines(completed, {**current, "tuned": None})]
    tuned = [line for line in lines if line.startswith(_OPTIMIZER) and with_changes == "optimizer"]
    refused = [line for line in lines if line not in tuned]
    return IdentityComparison(refused=refused, tuned=tuned, unknown=unknown)


def _records_joins(identity: Mapping[str, Any]) -> bool:
    """Return whether an identity says which clips are adjacent."""
    return any("joins" in source for source in identity["order"]["sources"].values())


def _without_joins(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity as of a run that joins no clips, or of an earlier version."""
    order = identity["order"]
    sources = {
        name: {field: value for field, value in source.items() if field != "joins"}
        for name, source in order["sources"].items()
    }
    return {**identity, "order": {**order, "sources": sources}}


def remedy_for(refused: Sequence[str]) -> str:
    """Return what a user can do about differences, as the end of a sentence.

    Args:
        refused: Lines of `IdentityComparison`.
    """
    # The counts per mixing block follow from the corpus and the mixture.
    causes = [line for line in refused if ".counts." not in line] or refused
    remedies = dict.fromkeys(_remedy(line) for line in causes)
    return ", ".join(remedies) + ", or start in another run_dir"


def _in_words(line: str) -> str:
    """Return a line of `different_lines` with words in place of digests and whole records."""
    if digest := _DIGEST_LINE.match(line):
        return f"{digest[1]}: {_DIGESTS[digest[2]]}"
    if part := _PART_LINE.match(line):
        return f"{part[1]}: the saved run {'did not draw' if part[2] else 'drew'} from it"
    return line


def _remedy(line: str) -> str:
    found = (remedy for beginning, remedy in _REMEDIES.items() if line.startswith(beginning))
    return next(found, "resume with the same settings")


def _completed(
    saved: Mapping[str, Any], current: Mapping[str, Any], config: object
) -> tuple[dict[str, Any], list[str]]:
    """Complete a saved identity with values that its version of SurgRec did not record yet.

    Unknown values are copied from `current`, so they do not count as differences. Returns their
    names, too.
    """
    names = saved["config"].keys() | current["config"].keys()
    completed = with_defaults(saved["config"], config)
    order, unknown = _completed_order(saved["order"], current["order"])
    identity = {
        **saved,
        "versions": {**dict.fromkeys(current["versions"], 1), **saved.get("versions", {})},
        "config": {name: value for name, value in completed.items() if name in names},
        "order": order,
        "tuned": None,
    }
    return identity, unknown


def with_defaults(saved: Any, config: object) -> Any:
    """Return the saved JSON values of a config with its newer fields at their defaults."""
    if is_dataclass(config) and isinstance(saved, Mapping):
        known = {
            name: with_defaults(value, getattr(config, name, None)) for name, value in saved.items()
        }
        return {**_defaults(type(config)), **known}
    if isinstance(config, (list, tuple)) and isinstance(saved, list):
        # One list may be longer: an item without a counterpart stays as it was saved.
        shared = min(len(saved), len(config))
        items = [with_defaults(saved[index], config[index]) for index in range(shared)]
        return items + saved[shared:]
    return saved


def different_lines(saved: Any, current: Any, name: str = "") -> list[str]:
    """Return one line per difference of two JSON values: `seed: saved 1, now 2`."""
    current = json.loads(json.dumps(current))  # JSON has lists only, no tuples
    if saved == current:
        return []

    if isinstance(saved, dict) and isinstance(current, dict):
        pairs = {key: (saved.get(key), current.get(key)) for key in saved.keys() | current.keys()}
    elif _are_alike(saved, current):
        pairs = {str(index): pair for index, pair in enumerate(zip(saved, current, strict=True))}
    else:
        return [f"{name}: saved {json.dumps(saved)}, now {json.dumps(current)}"]

    lines = []
    for key in sorted(pairs):
        lines += different_lines(*pairs[key], f"{name}.{key}" if name else key)
    return lines


def _completed_order(
    saved: Mapping[str, Any], current: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Complete the saved identity of an order; also return the names of unknown values."""
    defaults, now = _defaults(Mixture), current["mixture"]
    mixture = {name: default for name, default in defaults.items() if name in now}
    mixture |= saved["mixture"]
    mixture["stages"] = [
        {**stage, "levels": [{**_defaults(Level), **level} for level in stage["levels"]]}
        for stage in mixture["stages"]
    ]
    order = {**saved, "mixture": mixture}
    if "version" in saved:
        return order, []

    # The first checkpoints recorded neither domains, nor counts, nor the fields behind a view.
    stages_of_both = min(len(mixture["stages"]), len(now["stages"]))
    for number in range(stages_of_both):
        mixture["stages"][number]["counts"] = now["stages"][number]["counts"]
    sources = {
        name: {**current["sources"].get(name, {}), **source}
        for name, source in saved["sources"].items()
    }
    unknown = ["domains", "counts per mixing block", "durations and sizes of clips"]
    return {**order, "version": 1, "sources": sources}, unknown


def _defaults(config_type: type) -> dict[str, Any]:
    """Return the fields of a dataclass that have a default, as JSON values."""
    defaults = {}
    for field in fields(config_type):
        if field.default_factory is not MISSING:
            defaults[field.name] = as_plain(field.default_factory())
        elif field.default is not MISSING:
            defaults[field.name] = as_plain(field.default)
    return defaults


def _are_alike(saved: Any, current: Any) -> bool:
    """Return whether two values are lists of equally many objects."""
    are_lists = isinstance(saved, list) and isinstance(current, list)
    return (
        are_lists
        and len(saved) == len(current)
        and all(isinstance(item, dict) for item in [*saved, *current])
    )


def read_substitutes(run_dir: Path, stream: Stream) -> dict[str, set[str]]:
    """Return the keys of the samples that replaced bad ones, by source of the stream.

    Args:
        run_dir: Folder of the run.
        stream: Order of the samples.

    Raises:
        ConfigError: A row of quarantine.jsonl is damaged, or names a source that no corpus has.
    """
    path = RunFiles(run_dir).quarantine
    substitutes: dict[str, set[str]] = {}
    for row in read_rows(path, QuarantineRow):
        if row["source"] not in stream.sources:
            raise ConfigError(
                f"{path}: step {row['step']} names the source {shown(row['source'])}, which the "
                "corpora of this run do not have; restore the file from a copy"
            )
        substitutes.setdefault(row["source"], set()).add(row["substitute"])
    return substitutes


def provenance(
    identity: Mapping[str, Any],
    stream: Stream,
    substitutes: Mapping[str, Collection[str]],
    *,
    step: int,
    positions: int,
) -> dict[str, Any]:
    """Return the record of how weights were made, as JSON values.

    Args:
        identity: Value of `run_identity` at this step.
        stream: Order of the samples.
        substitutes: Keys of the samples that replaced bad ones, from `read_substitutes`.
        step: Number of optimizer steps done.
        positions: Positions of the stream that the run has consumed.
    """
    return {
        **identity,
        "step": step,
        "consumed": stream.order.consumed(positions),
        "drawn": record_drawn(stream, positions, substitutes),
        "surgrec": __version__,
    }
