"""The plan of the corpus: its sources, their cases, and the videos of each case. Pure functions."""

import math
import zlib
from dataclasses import dataclass

import numpy as np

from surgrec_shard.phantom.domains import DOMAINS, Domain
from surgrec_shard.phantom.phases import Script, write_script

SHORTEST_VIDEO_S = 8.0


@dataclass(frozen=True, kw_only=True)
class PhantomSource:
    """One source: a domain, a frame size, a frame rate and a container."""

    name: str
    domain: Domain
    parts: int
    """Its minutes, in proportion to those of the other sources."""
    height: int
    width: int
    fps: int
    container: str
    case_s: float
    """Mean length of a case, if the corpus is long enough for it."""


SOURCES = (
    PhantomSource(
        name="phantom-lap",
        domain=DOMAINS["laparoscopy"],
        parts=10,
        height=288,
        width=512,
        fps=25,
        container="mp4",
        case_s=16.0,
    ),
    PhantomSource(
        name="phantom-endo",
        domain=DOMAINS["endoscopy"],
        parts=5,
        height=320,
        width=400,
        fps=30,
        container="mkv",
        case_s=14.0,
    ),
    PhantomSource(
        name="phantom-cat",
        domain=DOMAINS["cataract"],
        parts=2,
        height=360,
        width=480,
        fps=24,
        container="avi",
        case_s=12.0,
    ),
    PhantomSource(
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
"""Minutes are 10 : 5 : 2 : 1. Frame size, frame rate and container differ between all sources."""

CASE_SPLITS = ("train", "test", "train", "val")
"""Splits of a source's cases in turn: the first is for training, every second one is held out."""


@dataclass(frozen=True, kw_only=True)
class PhantomVideo:
    """One video of the corpus, before it is rendered."""

    source: PhantomSource
    case: int
    part: int
    """1 for the first video of a case; a case has one or two."""
    num_parts: int
    split: str
    script: Script

    @property
    def stem(self) -> str:
        """File name without its suffix."""
        part = f"-part{self.part}" if self.num_parts > 1 else ""
        return f"phantom-{self.source.domain.name}-case{self.case:02d}{part}"

    @property
    def num_pixels(self) -> int:
        """Pixels of all frames."""
        return self.script.num_frames * self.source.height * self.source.width

    @property
    def file(self) -> str:
        """The video file, relative to the corpus folder."""
        return f"{self.source.name}/{self.stem}.{self.source.container}"

    @property
    def labels_file(self) -> str:
        """The label file, relative to the corpus folder."""
        return f"{self.source.name}/{self.stem}.labels.csv"


def plan_videos(seed: int, minutes: float) -> list[PhantomVideo]:
    """Return every video of a corpus.

    Args:
        seed: Seed of the corpus.
        minutes: Minutes of video over all sources. A very short corpus is a little longer.
    """
    all_parts = sum(source.parts for source in SOURCES)
    return [
        video
        for source in SOURCES
        for video in _videos_of_source(
            source, seed, minutes * 60 * source.parts / all_parts, longest_s=minutes * 60 / 7
        )
    ]


def generator(seed: int, source: PhantomSource, case: int, part: int) -> np.random.Generator:
    """Return the random numbers of one video, or with part 0 of its case.

    They do not depend on the other videos.
    """
    return np.random.Generator(
        np.random.PCG64([seed, zlib.crc32(source.name.encode()), case, part])
    )


def _videos_of_source(
    source: PhantomSource, seed: int, total_s: float, longest_s: float
) -> list[PhantomVideo]:
    """Return the videos of a source.

    No case is longer than `longest_s`, so that a small corpus has several cases, too.
    """
    case_s = max(min(source.case_s, longest_s), SHORTEST_VIDEO_S)
    num_cases = max(round(total_s / case_s), 1)
    lengths = generator(seed, source, 0, 0).uniform(0.8, 1.2, size=num_cases)
    lengths *= total_s / lengths.sum()
    return [
        video
        for case, length in enumerate(lengths, start=1)
        for video in _videos_of_case(source, seed, case, max(float(length), SHORTEST_VIDEO_S))
    ]


def _videos_of_case(
    source: PhantomSource, seed: int, case: int, length_s: float
) -> list[PhantomVideo]:
    """Return one video, or two for every fifth case that is long enough."""
    num_parts = 2 if case % 5 == 3 and length_s >= 2 * SHORTEST_VIDEO_S else 1
    num_frames = math.ceil(length_s * source.fps / num_parts)

    return [
        PhantomVideo(
            source=source,
            case=case,
            part=part,
            num_parts=num_parts,
            split=CASE_SPLITS[(case - 1) % len(CASE_SPLITS)],
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
