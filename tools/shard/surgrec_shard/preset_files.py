"""The files of a published data set, found by templates of their paths."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from surgrec.annotations import LabelFiles, LabelMapping, Track, VideoClock, fill, read_labels
from surgrec.errors import ManifestError
from surgrec.text import counted
from surgrec.video_folder import FolderFiles
from surgrec_shard.presets import CaseTable, Preset


class PresetFiles:
    """The files below a folder, found by templates of their paths.

    Copies of a set may spell paths in upper or lower case, so these are equal.
    """

    def __init__(self, files: FolderFiles) -> None:
        self._by_name: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for path in files.paths:
            self._by_name[path.name.casefold()].append(
                (path.relative_to(files.folder).as_posix(), path)
            )

    def find(self, template: str, names: Mapping[str, str]) -> tuple[Path, ...]:
        """Return the files whose path ends like a template, sorted."""
        expression = path_expression(template, names)
        last = template.rpartition("/")[2]
        candidates: Iterable[tuple[str, Path]]
        if "*" in last:
            candidates = [each for same in self._by_name.values() for each in same]
        else:
            candidates = self._by_name.get(fill(last, names, "the preset").casefold(), [])
        return tuple(sorted(path for text, path in candidates if expression.search(text)))

    def one(self, template: str) -> tuple[Path, ...]:
        """Return the only file of a path.

        Raises:
            ManifestError: It is not there, or several times.
        """
        found = self.find(template, {})
        if len(found) != 1:
            raise ManifestError(
                f"{counted(len(found), 'file is', 'files are')} called {template}, which holds the "
                "split; give a complete copy, or another split"
            )
        return found

    def table(self, table: CaseTable) -> dict[str, str]:
        """Return a column of a file by its key.

        Raises:
            ManifestError: The file is not there, or several times, or cannot be read.
        """
        track = Track(task=f"{{{table.key}}}", column=table.column)
        mapping = LabelMapping(grammar="list", tracks=[track])
        clock = VideoClock(pictures_s=np.zeros(1), end_s=1.0)
        read = read_labels([LabelFiles(paths=self.one(table.file), mapping=mapping)], clock)
        return {plain_name(label.task): label.value for label in read.labels}

    def unused(self, preset: Preset, used: set[Path]) -> list[str]:
        """Return annotation files that belong to no recording."""
        found = []
        for label in preset.labels:
            if not label.files:
                continue

            expression = path_expression(label.files, None)
            found += [
                text
                for same in self._by_name.values()
                for text, path in same
                if path not in used and expression.search(text)
            ]

        return sorted(set(found))


def path_expression(template: str, names: Mapping[str, str] | None) -> re.Pattern[str]:
    """Return the expression of a template: `*` is any name; a name in braces is its group.

    Args:
        template: The template.
        names: The groups. None: each matches any name.
    """
    parts = []
    for part in re.split(r"(\{[^{}]+\}|\*)", template):
        if part.startswith("{"):
            name = fill(part, names, template) if names is not None else ""
            parts.append("[^/]*" if names is None else re.escape(name))
        else:
            parts.append("[^/]*" if part == "*" else re.escape(part))
    return re.compile(f"(?:^|/){''.join(parts)}$", re.IGNORECASE)


def plain_name(name: str) -> str:
    """Return a name whose number has no leading zeros: `BBP05` is `BBP5`."""
    match = re.fullmatch(r"([A-Za-z]*)([0-9]{1,18})", name)
    return f"{match[1]}{int(match[2])}" if match else name
