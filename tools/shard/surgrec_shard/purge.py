"""Purging: nothing about removed videos stays in the private folder and the work folder."""

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from surgrec.storage import open_owned
from surgrec_shard.convergence import Places
from surgrec_shard.corpus_files import CorpusFiles, may_exist
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.interrupted import RemovedVideos
from surgrec_shard.overlay_report import forget_overlays
from surgrec_shard.saved_plans import RECORDS

_Row = dict[str, str]


def of_other_corpora(names: Collection[str], places: Places) -> list[str]:
    """Return a sentence for each other corpus of the private folder with videos of these names.

    Raises:
        StorageError: A file is damaged.
    """
    files = defaultdict(list)
    for path, address in files_of_others(places).items():
        if _has(path, names):
            files[address].append(path)
    return [_also_stored(address, paths) for address, paths in sorted(files.items())]


def purge(places: Places, removed: RemovedVideos) -> list[str]:
    """Remove the entries of a private folder about removed videos. It may be called again.

    Everything about videos that another corpus of the folder still has stays, but for the plans and
    records of this corpus: their own removal needs it.

    Args:
        places: The corpus, its private folder, and its folder for unfinished clips.
        removed: The videos.

    Returns:
        The paths of their files, which stay.
    """
    private = places.private
    names = {name for videos in removed.videos.values() for name in videos}
    reports = {path: _read(path) for path in sorted(_reports(private.path))}
    originals = private.files_of(names) | {
        row["path"] for rows in reports.values() for row in rows if _is_of(row, removed)
    }

    # Of other corpora, nothing may be lost.
    forgotten = _without_others(removed, places)
    names = {name for videos in forgotten.videos.values() for name in videos}
    paths = private.files_of(names) | {
        row["path"] for rows in reports.values() for row in rows if _is_of(row, forgotten)
    }

    # The digests of the files come last: they give the paths again after a kill.
    for path, rows in reports.items():
        kept = [row for row in rows if not _shows(row, forgotten, paths)]
        if kept and kept != rows:
            private.write_report(path.name, kept)
        elif not kept:
            _unlink(path)
        _unlink(path.with_suffix(".partial"))
    for path in _files_that_name(removed, places):
        _unlink(path)
    for source, videos in forgotten.videos.items():
        forget_overlays(private, source, videos)
    _empty(places.work, forgotten)
    private.forget(names, paths)
    return sorted(originals)


def _corpus_files(places: Places) -> list[CorpusFiles]:
    """Return the plans, the records of groups, and the overlaps."""
    folders = ("plans", *RECORDS)
    return [CorpusFiles(places.private.path / folder, places.store) for folder in folders]


def files_of_others(places: Places) -> dict[Path, str]:
    """Return the files of other corpora, and the addresses of these corpora.

    Raises:
        StorageError: A file is damaged.
    """
    return {
        path: address
        for files in _corpus_files(places)
        for path, address in files.of_others().items()
    }


def _also_stored(address: str, paths: Sequence[Path]) -> str:
    """Return a sentence about removed videos in the plans of another corpus."""
    again = "remove it there, too, with the same --private"
    if may_exist(address):
        return f"also stored in {address}: {again}"
    files = ", ".join(map(str, sorted(paths)))
    return (
        f"also stored in {address}, where no corpus is now: if its disk is not mounted, mount it "
        f"and {again}; if the corpus was deleted or moved, delete {files}"
    )


def _without_others(removed: RemovedVideos, places: Places) -> RemovedVideos:
    """Return the videos and cases that no other corpus of the private folder has."""
    texts: dict[str, list[str]] = {source: [] for source in removed.videos}
    for path in files_of_others(places):
        for source, found in texts.items():
            if path.name.startswith(f"{source}-"):
                found.append(_text(path))

    def left(words: Mapping[str, list[str]], write: Callable[[str], str]) -> dict[str, list[str]]:
        return {
            source: [
                word for word in listed if not any(write(word) in text for text in texts[source])
            ]
            for source, listed in words.items()
        }

    return RemovedVideos(videos=left(removed.videos, str), cases=left(removed.cases, _case_word))


def _reports(folder: Path) -> Iterator[Path]:
    for kind in ("videos", "overlays"):
        yield from folder.glob(f"{kind}-*.csv")


def _read(path: Path) -> list[_Row]:
    with open_owned(path, "r", newline="") as file:
        return list(csv.DictReader(file))


def _is_of(row: _Row, removed: RemovedVideos) -> bool:
    """Return whether a row is about a removed video, or about an unreadable file of its case."""
    name, source = row["corpus_video"], row["source"]
    if name:
        return name in removed.videos.get(source, ())
    return bool(row["case"]) and row["case"] in removed.cases.get(source, ())


def _shows(row: _Row, removed: RemovedVideos, paths: set[str]) -> bool:
    """Return whether a row shows anything of a removed video, such as of its copy."""
    if _is_of(row, removed):
        return True
    is_of_source = row["source"] in removed.videos
    return is_of_source and (row["path"] in paths or any(path in row["detail"] for path in paths))


def _files_that_name(removed: RemovedVideos, places: Places) -> Iterator[Path]:
    """Yield records, plans and overlaps that name a removed video, and unfinished ones."""
    words = _words(removed)
    for path in sorted(path for files in _corpus_files(places) for path in files.files()):
        named = [
            word
            for source, of_source in words.items()
            if path.name.startswith(f"{source}-")
            for word in of_source
        ]
        if path.suffix == ".partial" or _has(path, named):
            yield path


def _has(path: Path, words: Collection[str]) -> bool:
    text = _text(path) if words else ""
    return any(word in text for word in words)


def _text(path: Path) -> str:
    with open_owned(path, "r") as file:
        return str(file.read())


def _words(removed: RemovedVideos) -> dict[str, list[str]]:
    """Return what names removed videos in a JSON file, by source.

    Unreadable files have no name in the corpus: they are known by their case.
    """
    return {
        source: [*names, *map(_case_word, removed.cases.get(source, ()))]
        for source, names in removed.videos.items()
    }


def _case_word(case: str) -> str:
    return f'"case": {json.dumps(case)}'


def _empty(work: Path, removed: RemovedVideos) -> None:
    """Remove clips and shards of a killed build."""
    for source, names in removed.videos.items():
        for name in names:
            for folder in work.glob(f"videos/*/{source}-{name}*"):
                shutil.rmtree(folder, ignore_errors=True)
    for shard in (*work.glob("*.tar"), *work.glob("*.tar.idx")):
        _unlink(shard)


def _unlink(path: Path) -> None:
    with writing_to(path.parent, MOVE_PRIVATE):
        path.unlink(missing_ok=True)
