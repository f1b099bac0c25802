"""`surgrec-shard remove`: videos leave a corpus and its private folder."""

import os
from pathlib import Path
from typing import Annotated

from surgrec.errors import ConfigError
from surgrec.ranges import Range
from surgrec.storage import open_store
from surgrec.terminal import escape, say, stage_progress
from surgrec.text import counted
from surgrec_shard.convergence import Places
from surgrec_shard.private import PrivateFolder, default_private_folder
from surgrec_shard.removal import NOT_REACHED, Removal, Removed, Selection


def remove(
    corpus: str,
    *,
    case: str = "",
    patient: str = "",
    video: str = "",
    source: str = "",
    private: Path | None = None,
    work: Path | None = None,
    workers: Annotated[int, Range(0, 1024)] = 0,
    only_builder: bool = False,
) -> None:
    """Remove a case, a patient, a video or a source from a corpus, with every byte.

    No original is needed: changed groups are packed again from stored clips. The private folder
    loses its entries about the videos, too. After a kill, the corpus is the old or the new one, and
    the same command finishes the removal. No run may read the changed sources meanwhile.

    Args:
        corpus: A folder, or s3://bucket/prefix.
        case: The case, as the manifest names it, or its pseudonym.
        patient: The patient, as the manifest names it, or the pseudonym: all of the cases.
        video: The name of the video in the corpus, or the path of its file.
        source: Remove from this source only. Without the other flags: the whole source.
        private: The private folder of the corpus. Default: as for `build`.
        work: The --work of the builds, if they had one.
        workers: Videos copied at once; 0: one per core.
        only_builder: No other command writes to the corpus meanwhile; needed for stores without
            conditional writes.

    Example:
        surgrec-shard remove /data/corpus --case 'case 17'
    """
    selection = Selection(case=case, patient=patient, video=video, source=source)
    if not selection.words():
        raise ConfigError("give --case NAME, --patient NAME, --video NAME or --source NAME")

    store = open_store(corpus)
    folder = private or default_private_folder(store)
    if not (folder / "key").is_file():
        raise ConfigError(
            f"{folder} is not a private folder, as it has no key; give the folder that the corpus "
            "was built with as --private"
        )

    key = PrivateFolder(folder)
    places = Places(store=store, private=key, work=key.folder_in(work or folder / "work"))

    with stage_progress() as progress:
        removed = Removal(
            places,
            selection,
            workers=workers or len(os.sched_getaffinity(0)),
            is_alone=only_builder,
            progress=progress,
        ).run()
    _print(removed)


def _print(removed: Removed) -> None:
    for source, videos in removed.videos.items():
        names = ", ".join(videos) or "none stored"
        say(escape(f"{source}: removed {counted(len(videos), 'video')}: {names}"))
    say(escape(f"cases: {', '.join(removed.cases) or 'none stored'}"))
    say(escape(f"{counted(removed.clips, 'clip')}, {removed.hours:.2f} h"))
    for source, (before, after) in removed.changes.items():
        say(escape(f"{source}: digest {before[:12]} before, {after[:12] or 'none'} after"))
    for sentence in removed.other_corpora:
        say(escape(sentence))
    for path in removed.originals:
        say(escape(f"not removed: {path}"))
    say(NOT_REACHED.strip())
