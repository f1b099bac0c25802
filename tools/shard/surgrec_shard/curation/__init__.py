"""Curation: which stretches of a video are not stored, by its pictures or by a list.

Example:
    >>> curator = Curator(Curation(settings=CurateSettings(black=True)), frames, folder)
    >>> for part in curator.kept(frames_of_the_video):
    ...     writer.write(part.data, part.count)
"""

from surgrec_shard.curation._curator import CURATED, CuratedStretch, Curator
from surgrec_shard.curation._listed import ListedStretch, listed_by, read_listed
from surgrec_shard.curation._model import FrameModel
from surgrec_shard.curation._settings import CurateSettings, Curation, own_config
from surgrec_shard.curation._view import CuratedView

__all__ = [
    "CURATED",
    "CurateSettings",
    "CuratedStretch",
    "CuratedView",
    "Curation",
    "Curator",
    "FrameModel",
    "ListedStretch",
    "listed_by",
    "own_config",
    "read_listed",
]
