"""Choose some of the files of a folder by globs, and count the others."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surgrec.errors import ManifestError, cut
from surgrec.text import counted
from surgrec.user_patterns import UserPattern
from surgrec.video_folder import NO_SUFFIX, FolderFiles, LeftOut, by_suffix, open_archives

_REPEATABLE = ("**/", "**")
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class _Glob:
    """A glob of the user, and the paths that it matches."""

    def __init__(self, option: str, text: str) -> None:
        self.option, self.text = option, text
        self.matched: set[Path] = set()
        bare = text.strip("/")
        if not bare:
            raise ManifestError(f"{option} {text!r} is empty; give a glob such as '**/*.mp4'")
        begin = "^" if "/" in bare else "(?:^|/)"
        body = "".join(_WILD.get(part, re.escape(part)) for part in _parts(bare))
        self._expression = f"(?s:{begin}({body})(?:/|$))"

    def find(self, folder: Path, paths: Sequence[Path]) -> None:
        """Find the paths below a folder that it matches itself, or by a folder of the path.

        Raises:
            ManifestError: The search takes too long: it has too many wildcards.
        """
        texts = [path.relative_to(folder).as_posix() for path in paths]
        try:
            found = UserPattern(self._expression, self.option).search(texts)
        except ManifestError as error:
            raise ManifestError(
                f"{self.option} {cut(self.text)} has too many wildcards or is too long; give a "
                "simpler glob, or several"
            ) from error
        self.matched = {path for path, part in zip(paths, found, strict=True) if part is not None}


def _parts(glob: str) -> list[str]:
    """Return a glob in parts, of which each is a wildcard or text. Wildcards do not repeat."""
    parts: list[str] = []
    for part in re.split(r"(\*\*/|\*{2,}|\*|\?)", glob):
        part = "**" if len(part) > 2 and not part.strip("*") else part
        if part and not (part in _REPEATABLE and parts[-1:] == [part]):
            parts.append(part)
    return parts


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
        ManifestError: A glob matches no file, or its search takes too long.
    """
    included = [_Glob("--include", text) for text in include]
    excluded = [_Glob("--exclude", text) for text in exclude]

    # An excluded archive is not opened: to search a large one takes time.
    for glob in excluded:
        glob.find(files.folder, files.paths)
    skipped = {path for glob in excluded for path in glob.matched}
    files = open_archives(files, skipped.__contains__)

    unsearched = [*(each.path for each in files.left_out), *files.hidden_paths]
    for glob in (*included, *excluded):
        # Each glob sees each file. A folder that cannot be opened may hold files to include.
        glob.find(files.folder, files.paths + (unsearched if glob in excluded else []))
        if not glob.matched:
            number = counted(len(files.paths), "file")
            raise ManifestError(
                f"{glob.option} {glob.text!r} matches none of {number} below "
                f"{files.folder}; correct it, such as '**/*.mp4', or remove it"
            )

    paths = []
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for path in files.paths:
        refusing = [glob.text for glob in excluded if path in glob.matched]
        if included and not any(path in glob.matched for glob in included):
            counts["no --include matches", "*"][path.suffix.lower() or NO_SUFFIX] += 1
        elif refusing:
            reason = f"--exclude {refusing[0]!r} matches"
            counts[reason, refusing[0]][path.suffix.lower() or NO_SUFFIX] += 1
        else:
            paths.append(path)

    left_out = [
        each for each in files.left_out if not any(each.path in glob.matched for glob in excluded)
    ]
    reasons = [
        LeftOut(
            path=files.folder / glob_text,
            reason="excluded",
            detail=f"{counted(sum(kinds.values()), 'file')} that {reason}: {by_suffix(kinds)}",
        )
        for (reason, glob_text), kinds in counts.items()
    ]
    hidden_paths = [
        path for path in files.hidden_paths if not any(path in glob.matched for glob in excluded)
    ]
    return replace(
        files, paths=paths, left_out=left_out, hidden_paths=hidden_paths, excluded=reasons
    )
