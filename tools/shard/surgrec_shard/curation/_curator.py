"""The curator: frames of one video in, those to store out, and why the others are dropped.

Time is divided into blocks of about a second, which begin at multiples of their length: a span of
a video that begins there is judged like the whole video. Two frames of a block are measured: its
first, and that in its middle. Blocks with the same finding form a stretch, which is dropped if it
is long enough.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from surgrec.recordings import BadVideoError
from surgrec.text import counted
from surgrec_shard.clip_writer import EncodedClip, FrameFormat
from surgrec_shard.curation._frame_queue import FrameQueue
from surgrec_shard.curation._listed import ListedFilter
from surgrec_shard.curation._measures import (
    Change,
    FrameMeasures,
    Plane,
    change,
    measure,
    planes_of,
)
from surgrec_shard.curation._scorer import Scorer
from surgrec_shard.curation._settings import Curation
from surgrec_shard.sampling import Frames

if TYPE_CHECKING:
    from surgrec_shard.curation._shots import ShotCutter

CURATED = "curated:"
"""Begins the reason of a whole video of which curation leaves nothing."""
_ONE_COLOR = 0.04
"""Range of brightness and of color that a constant picture has at most."""


@dataclass(frozen=True, kw_only=True)
class CuratedStretch:
    """A stretch of a video that curation does not store, seconds."""

    start_s: float
    end_s: float
    reason: str
    """`black`, `white`, `constant`, `frozen`, `blurred`, or `model` or `listed`, with or without
    `:` and a word."""


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """One measured frame."""

    frame: int
    measures: FrameMeasures
    change: Change | None
    """Since the frame that was measured before it, if both are of one block."""


@dataclass(kw_only=True)
class _Block:
    """The frames of the current block."""

    number: int = -1
    parts: int = 0
    measured: list[_Measured] = field(default_factory=list)


@dataclass(kw_only=True)
class _Run:
    """Consecutive blocks with the same finding."""

    finding: str = ""
    """The reason to drop them; empty: none."""
    parts: int = 0
    """How many of the waiting pictures belong to it."""
    first: int = 0
    end: int = 0
    """Its first frame, and the one behind its last."""

    @property
    def num_frames(self) -> int:
        return self.end - self.first

    def add(self, parts: int, span: tuple[int, int]) -> None:
        """Add a block."""
        self.first, self.end = (self.first if self.end else span[0]), span[1]
        self.parts += parts


class Curator:
    """Judges the frames of one video. Use it in a `with` block.

    Args:
        curation: The stretches and measures by which frames are dropped.
        frames: The format of the frames.
        folder: Folder for frames that wait for a decision.
    """

    def __init__(self, curation: Curation, frames: FrameFormat, folder: Path) -> None:
        self._settings, self._frames = curation.settings, frames
        self._listed = ListedFilter(curation.listed, frames.rate)
        self._block_frames = max(2, round(frames.rate))
        self._measured: list[_Measured] = []
        self._last: Plane | None = None

        self._scorer = Scorer(curation.model, frames)
        self._unjudged: deque[_Block] = deque()

        self._held = FrameQueue(folder, frames.width * frames.height * 3 // 2)
        self._block = _Block()
        self._run = _Run()
        self._is_cut = False
        self.dropped: list[CuratedStretch] = []
        """Dropped stretches, complete after the last frame."""
        self._shots = _shot_cutter(frames) if self._settings.shots else None

    def __enter__(self) -> "Curator":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def kept(self, frames: Iterable[Frames]) -> Iterator[Frames]:
        """Yield the frames to store. An encoder must start anew at cuts and behind dropped ones.

        Raises:
            BadVideoError: The model gives no score.
            OSError: The disk is full.
        """
        stored = self._not_dropped(frames)
        return stored if self._shots is None else self._shots.kept(stored)

    def _not_dropped(self, frames: Iterable[Frames]) -> Iterator[Frames]:
        frames = self._listed.kept(frames)
        for part in (part for held in frames for part in self._parts(held)):
            measured = list(self._measure(part))
            self._measured += measured
            if not self._settings.drops:
                yield part
                continue

            number = part.first // self._block_frames
            if part.starts or number != self._block.number:
                yield from self._end_block(is_last=part.starts)
                if part.starts:
                    yield from self._end_run()
                self._block = _Block(number=number)
            self._held.append(part)
            self._block.parts += 1
            self._block.measured += measured
        yield from self._end_block(is_last=True)
        yield from self._end_run()
        for first, end, reason in self._listed.dropped():
            self._record(first, end, reason)

    def measured(self, clip: EncodedClip) -> EncodedClip:
        """Return a clip of the kept frames with the means of its measures, to 4 digits."""
        first = round(clip.start_s * self._frames.rate)
        low, high = (
            bisect_left(self._measured, frame, key=lambda each: each.frame)
            for frame in (first, first + clip.num_frames)
        )
        inside = self._measured[low:high]

        return replace(
            clip,
            blur=_mean([each.measures.blur for each in inside]),
            brightness=_mean([each.measures.brightness for each in inside]),
            motion=_mean([each.change.motion for each in inside if each.change is not None]),
            model_score=self._scorer.mean(first, first + clip.num_frames),
        )

    @property
    def end_s(self) -> float:
        """The end of the last dropped stretch, seconds."""
        return max((stretch.end_s for stretch in self.dropped), default=0.0)

    @property
    def cuts_s(self) -> Sequence[float] | None:
        """The shot cuts, seconds, complete after the last frame; None: none are looked for."""
        return self._shots.cuts_s if self._shots is not None else None

    def refusal(self, min_clip_s: float) -> BadVideoError:
        """Return the error of a video without clips, which is dropped or cut to pieces."""
        seconds: dict[str, float] = defaultdict(float)
        for stretch in self.dropped:
            seconds[stretch.reason] += stretch.end_s - stretch.start_s
        most = sorted(seconds.items(), key=lambda item: -item[1])
        found = [f"{length:.1f} s {reason}" for reason, length in most]
        if self.cuts_s:
            found.append(f"every piece between {counted(len(self.cuts_s), 'shot cut')}")
        return BadVideoError(
            f"{CURATED}{most[0][0] if most else 'shots'}",
            f"curation drops {', '.join(found)}, which leaves no {min_clip_s:g} s in a row; look "
            "at the video, and change the options --curate or its list of stretches if it is good",
        )

    def _parts(self, frames: Frames) -> Iterator[Frames]:
        """Divide the frames of one picture where a block ends."""
        first, end = frames.first, frames.first + frames.count
        while first < end:
            until = min(end, (first // self._block_frames + 1) * self._block_frames)
            starts = frames.starts and first == frames.first
            yield replace(frames, first=first, count=until - first, starts=starts)
            first = until

    def _measure(self, part: Frames) -> Iterator[_Measured]:
        """Measure the first and the middle frame of a block, and the first of a stretch."""
        start = part.first - part.first % self._block_frames
        marks = [start, start + self._block_frames // 2]
        marks = [mark for mark in marks if part.first <= mark < part.first + part.count]
        if part.starts:
            self._last = None
            marks = marks or [part.first]

        for mark in marks:
            planes = planes_of(part.data, self._frames.width, self._frames.height)
            if mark == start:
                self._last = None
            since = change(self._last, planes[0]) if self._last is not None else None
            self._last = planes[0]
            if mark == marks[0] and (mark == start or part.starts):
                self._scorer.add(mark, start // self._block_frames, planes)
            yield _Measured(frame=mark, measures=measure(*planes), change=since)

    def _end_block(self, *, is_last: bool) -> Iterator[Frames]:
        """Judge the block that ends, and those before it, unless they wait for their scores.

        Args:
            is_last: No block of the same stretch follows.
        """
        block, self._block = self._block, _Block()
        if block.parts:
            self._unjudged.append(block)
        if is_last:
            self._scorer.finish()
        while self._unjudged and self._is_scored(self._unjudged[0]):
            yield from self._join(self._unjudged.popleft())

    def _is_scored(self, block: _Block) -> bool:
        is_known = not block.measured or block.measured[0].frame in self._scorer.scores
        return is_known or not self._settings.drops_by_model

    def _join(self, block: _Block) -> Iterator[Frames]:
        """Join a block to the run before it, if both have one finding."""
        finding = self._judge(block.measured)
        if finding != self._run.finding:
            yield from self._end_run()
            self._run = _Run(finding=finding)
        self._run.add(block.parts, self._held.span(block.parts, behind=self._run.parts))

        # Frames that are dropped for certain wait no longer.
        if finding and self._run.num_frames >= self._fewest_frames:
            self._held.drop(self._run.parts)
            self._run.parts = 0
        elif not finding:
            yield from self._end_run()

    def _end_run(self) -> Iterator[Frames]:
        """Record the run as dropped, or yield its frames."""
        run, self._run = self._run, _Run()
        if run.finding and run.num_frames >= self._fewest_frames:
            self._record(run.first, run.end, run.finding)
            self._is_cut = True
        for part in self._held.take(run.parts):
            yield replace(part, starts=part.starts or self._is_cut)
            self._is_cut = False

    @property
    def _fewest_frames(self) -> float:
        return self._settings.min_drop_s * float(self._frames.rate) - 0.5

    def _record(self, first: int, end: int, reason: str) -> None:
        start_s, end_s = (round(float(frame / self._frames.rate), 6) for frame in (first, end))
        self.dropped.append(CuratedStretch(start_s=start_s, end_s=end_s, reason=reason))

    def _judge(self, measured: Sequence[_Measured]) -> str:
        """Return the reason to drop a block, or an empty text."""
        settings = self._settings
        frames = [each.measures for each in measured]
        changes = [each.change.clipped for each in measured if each.change is not None]
        findings = {
            "black": settings.black and all(f.brightest <= settings.black_level for f in frames),
            "white": settings.white and all(f.darkest >= settings.white_level for f in frames),
            "constant": settings.constant
            and all(max(f.brightest - f.darkest, f.color_range) <= _ONE_COLOR for f in frames),
            # The last frames of a stretch may be too few to see a change.
            "frozen": settings.frozen
            and all(change <= settings.frozen_change for change in changes)
            and (bool(changes) or self._run.finding == "frozen"),
            "blurred": settings.blurred and all(f.blur >= settings.blur_limit for f in frames),
            self._model_reason: settings.drops_by_model and self._is_found(measured),
        }
        found = (reason for reason, is_found in findings.items() if is_found)
        return next(found, "") if frames else self._run.finding

    def _is_found(self, measured: Sequence[_Measured]) -> bool:
        """Return whether the score of a block is on the side that is dropped."""
        settings = self._settings
        scores = [self._scorer.scores[each.frame] for each in measured[:1]]
        if settings.model_drop == "above":
            return all(score >= settings.model_threshold for score in scores)
        return all(score <= settings.model_threshold for score in scores)

    @property
    def _model_reason(self) -> str:
        name = self._settings.model_name
        return f"model:{name}" if name else "model"


def _shot_cutter(frames: FrameFormat) -> "ShotCutter":
    from surgrec_shard.curation._shots import ShotCutter  # PySceneDetect is an optional extra

    return ShotCutter(frames)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0
