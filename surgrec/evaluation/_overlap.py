"""Find the cases of a corpus that weights were trained on, by digests of videos and cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, UInt64

from surgrec.runs.drawn import (
    DrawnRecord,
    DrawnSource,
    NamedVideos,
    PretrainingData,
    identity_digests,
    named_videos,
)
from surgrec.shards import Source

Case = tuple[str, str]
"""Source and case."""


@dataclass(kw_only=True)
class Overlap:
    """Cases that weights were trained on, and cases of which this cannot be known."""

    cases: set[Case] = field(default_factory=set)
    """Cases that were drawn."""
    namesakes: set[Case] = field(default_factory=set)
    """Cases with the name of a drawn case of a source with another name: a renamed source, or only
    an equal name."""
    uncertain: set[str] = field(default_factory=set)
    """Sources whose cases have other names than in the record, although drawn cases of the record
    cannot be found by their videos: an unseen case may be one of them."""
    incomparable: set[str] = field(default_factory=set)
    """Sources whose pseudonyms depend on another key or another name than those of drawn cases of
    which no video is in the opened corpora: an unseen case may be one of them."""


def find_overlap(pretraining: PretrainingData, sources: Mapping[str, Source]) -> Overlap:
    """Compare the drawn videos and cases with all videos of the opened corpora.

    A case was drawn if one of its videos was, or if the record has its name for the same source. A
    source with another name is the same one if most of their common videos have the same case.
    """
    opened = {name: named_videos(source) for name, source in sources.items()}
    overlap = Overlap()
    for record in pretraining.records:
        _compare(record, opened, overlap)
    return overlap


def _compare(record: DrawnRecord, opened: Mapping[str, NamedVideos], overlap: Overlap) -> None:
    """Add the findings of one record on the opened sources."""
    digests = {name: videos.digests(record.key) for name, videos in opened.items()}
    everywhere = np.unique(_joined([videos.videos for videos in digests.values()]))
    recorded_cases = _joined([drawn.cases for drawn in record.sources.values()])
    hidden = {
        name
        for name in record.pseudonymous
        if not np.isin(record.sources[name].videos, everywhere).any()
    }
    index = _VideoIndex(record)

    for name, videos in digests.items():
        drawn: Bool[np.ndarray, " n"] = np.zeros(len(videos.cases), dtype=bool)
        names_are_known = False
        for recorded_name in index.related(name, videos):
            recorded = record.sources[recorded_name]
            common = np.isin(videos.videos, recorded.videos)
            same_case = common & np.isin(_pairs(videos), _pairs(recorded))
            has_same_names = 2 * same_case.sum() > common.sum()

            drawn |= common
            if recorded_name == name or has_same_names:
                same_name = np.isin(videos.cases, recorded.cases)
                drawn |= same_name
                names_are_known |= bool(same_name.any())

            # The names of the cases changed: a case is found by its videos alone.
            if common.any() and not has_same_names:
                found = recorded.cases[np.isin(recorded.videos, everywhere)]
                if not np.isin(recorded.cases, found).all():
                    overlap.uncertain.add(name)

        overlap.cases |= _cases(name, opened[name], videos.cases[drawn], record.key)
        if name not in record.sources:
            same_name = np.isin(videos.cases, recorded_cases)
            overlap.namesakes |= _cases(name, opened[name], videos.cases[same_name], record.key)
        if hidden and not names_are_known and opened[name].has_pseudonyms:
            overlap.incomparable.add(name)


class _VideoIndex:
    """The sources of a record, which are found by name and by video."""

    def __init__(self, record: DrawnRecord) -> None:
        self._names = list(record.sources)
        videos = [drawn.videos for drawn in record.sources.values()]
        owners = np.repeat(np.arange(len(videos)), [len(each) for each in videos])
        order = np.argsort(_joined(videos), kind="stable")
        self._videos, self._owners = _joined(videos)[order], owners[order]

    def related(self, name: str, videos: DrawnSource) -> list[str]:
        """Return the recorded source of this name, and those that share a video."""
        first = np.searchsorted(self._videos, videos.videos, side="left")
        end = np.searchsorted(self._videos, videos.videos, side="right")
        owners = set[int]()
        for start, stop in zip(first[end > first].tolist(), end[end > first].tolist(), strict=True):
            owners |= set(self._owners[start:stop].tolist())
        return [each for number, each in enumerate(self._names) if each == name or number in owners]


def _cases(
    source: str, videos: NamedVideos, digests: UInt64[np.ndarray, " _"], key: bytes
) -> set[Case]:
    """Return the cases of a source with these digests."""
    names = sorted(set(videos.cases))
    is_meant = np.isin(identity_digests("case", names, key), digests)
    return {(source, name) for name, meant in zip(names, is_meant.tolist(), strict=True) if meant}


def _pairs(drawn: DrawnSource) -> UInt64[np.ndarray, " n"]:
    """Return one number per pair of video and case."""
    return np.asarray((drawn.videos << np.uint64(16)) ^ drawn.cases)


def _joined(arrays: Sequence[UInt64[np.ndarray, " _"]]) -> UInt64[np.ndarray, " n"]:
    return np.concatenate([np.zeros(0, dtype=np.uint64), *arrays])
