"""Published splits of presets as evaluation splits: files of rules over cases."""

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from surgrec.errors import ConfigError, StorageError
from surgrec.text import counted
from surgrec_shard.found_source import FoundSource, find_source
from surgrec_shard.presets import Preset

_SPECIAL = frozenset("*?[{")
"""Characters that have a meaning in the rules of a split file."""


def write_evaluation_split(preset: Preset, folder: Path, protocol: str, path: Path) -> None:
    """Write a split of a preset as the file that `surgrec evaluate` audits and reads.

    Its test part has the cases of `test`, or those of `val` if there is no `test`; otherwise the
    cases of `val` are its val part. `kind` says its origin: official, convention or ours.
    `definition` is the digest of the rule, by which results of other copies are joined.

    Args:
        preset: The preset.
        folder: The copy of the data set, whose cases the file lists.
        protocol: Name of the split. Default: the first one of the preset.
        path: The new file.

    Raises:
        ConfigError: The preset has no such split, the file exists, or the split has no rule over
            cases with train and test.
        ManifestError: The folder holds no recording of the preset.
        StorageError: The file cannot be written.
    """
    if not preset.splits:
        raise ConfigError(f"{preset.name} has no split; write a split file by hand")
    name = protocol or next(iter(preset.splits))
    found = find_source(preset, folder, protocol)
    cases = _cases_by_split(found, name)
    tested = "test" if cases["test"] else "val"
    if not (cases["train"] and cases[tested]):
        train, test = (counted(len(cases[split]), "case") for split in ("train", tested))
        raise ConfigError(
            f"the split {name} of {preset.name} has {train} of train and {test} of test in "
            f"{folder}; complete the copy, or choose another --protocol"
        )

    status = preset.splits[name].status
    parts = {"train": "train", "val": "val", "test": "test"}
    if tested == "val" or not cases["val"]:
        parts = {"train": "train", "test": tested}
    lines = [
        f"# The split {name} of {preset.title} (status: {status}), from its cases in a copy.",
        f"name: {json.dumps(evaluation_split_name(preset, name))}",
        f"kind: {status}",
        f"definition: {_definition(preset, name)}",
        *(
            f"{part}: {{sources: {json.dumps([preset.name])}, cases: {json.dumps(cases[split])}}}"
            for part, split in parts.items()
        ),
    ]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise ConfigError(f"{path} exists; give another --write_split, or remove it") from None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}; give another --write_split"
        ) from None


def evaluation_split_name(preset: Preset, name: str) -> str:
    """Return the name of a split of a preset in its evaluation split, as results have it."""
    status = preset.splits[name].status
    return f"{preset.name}-{name}" if name == status else f"{preset.name}-{name}-{status}"


def _definition(preset: Preset, name: str) -> str:
    """Return the SHA-256 of the rule of a split, whatever the cases of a copy."""
    content = [preset.name, name, asdict(preset.splits[name])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _cases_by_split(found: FoundSource, name: str) -> dict[str, list[str]]:
    """Return the cases of each stored split, sorted. Refuse those that a rule cannot name."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for recording in found.recordings:
        splits_of[recording.case].add(recording.split)

    cases: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for case, splits in sorted(splits_of.items()):
        if len(splits) > 1:
            parts = ", ".join(sorted(splits))
            raise ConfigError(
                f"the split {name} has the case {case!r} in several parts ({parts}), and an "
                "evaluation split divides cases; choose another --protocol"
            )
        if _SPECIAL & set(case):
            raise ConfigError(
                f"the case {case!r} has one of the characters {' '.join(sorted(_SPECIAL))}, which "
                "stand for patterns in a split file; rename it"
            )
        (split,) = splits
        if split:
            cases[split].append(case)
    return cases
