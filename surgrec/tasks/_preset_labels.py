"""The tasks and classes that the labels of a preset have."""

import re
from collections.abc import Iterator

from surgrec_shard.presets import Preset

from surgrec.annotations import Track


def tasks_of(preset: Preset) -> list[str]:
    """Return the tasks of a preset's labels. Those that a path names are `{group}`."""
    return list(dict.fromkeys(track.task for track in _tracks(preset)))


def has_task(preset: Preset, task: str) -> bool:
    """Return whether a preset has labels of a task."""
    return any(_names(track, task) for track in _tracks(preset))


def classes_in(preset: Preset, task: str) -> tuple[str, ...]:
    """Return the classes of a task in order; none if the preset does not name them.

    They are the published ones, else the names that the labels' mapping gives.
    """
    published = preset.expected.names.get(task, [])
    if published:
        return tuple(published)
    for track in _tracks(preset):
        if track.task == task and (track.names or track.flags):
            names = {raw: name for raw, name in track.names.items() if raw not in track.ignore}
            return tuple(dict.fromkeys(names.values() or track.flags))
    return ()


def _tracks(preset: Preset) -> Iterator[Track]:
    for rule in preset.labels:
        yield from (track for track in rule.mapping.tracks if not track.drop)


def _names(track: Track, task: str) -> bool:
    """Return whether a track's task, maybe with groups of a path, is this one."""
    parts = re.split(r"(\{[^{}]+\})", track.task)
    pattern = "".join(".+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.fullmatch(pattern, task) is not None
