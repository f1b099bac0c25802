"""Open the addresses of a user: corpora, or a folder of videos."""

from collections.abc import Collection, Sequence
from pathlib import Path

from surgrec.archives import is_opened
from surgrec.errors import ConfigError, MissingError
from surgrec.features._videos import VideoSet
from surgrec.features.corpora import CorpusVideos
from surgrec.features.folder import VideoFolder
from surgrec.recordings.picture_files import HIGHEST_RATE, LOWEST_RATE
from surgrec.shards.layout import CORPUS_FILE
from surgrec.storage import open_store


def open_videos(
    data: Sequence[str],
    only: Collection[tuple[str, str]] | None = None,
    *,
    frame_fps: float = 0.0,
    frames_from: str = "",
) -> VideoSet:
    """Return the videos of one or several corpora, or of one folder or archive of videos.

    Args:
        data: The addresses.
        only: Source and video of the videos to take; None for all of them.
        frame_fps: If a folder has videos as pictures: how many of their numbers pass per second.
        frames_from: As for `VideoFolder`.

    Raises:
        ConfigError: Several addresses, and not all are corpora; a corpus and `frame_fps`; or a file
            that is no archive.
        MissingError: The address is neither a corpus nor a folder.
        ManifestError: The folder holds no video.
        ShardError: A corpus does not keep its format.
    """
    others = [address for address in data if not open_store(address).exists(CORPUS_FILE)]
    if frame_fps and not LOWEST_RATE <= frame_fps <= HIGHEST_RATE:
        raise ConfigError(
            f"frame_fps is {frame_fps:g}; give a number from {LOWEST_RATE:g} to {HIGHEST_RATE:g}"
        )
    if frames_from and not frame_fps:
        raise ConfigError("frames_from needs frame_fps, the rate of the pictures' numbers")
    if not others:
        if frame_fps:
            raise ConfigError(
                f"frame_fps is for folders of pictures, and {data[0]} is a corpus; remove it"
            )
        return CorpusVideos(data, only)

    if len(data) > 1:
        raise ConfigError(
            f"{others[0]} holds no {CORPUS_FILE}; name several corpora, "
            "or one folder of videos alone"
        )
    folder = Path(others[0])
    if folder.is_file() and not is_opened(folder):
        raise ConfigError(
            f"{others[0]} is a file; give its folder, or read this video alone in Python with "
            "surgrec.load_encoder(ENCODER).features(FILE)"
        )
    if not folder.exists():
        raise MissingError(
            f"{others[0]} is neither a corpus (no {CORPUS_FILE}) nor a folder of videos; "
            "check the address"
        )
    return VideoFolder(folder, frame_fps, frames_from)
