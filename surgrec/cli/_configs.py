"""Typed configs from YAML files and dotted flags."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from surgrec.cli._endings import print_and_exit, refuse
from surgrec.cli._words import read_group, require, warn_of_repeated
from surgrec.config_files import merge_configs, read_layers
from surgrec.config_values import as_plain, default_of, fields_in_full, to_type
from surgrec.errors import ConfigError, SurgrecError, shown
from surgrec.options import Options, Presets, preset
from surgrec.ranges import check_value, type_hints
from surgrec.yaml_files import to_yaml

ConfigType = TypeVar("ConfigType")


def parse(
    config_type: type[ConfigType],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    configs: Path | None = None,
    presets: Presets | None = None,
) -> ConfigType:
    """Parse a config from `--config` files and dotted flags.

    Later files override earlier ones. Flags override all files, in any order on the command line.
    A wrong key, type or value ends the program with status 2 and one line on standard error.

    Args:
        config_type: Dataclass of the config.
        argv: Words after the program's name. Default: those of this process.
        prog: Name of the program in messages.
        configs: Folder of configs that `--config NAME` may name without a path.
        presets: Keys that set several fields at once, such as
            `{"encoder.size": {"large": {"width": 1024, ...}}}`.

    Example:
        >>> parse(LoaderConfig, ["--num_workers", "4"]).num_workers
        4
    """
    prog = prog or Path(sys.argv[0]).name
    options = Options(
        hints={each.name: type_hints(config_type)[each.name] for each in fields(config_type)},  # type: ignore[arg-type]
        defaults={each.name: default_of(config_type, each.name) for each in fields(config_type)},  # type: ignore[arg-type]
        presets=presets or {},
        files="config",
        ending=("help", "print_config"),
    )
    try:
        words = options.split(sys.argv[1:] if argv is None else argv)
        if words.asks_for == "help":
            _print_config_help(prog, options, config_type)
        if words.positional:
            raise ConfigError(f"{shown(words.positional[0])} belongs to no option; remove it")
        warn_of_repeated(prog, options.repeated_lists(words))

        # Files first, so that flags win over them in any order.
        tree = _read_files([text for key, text in words.given if key == "config"], options, configs)
        for key, text in words.given:
            if key != "config":
                options.set(tree, key, text, read_group)
        if words.asks_for == "print_config":
            _print_config(options, tree)
        require(options, tree)
        config: ConfigType = to_type(config_type, tree)
    except SurgrecError as error:
        refuse(prog, str(error))
    return config


def write_yaml(config: object, path: Path) -> None:
    """Write a config as YAML; `--config PATH` reads it back."""
    path.write_text(to_yaml(as_plain(config)), encoding="utf-8")


def _read_files(names: Sequence[str], options: Options, folder: Path | None) -> dict[str, Any]:
    """Return the merged values of config files, with presets and short forms written out."""
    if "" in names:
        raise ConfigError("--config needs the name or the path of a file")
    layers = [
        fields_in_full(options.hints, layer, "", read_group, options.presets)
        for name in names
        for layer in read_layers(name, folder)
    ]
    return _expand_presets(merge_configs(layers), options.presets)


def _expand_presets(values: dict[str, Any], presets: Presets) -> dict[str, Any]:
    """Replace preset keys by their fields. Explicit fields of a file win over its preset."""
    for key in presets:
        group, _, name = key.rpartition(".")
        given = values.get(group)
        if isinstance(given, Mapping) and name in given:
            others = {field: value for field, value in given.items() if field != name}
            values = {**values, group: {**preset(presets, key, given[name]), **others}}
    return values


def _print_config(options: Options, tree: Mapping[str, Any]) -> NoReturn:
    """Print all values as YAML, without required ones that are not given."""
    values = {}
    for name, hint in options.hints.items():
        default = options.defaults[name]
        if name in tree:
            value = to_type(hint, tree[name], name, default)
            check_value(name, value, hint)
            values[name] = as_plain(value)
        elif default is not MISSING:
            values[name] = as_plain(default)
    print_and_exit(to_yaml(values))


def _print_config_help(prog: str, options: Options, config_type: type) -> NoReturn:
    from surgrec.help_text import field_texts, help_parser

    description = inspect.cleandoc(config_type.__doc__ or "")
    texts = field_texts(config_type)
    parser = help_parser(prog, options, texts=texts, description=description)
    print_and_exit(parser.format_help())
