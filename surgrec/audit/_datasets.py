"""Case names in the file names of published sets, as data: one YAML file per set."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from surgrec.audit._rows import plain
from surgrec.config_values import to_type
from surgrec.errors import ConfigError, SurgrecError, cut
from surgrec.yaml_files import read_yaml

FOLDER = Path(__file__).with_name("datasets")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The file names of a published set."""

    title: str
    case_is: str
    """The meaning of a case, in words."""
    patterns: tuple[str, ...]
    """Expressions with named groups, tried in this order. The groups `class`, `start` and `end` are
    the class and the time of a clip."""
    case: str = "{case}"
    """The case, from groups."""
    video: str = ""
    """The video within the case, from groups. Empty: the group `video`, or the case itself."""
    subject: str = ""
    """A larger unit than a case, from groups. Empty: the group `subject`, or none."""
    subject_is: str = ""
    """Kind of this unit, such as `surgeon`."""
    subject_severity: Literal["fail", "warn"] = "warn"
    """Severity of a unit in two parts: fail if it is of one patient, such as a lesion."""
    subject_caveat: str = ""
    """Why such a unit does not fail, in words."""
    also: tuple[str, ...] = ()
    """Further names of the set, such as those of folders."""
    name: str = ""


def dataset_names() -> list[str]:
    """Return the names of all sets whose case names are known."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def near_datasets(name: str) -> list[str]:
    """Return the known set whose name is a word or resembles it, if there is one."""
    return difflib.get_close_matches(name, dataset_names(), n=1)


def read_dataset(name: str) -> Dataset:
    """Read the description of a set.

    Args:
        name: Name of a set, or the path of a YAML file with the same fields.

    Raises:
        ConfigError: The set is not known, or the file has a wrong field.
    """
    if not name.endswith(".yaml") and name not in dataset_names():
        near = near_datasets(name)
        remedy = f"did you mean {near[0]}?" if near else f"choose from {', '.join(dataset_names())}"
        raise ConfigError(f"--dataset {cut(name)!r} is not known; {remedy}")

    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is not a mapping; give title, case_is and patterns")
    try:
        dataset: Dataset = to_type(Dataset, {**tree, "name": path.stem})
    except SurgrecError as error:
        raise ConfigError(f"{path}: {error}") from error
    return dataset


def named_datasets(words: Sequence[str]) -> list[Dataset]:
    """Return the sets that have one of these names, such as folders of a path.

    Names are compared in small letters and digits.
    """
    wanted = {plain(word) for word in words}
    found = map(read_dataset, dataset_names())
    return [each for each in found if wanted & {plain(name) for name in (each.name, *each.also)}]


def folders_of(path: str) -> list[str]:
    """Return the names of the folders of a path, with either kind of separator."""
    return list(PurePosixPath(path.replace("\\", "/")).parts[:-1])
