"""The stored split of each recording of a published data set."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping

from surgrec.annotations import LabelFiles, LabelMapping, Track, fill, read_column
from surgrec.errors import ConfigError, ManifestError
from surgrec.manifest import SPLITS
from surgrec_shard.preset_files import PresetFiles, plain_name
from surgrec_shard.presets import CaseTable, Preset, SplitRule

SplitOf = Callable[[Mapping[str, str]], str]
_SPELLINGS = {"validation": "val", "valid": "val", "dev": "val", "testing": "test"}


def split_rule(preset: Preset, protocol: str) -> SplitRule | None:
    """Return a split of a preset by its name; the first one by default, if there is one.

    Raises:
        ConfigError: The preset has no such split.
    """
    if not protocol:
        return next(iter(preset.splits.values()), None)
    if protocol not in preset.splits:
        raise ConfigError(
            f"{preset.name} has no split {protocol!r}; choose from "
            f"{', '.join(preset.splits) or 'none'}"
        )
    return preset.splits[protocol]


def name_of_split(preset: Preset, protocol: str) -> str:
    """Return the name and the status of a split, such as `endonet (official)`.

    It is empty if the preset has no split.

    Raises:
        ConfigError: The preset has no such split.
    """
    rule = split_rule(preset, protocol)
    return f"{protocol or next(iter(preset.splits))} ({rule.status})" if rule else ""


def split_function(rule: SplitRule | None, files: PresetFiles) -> SplitOf:
    """Return the function that gives the stored split of a recording; empty if it has none."""
    if rule is None:
        return lambda names: "train"
    if rule.shares:
        shares = rule.shares
        return lambda names: _by_digest(fill(rule.of, names, "of"), shares)

    parts = {split: text.split() for split, text in rule.parts.items()}
    if rule.lists:
        listing = LabelMapping(
            grammar="list", tracks=[Track(task="name", column="1")], header=False
        )
        parts = {
            split: read_column(LabelFiles(paths=files.one(path), mapping=listing), "1")
            for split, path in rule.lists.items()
        }
    if rule.table:
        parts = _parts_of_table(rule, files)
    split_of_name: dict[str, str] = {}
    others = ""
    for split, tokens in parts.items():
        for token in tokens:
            if token == "*":
                others = split
            for name in _names_of(token):
                split_of_name[name] = split
    return lambda names: split_of_name.get(plain_name(fill(rule.of, names, "of")), others)


def _parts_of_table(rule: SplitRule, files: PresetFiles) -> dict[str, list[str]]:
    """Return the names of each split from a file with a column of names and one of splits."""
    parts: dict[str, list[str]] = defaultdict(list)
    table = CaseTable(file=rule.table, key=rule.key, column=rule.column)
    for name, value in files.table(table).items():
        split = _SPELLINGS.get(value.lower(), value.lower())
        if split not in SPLITS:
            raise ManifestError(f"{rule.table}: the split {value!r} is not known; correct it")
        parts[split].append(name)
    return parts


def _names_of(token: str) -> list[str]:
    """Return the names that a word of a split lists: `7`, `1-40`, or `train1-25`."""
    match = re.fullmatch(r"([A-Za-z]*)([0-9]{1,6})-([0-9]{1,6})", token)
    if match is None:
        return [plain_name(token)]
    return [f"{match[1]}{number}" for number in range(int(match[2]), int(match[3]) + 1)]


def _by_digest(name: str, shares: Mapping[str, float]) -> str:
    """Return the split of a name: a digest of the name falls into its share."""
    digest = hashlib.sha256(name.encode()).digest()
    point = int.from_bytes(digest[:8]) / 2**64 * sum(shares.values())
    for split, share in shares.items():
        if point < share:
            return split
        point -= share
    return list(shares)[-1]
