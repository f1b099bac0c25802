"""Lists of videos without a header, as training code of other projects reads them.

A line is `path label`, or `path start end label` for a segment. Words are separated by spaces or
tabs, or, if the first line has none, by commas. A path with such characters is in double quotes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import ManifestError, cut
from surgrec.table_files import read_text

_WORDS = {
    " ": re.compile(r'\s*(?:"(?P<quoted>[^"]*)"(?=\s|$)|(?P<plain>[^"\s]\S*))\s*'),
    ",": re.compile(r'\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^",][^,]*?))\s*(?:,|$)'),
}

_HEADERS = [
    [first, *middle, last]
    for first in ("path", "file", "filename", "video", "video_path", "name")
    for middle in ([], ["start", "end"])
    for last in ("label", "class", "target", "y")
]


@dataclass(kw_only=True)
class ListedVideo:
    """A video of a list, with its labels."""

    path: str
    labels: list[tuple[str, str]] = field(default_factory=list)
    """Place and value of labels of the whole video."""
    segments: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Place of each segment, and its `start`, `end` and `label`, as written."""


def read_video_list(
    path: Path, tell: Callable[[str], None] = lambda line: None
) -> list[ListedVideo]:
    """Return the videos of a list, in the order of their first lines.

    Args:
        path: The list.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file cannot be read, or a line has another form.

    Example:
        >>> read_video_list(Path("train.txt"))[0].labels
        [('train.txt, line 1', '3')]
    """
    lines = read_text(path, tell).split("\n")
    first = next((line.strip() for line in lines if line.strip()), "")
    words_of = _WORDS[" " if re.search(r"\s", first) else ","]

    videos: dict[str, ListedVideo] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        words = _split(line, words_of, place)
        if not videos and [word.lower() for word in words] in _HEADERS:
            raise ManifestError(
                f"{place}: {cut(line.strip())!r} looks like a header, and a list of videos has "
                "none; remove the line, or give a table with all columns of a manifest as "
                "--manifest"
            )
        if len(words) not in (2, 4) or not words[0]:
            raise ManifestError(
                f"{place}: {cut(line.strip())!r} has {len(words)} words; write `path label` or "
                "`path start end label`, with a path that contains spaces in double quotes"
            )
        video = videos.setdefault(words[0], ListedVideo(path=words[0]))
        if len(words) == 2:
            video.labels.append((place, words[1]))
        else:
            segment = dict(zip(("start", "end", "label"), words[1:], strict=True))
            video.segments.append((place, segment))
    if not videos:
        raise ManifestError(f"{path} lists no videos; add a line for each")
    return list(videos.values())


def _split(line: str, words_of: re.Pattern[str], place: str) -> list[str]:
    words, at = [], 0
    while at < len(line):
        match = words_of.match(line, at)
        if match is None:
            raise ManifestError(
                f"{place}: {cut(line.strip())!r} has a quote that is not closed, or an empty word; "
                "correct it"
            )
        words.append((match["quoted"] if match["plain"] is None else match["plain"]).strip())
        at = match.end()
    return words
