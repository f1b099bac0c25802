"""Read YAML config files: find them by name, follow `base`, and merge them."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError, cut
from surgrec.yaml_files import read_yaml

BASE_KEY = "base"
"""Key of a config file that names the config it starts from."""
_MOST_BASES = 20
"""Files in a chain of bases."""
_SHOWN_LETTERS = 400
"""Letters of a path in a message. Its end matters, so most paths are shown whole."""


def read_config(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Read a config file and the files it is based on.

    A file may name its base: `base: jepa_vitl16`. Its values override those of the base; mappings
    are merged key by key, lists are replaced.

    Args:
        name: Path of a YAML file, or the name of a file below `folder` without its suffix.
        folder: Folder of named configs, searched with all its subfolders; None accepts paths only.

    Raises:
        ConfigError: A file is missing, is not a YAML mapping, or is its own base.
    """
    return merge_configs(read_layers(name, folder))


def read_layers(name: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Read a config file and the files it is based on, not merged; later ones win.

    Arguments and errors are those of `read_config`.
    """
    return _read(find_config(name, folder), folder, ())


def find_config(name: str, folder: Path | None = None) -> Path:
    """Return the path of a config file, given its path or its name (see `read_config`).

    Raises:
        ConfigError: The file does not exist.
    """
    path = Path(name)
    if os.path.exists(path) and not path.is_dir():  # Path.exists raises if a name is too long
        return path  # a pipe or a device is refused when it is read
    shown_name = cut(name, at_most=_SHOWN_LETTERS)
    if folder is None or path.suffix or len(path.parts) > 1:
        raise ConfigError(f"config {shown_name} does not exist; check the path")

    configs = {file.stem: file for file in folder.rglob("*.yaml")}
    if name in configs:
        return configs[name]
    near = difflib.get_close_matches(name, sorted(configs), n=3)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"the named configs are in {folder}"
    raise ConfigError(f"config {shown_name} is neither a file nor a named config; {remedy}")


def merge_configs(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge configs; later values win, and mappings are merged key by key."""
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in config.items():
            before = merged.get(key)
            if isinstance(before, dict) and isinstance(value, Mapping):
                value = merge_configs([before, value])
            merged[key] = value
    return merged


def _read(path: Path, folder: Path | None, dependents: tuple[Path, ...]) -> list[dict[str, Any]]:
    if path.resolve() in dependents:
        raise ConfigError(f"config {path} is its own base; remove one of the `base` keys")
    if len(dependents) == _MOST_BASES:
        raise ConfigError(f"config {path} is the base of {_MOST_BASES} others; use fewer files")
    values = read_yaml(path)
    if not isinstance(values, dict):
        content = "is empty" if values is None else "is not a YAML mapping"
        raise ConfigError(f"config {path} {content}; write one option per line, such as `seed: 1`")

    base = values.pop(BASE_KEY, None)
    if base is None:
        return [values]
    if not isinstance(base, str):
        raise ConfigError(f"config {path}: base is {base!r}; give one name or one path")
    base_path = path.parent / base
    if not os.path.isfile(base_path):
        base_path = find_config(base, folder)
    return [*_read(base_path, folder, (*dependents, path.resolve())), values]
