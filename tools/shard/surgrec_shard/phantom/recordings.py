"""What the corpus consists of: sources of unlike size, their cases, and the recordings of each case. Pure."""

import math
import zlib
from dataclasses import dataclass

import numpy as np

from surgrec_shard.phantom.domains import DOMAINS, Domain
from surgrec_shard.phantom.phases import Script, write_script

SHORTEST_RECORDING_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """One hospital's recorder: a domain, a picture size, a rate, a container."""

    name: str
    domain: Domain
    parts: int
    """Its share of the corpus's minutes."""
    height: int
    width: int
    fps: int
    container: str
    case_s: float
    """The length of a case, on average, in a corpus that has room for it."""


SOURCES = (
    Source(
        name="phantom-lap",
        domain=DOMAINS["laparoscopy"],
        parts=10,
        height=288,
        width=512,
        fps=25,
        container="mp4",
        case_s=16.0,
    ),
    Source(
        name="phantom-endo",
        domain=DOMAINS["endoscopy"],
        parts=5,
        height=320,
        width=400,
        fps=30,
        container="mkv",
        case_s=14.0,
    ),
    Source(
        name="phantom-cat",
        domain=DOMAINS["cataract"],
        parts=2,
        height=360,
        width=480,
        fps=24,
        container="avi",
        case_s=12.0,
    ),
    Source(
        name="phantom-rob",
        domain=DOMAINS["robotic"],
        parts=1,
        height=480,
        width=848,
        fps=15,
        container="mov",
        case_s=10.0,
    ),
)
"""10 : 5 : 2 : 1 in minutes, and no two alike in size, rate or container."""

SPLITS = ("train", "test", "train", "val")
"""Of a source's cases in turn: the first is always there to train on, and every second one is held out."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One video file of the corpus, before it is rendered."""

    source: Source
    case: int
    part: int
    """A case may be recorded in two files; 1 is the first."""
    num_parts: int
    split: str
    script: Script

    @property
    def stem(self) -> str:
        """The file's name without its suffix, which says what it is."""
        part = f"-part{self.part}" if self.num_parts > 1 else ""
        return f"phantom-{self.source.domain.name}-case{self.case:02d}{part}"

    @property
    def num_pixels(self) -> int:
        """What there is to render, over all frames."""
        return self.script.num_frames * self.source.height * self.source.width

    @property
    def video(self) -> str:
        """The video file, relative to the corpus folder."""
        return f"{self.source.name}/{self.stem}.{self.source.container}"

    @property
    def labels(self) -> str:
        """The label file, relative to the corpus folder."""
        return f"{self.source.name}/{self.stem}.labels.csv"


def plan_recordings(seed: int, minutes: float) -> list[Recording]:
    """Every recording of the corpus of a seed, `minutes` long in all, or a little longer where that is very short."""
    whole = sum(source.parts for source in SOURCES)
    return [
        recording
        for source in SOURCES
        for recording in _recordings(
            source, seed, minutes * 60 * source.parts / whole, longest_s=minutes * 60 / 7
        )
    ]


def generator(seed: int, source: Source, case: int, part: int) -> np.random.Generator:
    """The random numbers of one recording (or with part 0, of all its case), whatever else is rendered."""
    return np.random.Generator(
        np.random.PCG64([seed, zlib.crc32(source.name.encode()), case, part])
    )


def _recordings(source: Source, seed: int, total_s: float, longest_s: float) -> list[Recording]:
    """The recordings of a source; no case is longer than `longest_s`, so that a small corpus has several, too."""
    case_s = max(min(source.case_s, longest_s), SHORTEST_RECORDING_S)
    num_cases = max(round(total_s / case_s), 1)
    lengths = generator(seed, source, 0, 0).uniform(0.8, 1.2, size=num_cases)
    lengths *= total_s / lengths.sum()
    return [
        recording
        for case, length in enumerate(lengths, start=1)
        for recording in _of_case(source, seed, case, max(float(length), SHORTEST_RECORDING_S))
    ]


def _of_case(source: Source, seed: int, case: int, length_s: float) -> list[Recording]:
    """One recording, or two for every fifth case that is long enough to be cut."""
    num_parts = 2 if case % 5 == 3 and length_s >= 2 * SHORTEST_RECORDING_S else 1
    num_frames = math.ceil(length_s * source.fps / num_parts)
    return [
        Recording(
            source=source,
            case=case,
            part=part,
            num_parts=num_parts,
            split=SPLITS[(case - 1) % len(SPLITS)],
            script=write_script(
                generator(seed, source, case, part),
                source.domain,
                num_frames=num_frames,
                fps=source.fps,
                leaves_body=(case + part) % 3 != 0,
            ),
        )
        for part in range(1, num_parts + 1)
    ]
