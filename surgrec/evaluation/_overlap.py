"""Find the cases of a corpus that weights were trained on, by digests of videos and cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from surgrec.runs.drawn import DrawnSource, PretrainingData, drawn_videos, identity_digests
from surgrec.shards import Source


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Cases that weights were trained on, and sources in which there may be more of them."""

    cases: set[tuple[str, str]]
    """Source and case."""
    uncertain: set[str]
    """Sources whose cases have other names than in the record, although drawn cases of the record
    cannot be found by their videos: an unseen case may be one of them."""


def find_overlap(pretraining: PretrainingData, sources: Mapping[str, Source]) -> Overlap:
    """Compare the drawn videos and cases with all videos of the opened corpora.

    A case was drawn if one of its videos was, or if the record has its name for the same source. A
    source with another name is the same one if most of their common videos have the same case.
    """
    opened = {name: _all_videos(source) for name, source in sources.items()}
    everywhere = np.unique(_joined([videos.videos for videos in opened.values()]))
    records = _Records(pretraining)

    cases, uncertain = set[tuple[str, str]](), set[str]()
    for name, videos in opened.items():
        drawn = np.zeros(len(videos.cases), dtype=bool)
        for recorded_name, recorded in records.related(name, videos):
            common = np.isin(videos.videos, recorded.videos)
            same_case = common & np.isin(_pairs(videos), _pairs(recorded))
            has_same_names = 2 * same_case.sum() > common.sum()

            drawn |= common
            if recorded_name == name or has_same_names:
                drawn |= np.isin(videos.cases, recorded.cases)

            # The names of the cases changed: a case is found by its videos alone.
            if common.any() and not has_same_names:
                found = recorded.cases[np.isin(recorded.videos, everywhere)]
                if not np.isin(recorded.cases, found).all():
                    uncertain.add(name)

        drawn_cases = set(videos.cases[drawn].tolist())
        cases |= {(name, case) for case, digest in _cases(sources[name]) if digest in drawn_cases}
    return Overlap(cases=cases, uncertain=uncertain)


class _Records:
    """The recorded sources, which are found by name and by video."""

    def __init__(self, pretraining: PretrainingData) -> None:
        self._sources = pretraining.sources
        videos = [drawn.videos for _, drawn in self._sources]
        owners = np.repeat(np.arange(len(videos)), [len(each) for each in videos])
        order = np.argsort(_joined(videos), kind="stable")
        self._videos, self._owners = _joined(videos)[order], owners[order]
        self._by_name: dict[str, set[int]] = {}
        for number, (name, _) in enumerate(self._sources):
            self._by_name.setdefault(name, set()).add(number)

    def related(self, name: str, videos: DrawnSource) -> list[tuple[str, DrawnSource]]:
        """Return the recorded sources of this name, and those that share a video."""
        first = np.searchsorted(self._videos, videos.videos, side="left")
        end = np.searchsorted(self._videos, videos.videos, side="right")
        related = set(self._by_name.get(name, ()))
        for start, stop in zip(first[end > first].tolist(), end[end > first].tolist(), strict=True):
            related |= set(self._owners[start:stop].tolist())
        return [self._sources[number] for number in sorted(related)]


def _all_videos(source: Source) -> DrawnSource:
    return drawn_videos(source, np.arange(source.index.num_rows, dtype=np.int64))


def _cases(source: Source) -> list[tuple[str, int]]:
    """Return the cases of a source with their digests."""
    names = source.index.column("case").unique().to_pylist()
    return list(zip(names, identity_digests("case", names).tolist(), strict=True))


def _pairs(drawn: DrawnSource) -> UInt64[np.ndarray, " n"]:
    """Return one number per pair of video and case."""
    return np.asarray((drawn.videos << np.uint64(16)) ^ drawn.cases)


def _joined(arrays: Sequence[UInt64[np.ndarray, " _"]]) -> UInt64[np.ndarray, " n"]:
    return np.concatenate([np.zeros(0, dtype=np.uint64), *arrays])
