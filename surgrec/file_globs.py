"""Choose some of the files of a folder by globs, and count the others."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surgrec.errors import ManifestError
from surgrec.text import counted
from surgrec.video_folder import NO_SUFFIX, FolderFiles, LeftOut, by_suffix, open_archives

_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class _Glob:
    """A glob of the user, and the number of files that it matches."""

    def __init__(self, option: str, text: str) -> None:
        self.option, self.text, self.hits = option, text, 0
        bare = text.strip("/")
        if not bare:
            raise ManifestError(f"{option} {text!r} is empty; give a glob such as '**/*.mp4'")
        begin = "^" if "/" in bare else "(?:^|/)"
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", bare)
        body = "".join(_WILD.get(part, re.escape(part)) for part in parts)
        self._expression = re.compile(f"{begin}{body}(?:/|$)", re.DOTALL)

    def matches(self, folder: Path, path: Path) -> bool:
        """Return whether it matches a path below a folder, or a folder of the path."""
        is_match = self._expression.search(path.relative_to(folder).as_posix()) is not None
        self.hits += is_match
        return is_match


def select_files(
    files: FolderFiles, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> FolderFiles:
    """Return the files that the user wants. The others are counted in `excluded`.

    A glob is matched with the path relative to the folder: `*` and `?` match parts of a name, `**`
    any number of folders. One without `/` is matched with each name in the path. One that matches a
    folder holds for everything in it. Zip and tar archives are opened, and count as folders.

    Args:
        files: The files.
        include: Globs of the files to take. None: all.
        exclude: Globs of those files not to take.

    Raises:
        ManifestError: A glob matches no file.
    """
    included = [_Glob("--include", text) for text in include]
    excluded = [_Glob("--exclude", text) for text in exclude]
    # An excluded archive is not opened: to search a large one takes time.
    files = open_archives(
        files, lambda path: any(glob.matches(files.folder, path) for glob in excluded)
    )
    paths = []
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for path in files.paths:
        # Each glob sees each file, so that its hits are counted.
        takes = [glob.matches(files.folder, path) for glob in included]
        refusing = [glob.text for glob in excluded if glob.matches(files.folder, path)]
        if takes and not any(takes):
            counts["no --include matches", "*"][path.suffix.lower() or NO_SUFFIX] += 1
        elif refusing:
            reason = f"--exclude {refusing[0]!r} matches"
            counts[reason, refusing[0]][path.suffix.lower() or NO_SUFFIX] += 1
        else:
            paths.append(path)

    # A folder that cannot be opened may hold files that --include would take.
    left_out = [
        each
        for each in files.left_out
        if not any(glob.matches(files.folder, each.path) for glob in excluded)
    ]
    for glob in (*included, *excluded):
        if not glob.hits:
            number = counted(len(files.paths), "file")
            raise ManifestError(
                f"{glob.option} {glob.text!r} matches none of {number} below "
                f"{files.folder}; correct it, such as '**/*.mp4', or remove it"
            )
    reasons = [
        LeftOut(
            path=files.folder / glob_text,
            reason="excluded",
            detail=f"{counted(sum(kinds.values()), 'file')} that {reason}: {by_suffix(kinds)}",
        )
        for (reason, glob_text), kinds in counts.items()
    ]
    return replace(files, paths=paths, left_out=left_out, excluded=reasons)
