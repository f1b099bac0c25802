"""`surgrec-shard check-source`: is the copy of a published data set complete?"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from surgrec.errors import ConfigError
from surgrec.terminal import SOME_FAILED, escape, print_json, print_result, result_table, say
from surgrec.text import counted, visible
from surgrec_shard import check_source as checks
from surgrec_shard.presets import preset_names, read_preset
from surgrec_shard.split_files import write_evaluation_split

_SHOWN = 20


def check_source(
    words: list[str], *, protocol: str = "", write_split: Path | None = None, json: bool = False
) -> int:
    """Compare a copy of a published data set with its preset, before hours of encoding.

    It reads names, headers of videos and annotation files, and decodes nothing. Exit status 0: all
    is there. Exit status 3: something is missing. Exit status 1: the folder cannot be used.

    Args:
        words: Name of a preset, or a YAML file like those of presets; then the folder. The word
            `list` alone lists all presets.
        protocol: Name of the split. Default: the first one of the preset.
        write_split: New file for the split as an evaluation split, which `surgrec evaluate --split`
            reads.
        json: Print one JSON object instead of tables.

    Example:
        surgrec-shard check-source cholec80 /data/cholec80
        surgrec-shard check-source cholec80 /data/cholec80 --write_split tecno.yaml
    """
    if words == ["list"]:
        _print_presets(json)
        return 0
    if len(words) != 2:
        raise ConfigError("give a preset and a folder, or the word list")
    preset, folder = read_preset(words[0]), Path(words[1])
    if write_split is not None:
        write_evaluation_split(preset, folder, protocol, write_split)
        say(escape(f"evaluation split: {write_split}"))
    found = checks.check_source(preset, folder, protocol)
    if json:
        content = {"preset": preset.name, "is_complete": found.is_complete, **asdict(found)}
        print_json(content)
        return 0 if found.is_complete else SOME_FAILED

    table = result_table(
        f"{preset.title} in {folder}", left=("what",), right=("published", "found")
    )
    for total in found.totals:
        published = "" if total.expected is None else f"{total.expected:g}"
        mark = " (less)" if total.is_less else " (more)" if total.is_more else ""
        table.add_row(escape(visible(total.what)), published, f"{total.found:g}{mark}")
    print_result(table)
    splits = ", ".join(f"{count} {split}" for split, count in found.splits.items())
    name = protocol or next(iter(preset.splits), "")
    status = preset.splits[name].status if name else "none"
    print_result(escape(f"split {name} ({status}): {splits}"))
    print_result(escape(f"license: {found.license}"))
    _print_list("missing", found.missing)
    _print_list("odd", found.odd)
    _print_list("optional", found.absent)
    _print_list("note", found.traps)
    print_result(_verdict(found))
    return 0 if found.is_complete else SOME_FAILED


def _verdict(found: checks.Findings) -> str:
    """Return the result in words."""
    if not found.is_complete:
        return "something is missing"
    if all(total.expected is None for total in found.totals):
        return "nothing is known to be missing: no total of this set is published"
    if found.odd:
        return f"all is there; {counted(len(found.odd), 'finding is', 'findings are')} odd"
    return "all is there"


def _print_list(title: str, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        print_result(escape(f"{title}: {visible(line)}"))
    if len(lines) > _SHOWN:
        print_result(f"{title}: {len(lines) - _SHOWN} more")


def _print_presets(json: bool) -> None:
    presets = [read_preset(name) for name in preset_names()]

    if json:
        rows = [
            {
                "name": preset.name,
                "title": preset.title,
                "domain": preset.domain,
                "license": preset.license,
                "media": preset.media,
                "case_is": preset.case_is,
                "origin": preset.origin,
                "splits": {name: rule.status for name, rule in preset.splits.items()},
            }
            for preset in presets
        ]
        print_json(rows)
        return

    for preset in presets:
        splits = ", ".join(f"{name} ({rule.status})" for name, rule in preset.splits.items())
        facts = f"{preset.title}: {preset.domain}, {preset.media}, license {preset.license}"
        print_result(escape(f"{preset.name}\n    {facts}\n    splits: {splits or 'none'}"))
