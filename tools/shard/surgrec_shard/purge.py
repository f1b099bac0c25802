"""Purging: nothing about removed videos stays in the private folder and the work folder."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from surgrec.storage import open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.interrupted import RemovedVideos
from surgrec_shard.overlay_report import forget_overlays
from surgrec_shard.private import PrivateFolder
from surgrec_shard.saved_plans import SavedPlans

_Row = dict[str, str]


def purge(
    private: PrivateFolder, work: Path, removed: RemovedVideos, plans: SavedPlans
) -> list[str]:
    """Remove the entries of a private folder about removed videos. It may be called again.

    Plans of other corpora stay: these corpora still have the videos, and their own removal needs
    the names.

    Args:
        private: The private folder.
        work: Its folder for unfinished clips.
        removed: The videos.
        plans: The plans of the corpus.

    Returns:
        The paths of their files, which stay.
    """
    names = {name for videos in removed.videos.values() for name in videos}
    reports = {path: _read(path) for path in sorted(_reports(private.path))}
    paths = private.files_of(names) | {
        row["path"] for rows in reports.values() for row in rows if _is_of(row, removed)
    }

    # The digests of the files come last: they give the paths again after a kill.
    for path, rows in reports.items():
        kept = [row for row in rows if not _shows(row, removed, paths)]
        if kept and kept != rows:
            private.write_report(path.name, kept)
        elif not kept:
            _unlink(path)
        _unlink(path.with_suffix(".partial"))
    for path in _files_that_name(private.path, removed, plans):
        _unlink(path)
    for source, videos in removed.videos.items():
        forget_overlays(private, source, videos)
    _empty(work, removed)
    private.forget(names, paths)
    return sorted(paths)


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


def _files_that_name(folder: Path, removed: RemovedVideos, plans: SavedPlans) -> Iterator[Path]:
    """Yield records, plans and overlaps that name a removed video, and unfinished ones."""
    records = [path for kind in ("groups", "overlaps") for path in (folder / kind).glob("*")]
    for path in sorted([*records, *plans.files()]):
        if path.suffix == ".partial":
            yield path
            continue

        with open_owned(path, "r") as file:
            text = file.read()
        if any(
            path.name.startswith(f"{source}-") and any(word in text for word in words)
            for source, words in _words(removed).items()
        ):
            yield path


def _words(removed: RemovedVideos) -> dict[str, list[str]]:
    """Return what names removed videos in a JSON file, by source.

    Unreadable files have no name in the corpus: they are known by their case.
    """
    return {
        source: [*names, *(f'"case": {json.dumps(case)}' for case in removed.cases.get(source, ()))]
        for source, names in removed.videos.items()
    }


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
