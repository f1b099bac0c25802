"""Open the addresses of a user: corpora, or a folder of videos."""

from collections.abc import Collection, Sequence
from pathlib import Path

from surgrec.errors import ConfigError, MissingError
from surgrec.features._corpora import CorpusVideos
from surgrec.features._videos import VideoSet
from surgrec.features.folder import VideoFolder
from surgrec.shards.layout import CORPUS_FILE
from surgrec.storage import open_store


def open_videos(data: Sequence[str], only: Collection[tuple[str, str]] | None = None) -> VideoSet:
    """Return the videos of one or several corpora, or of exactly one folder of video files.

    Args:
        data: The addresses.
        only: Source and video of the videos to take; None for all of them.

    Raises:
        ConfigError: Several addresses, and not all are corpora.
        MissingError: The address is neither a corpus nor a folder.
        ManifestError: The folder holds no video.
        ShardError: A corpus does not keep its format.
    """
    others = [address for address in data if not open_store(address).exists(CORPUS_FILE)]
    if not others:
        return CorpusVideos(data, only)

    if len(data) > 1:
        raise ConfigError(
            f"{others[0]} holds no {CORPUS_FILE}; name several corpora, "
            "or one folder of videos alone"
        )
    if not Path(others[0]).is_dir():
        raise MissingError(
            f"{others[0]} is neither a corpus (no {CORPUS_FILE}) nor a folder of videos; "
            "check the address"
        )
    return VideoFolder(Path(others[0]))
