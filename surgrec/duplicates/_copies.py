"""Copies: stretches of two videos whose seconds match one after the other, at some speed."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.duplicates._hash import WINDOWS, Hashes, VideoHashes, distances, mirrored
from surgrec.duplicates._seeds import TABLES, Rows, find_seeds
from surgrec.ranges import Range, check_ranges

_SEED_BITS = 56
"""Most different bits of the pairs from which copies are searched."""
_MATCH_BITS = 66
"""Most different bits of seconds that match."""
_MEAN_BITS = 52.0
"""Most different bits of the seconds of a copy, on average."""
_EVIDENCE_BITS = 60.0
"""A second of a copy is evidence by as many bits as it differs in fewer than these, on average."""
_LEAST_EVIDENCE = 64.0
"""Least evidence of a copy, bits: a short one must match better than a long one."""
_NEW_BITS = 10
"""Least different bits of a second that adds evidence: a still picture proves nothing."""
_CHANCE_BITS = 127.5
_SPEEDS = np.geomspace(0.5, 2.0, 29)
_BIN_S, _NEAR_S = 1.5, 2.0
_SHIFTS_S = np.arange(-2, 2.01, 0.25)
"""Shifts of a copy that are compared to find its exact times."""
_CLEARLY_BETTER_S = 0.1
"""A speed other than 1 must outweigh the loss of so long a shift, and chance."""
_FEWEST_SEEDS = 3
_MOST_LINES = 32
"""Copies of different offset or speed that are searched in a pair of videos."""

Progress = Callable[[int, int], None]
Seconds = Int64[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class CopyRules:
    """When two stretches count as copies."""

    min_s: Annotated[int, Range(3, 3600)] = 6
    """Fewest matching seconds. Seconds without a change of the picture count once."""
    max_gap_s: Annotated[int, Range(0, 600)] = 3
    """Most seconds in a row that do not match, within a stretch."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A stretch of one video that shows the same as a stretch of another one."""

    video: int
    """Position of the video among the searched ones."""
    start_s: float
    end_s: float
    other: int
    """Position of the other video."""
    other_start_s: float
    other_end_s: float
    speed: float
    """Seconds of the other video per second of this one, 0.5 to 2."""
    is_mirrored: bool
    """Whether left and right are exchanged."""
    seconds: int
    """Matching seconds, without those that show no change."""
    similarity: float
    """1 if all bits of all matching seconds are equal, 0 for unrelated pictures."""

    def reversed(self) -> "Copy":
        """Return the same copy with the two videos exchanged."""
        return replace(
            self,
            video=self.other,
            start_s=self.other_start_s,
            end_s=self.other_end_s,
            other=self.video,
            other_start_s=self.start_s,
            other_end_s=self.end_s,
            speed=1 / self.speed,
        )


def find_copies(
    videos: Sequence[VideoHashes],
    others: Sequence[VideoHashes] | None = None,
    *,
    rules: CopyRules = CopyRules(),
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[Copy]:
    """Return the copies among videos, or between videos and others, sorted by video and time.

    Found are also copies that are cut out, encoded again, scaled, framed, cropped by a tenth,
    mirrored, and played at half to double speed.

    Args:
        videos: The hashes of the videos.
        others: The hashes of the videos to compare with; None: the same ones.
        rules: When two stretches count as copies.
        workers: Threads.
        progress: Called with the number of finished and of all steps.
    """
    total, done = _number_of_searches(videos, others) * (TABLES + 1), 0
    copies: list[Copy] = []
    with ThreadPoolExecutor(workers) as pool:
        for search in _searches(videos, others):
            seeds = []
            for found in pool.map(partial(_seeds_of, search), range(TABLES)):
                seeds.append(found)
                done += 1
                progress(done, total)
            groups = list(_by_pair(search, seeds))
            for found_copies in pool.map(partial(_copies_of_pair, search, rules), groups):
                copies += found_copies
            done += 1
            progress(done, total)

    # A pair may have been found from either side, and in several windows.
    if others is None:
        copies = [copy if copy.video < copy.other else copy.reversed() for copy in copies]
    return sorted(_distinct(copies), key=lambda copy: (copy.video, copy.other, copy.start_s))


class _Bank(NamedTuple):
    """The hashes of one window of many videos."""

    hashes: Hashes
    owners: Rows
    seconds: Seconds
    starts: Rows
    """First row of each video, and the number of rows."""

    def of_video(self, video: int) -> tuple[Seconds, Hashes]:
        rows = slice(int(self.starts[video]), int(self.starts[video + 1]))
        return self.seconds[rows], self.hashes[rows]


class _Search(NamedTuple):
    """Queries to find among references."""

    queries: _Bank
    references: _Bank
    is_same: bool
    is_mirrored: bool
    is_reversed: bool
    """Whether the references are the videos, and the queries the others."""


class _Pair(NamedTuple):
    """The seeds of a pair of videos."""

    query: int
    reference: int
    seconds: Float64[np.ndarray, " n"]
    reference_seconds: Float64[np.ndarray, " n"]


class _Line(NamedTuple):
    """A linear relation of the seconds of two videos."""

    speed: float
    offset_s: float

    def at(self, seconds: np.ndarray) -> Float64[np.ndarray, " _"]:
        return self.speed * seconds + self.offset_s


def _searches(
    videos: Sequence[VideoHashes], others: Sequence[VideoHashes] | None
) -> Iterator[_Search]:
    """Yield the searches: every window of either side among the whole pictures of the other."""
    whole = _bank(videos, 0)
    other_whole = whole if others is None else _bank(others, 0)
    for window in _windows(videos, others):
        sides = [(videos, other_whole, False)]
        if others is not None and window:
            sides.append((others, whole, True))
        for queried, references, is_reversed in sides:
            bank = _bank(queried, window) if window else whole
            yield _Search(bank, references, others is None, False, is_reversed)
            bank = bank._replace(hashes=mirrored(bank.hashes))
            yield _Search(bank, references, others is None, True, is_reversed)


def _number_of_searches(videos: Sequence[VideoHashes], others: Sequence[VideoHashes] | None) -> int:
    windows = len(_windows(videos, others))
    return 2 * windows if others is None else 2 + 4 * max(0, windows - 1)


def _windows(videos: Sequence[VideoHashes], others: Sequence[VideoHashes] | None) -> range:
    """Return the numbers of the windows that all videos have."""
    every = [*videos, *(others or ())]
    return range(min([len(WINDOWS), *(each.hashes.shape[1] for each in every)]))


def _bank(videos: Sequence[VideoHashes], window: int) -> _Bank:
    counts = [len(each.seconds) for each in videos]
    hashes = [each.hashes[:, window] for each in videos]
    return _Bank(
        hashes=np.concatenate([np.zeros((0, 4), dtype=np.uint64), *hashes]),
        owners=np.repeat(np.arange(len(videos), dtype=np.int64), counts),
        seconds=np.concatenate([np.zeros(0, dtype=np.int64), *(each.seconds for each in videos)]),
        starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
    )


def _seeds_of(search: _Search, table: int) -> tuple[Rows, Rows]:
    queries, references = search.queries, search.references
    return find_seeds(
        queries.hashes,
        references.hashes,
        table,
        most_bits=_SEED_BITS,
        owners=(queries.owners, references.owners) if search.is_same else None,
    )


def _by_pair(search: _Search, seeds: Sequence[tuple[Rows, Rows]]) -> Iterator[_Pair]:
    """Yield the pairs of videos that have enough seeds."""
    queries, references = search.queries, search.references
    joined = np.unique(
        np.concatenate([rows * len(references.hashes) + found for rows, found in seeds])
    )

    rows, found = np.divmod(joined, max(1, len(references.hashes)))

    # Sort the seeds by pair of videos.
    pairs = queries.owners[rows] * len(references.starts) + references.owners[found]
    order = np.argsort(pairs, kind="stable")
    numbers, starts, counts = np.unique(pairs[order], return_index=True, return_counts=True)

    for number, start, count in zip(numbers, starts, counts, strict=True):
        if count >= _FEWEST_SEEDS:
            here = order[start : start + count]
            query, reference = divmod(int(number), len(references.starts))
            yield _Pair(
                query=query,
                reference=reference,
                seconds=queries.seconds[rows[here]].astype(np.float64),
                reference_seconds=references.seconds[found[here]].astype(np.float64),
            )


def _copies_of_pair(search: _Search, rules: CopyRules, pair: _Pair) -> list[Copy]:
    """Return the copies of a pair of videos: the line with most seeds, then the next one, ..."""
    query = search.queries.of_video(pair.query)
    reference = search.references.of_video(pair.reference)
    seconds, reference_seconds = pair.seconds, pair.reference_seconds
    copies = []

    for _ in range(_MOST_LINES):
        line, votes = _most_voted(seconds, reference_seconds)
        if votes < _FEWEST_SEEDS:
            break

        line = _fitted(line, seconds, reference_seconds)
        line = _best_nearby(line, query, reference, seconds, reference_seconds)

        for copy in _runs(line, query, reference, rules):
            copy = replace(
                copy, video=pair.query, other=pair.reference, is_mirrored=search.is_mirrored
            )
            copies.append(copy.reversed() if search.is_reversed else copy)

        # The seeds that this line does not explain vote for the next one.
        is_far = np.abs(line.at(seconds) - reference_seconds) > _NEAR_S
        if is_far.all():
            break
        seconds, reference_seconds = seconds[is_far], reference_seconds[is_far]
    return copies


def _most_voted(
    seconds: Float64[np.ndarray, " n"], reference_seconds: Float64[np.ndarray, " n"]
) -> tuple[_Line, int]:
    """Return the line with most seeds near it, and their number."""
    best, most = _Line(1.0, 0.0), 0
    for speed in _SPEEDS.tolist() if len(seconds) else []:
        offsets = reference_seconds - speed * seconds
        first = float(offsets.min())
        counts = np.bincount(((offsets - first) / _BIN_S).astype(np.int64))
        pairs = counts + np.append(counts[1:], 0)
        top = int(pairs.argmax())
        if pairs[top] > most:
            best, most = _Line(speed, first + (top + 1) * _BIN_S), int(pairs[top])
    return best, most


def _fitted(
    line: _Line,
    seconds: Float64[np.ndarray, " n"],
    reference_seconds: Float64[np.ndarray, " n"],
) -> _Line:
    """Fit the line to the seeds near it. A better speed reaches more of a long copy."""
    for _ in range(5):
        is_near = np.abs(line.at(seconds) - reference_seconds) <= _NEAR_S
        near, reference_near = seconds[is_near], reference_seconds[is_near]
        if len(near) < _FEWEST_SEEDS or np.ptp(near) < 3:
            break
        speed, offset_s = np.polyfit(near, reference_near, 1).tolist()
        if not _SPEEDS[0] * 0.95 <= speed <= _SPEEDS[-1] * 1.05:
            break
        line = _Line(speed, offset_s)
    return line


def _best_nearby(
    line: _Line,
    query: tuple[Seconds, Hashes],
    reference: tuple[Seconds, Hashes],
    seconds: Float64[np.ndarray, " n"],
    reference_seconds: Float64[np.ndarray, " n"],
) -> _Line:
    """Return the best of lines with slightly other speeds and offsets: few seeds are inexact."""
    is_near = np.abs(line.at(seconds) - reference_seconds) <= _NEAR_S
    if not is_near.any():
        return line

    pivot = float(np.median(seconds[is_near]))
    length_s = max(float(np.ptp(seconds[is_near])), 4.0)

    # Lines through the middle of the seeds, turned and shifted a little.
    lines = [line]
    for turn in (-2.0, -1.0, 0.0, 1.0, 2.0):
        speed = float(np.clip(line.speed + turn / length_s, _SPEEDS[0], _SPEEDS[-1]))
        lines += [
            _Line(speed, float(line.speed * pivot + line.offset_s + shift - speed * pivot))
            for shift in (-1.0, -0.5, 0.0, 0.5, 1.0)
        ]

    return max(lines, key=lambda each: _score(each, query, reference))


def _score(line: _Line, query: tuple[Seconds, Hashes], reference: tuple[Seconds, Hashes]) -> int:
    bits, _ = _bits_along(line, query, reference)
    return int(np.maximum(_MATCH_BITS - bits, 0).sum())


def _bits_along(
    line: _Line, query: tuple[Seconds, Hashes], reference: tuple[Seconds, Hashes]
) -> tuple[Int64[np.ndarray, " n"], Rows]:
    """Return the different bits of each second and the better one before or behind on the line.

    The second array has the rows of the reference. A second without a row has 256 different bits.
    """
    seconds, hashes = query
    reference_seconds, reference_hashes = reference
    places = line.at(seconds)
    bits, rows = np.full(len(seconds), 256, dtype=np.int64), np.zeros(len(seconds), dtype=np.int64)
    for wanted in (np.floor(places), np.ceil(places)):
        row = np.minimum(np.searchsorted(reference_seconds, wanted), len(reference_seconds) - 1)
        exists = np.flatnonzero(reference_seconds[row] == wanted)
        found = distances(hashes[exists], reference_hashes[row[exists]])
        better = found < bits[exists]
        bits[exists[better]], rows[exists[better]] = found[better], row[exists[better]]
    return bits, rows


def _runs(
    line: _Line,
    query: tuple[Seconds, Hashes],
    reference: tuple[Seconds, Hashes],
    rules: CopyRules,
) -> Iterator[Copy]:
    """Yield the stretches along a line with enough matching seconds. Videos are not yet named."""
    seconds, hashes = query
    bits, rows = _bits_along(line, query, reference)

    # Runs of matching seconds without a long gap.
    matching = np.flatnonzero(bits <= _MATCH_BITS)
    ends = np.flatnonzero(np.diff(seconds[matching]) > rules.max_gap_s + 1) + 1
    for run in np.split(matching, ends):
        if len(run) < rules.min_s:
            continue

        shown = np.unique(rows[run])
        changes = min(_changes(hashes[run]), _changes(reference[1][shown]))
        mean_bits = float(bits[run].mean())
        evidence = (_EVIDENCE_BITS - mean_bits) * changes
        if changes < rules.min_s or mean_bits > _MEAN_BITS or evidence < _LEAST_EVIDENCE:
            continue

        # At a cut, a mean covers less time, so the ends tell no times. A stretch ends with a video.
        inner = run[1:-1] if len(run) > _FEWEST_SEEDS + 2 else run
        exact = _exact(line, (seconds[inner], hashes[inner]), reference)
        other_ends = np.array([reference[0][0], reference[0][-1] + 1])
        first_s, last_s = ((other_ends - exact.offset_s) / exact.speed).tolist()
        span = np.array(
            [max(float(seconds[run[0]]), first_s), min(float(seconds[run[-1]]) + 1, last_s)]
        ).round(1)
        other_span = exact.at(span)
        yield Copy(
            video=-1,
            start_s=float(span[0]),
            end_s=float(span[1]),
            other=-1,
            other_start_s=round(max(0.0, float(other_span[0])), 1),
            other_end_s=round(float(other_span[1]), 1),
            speed=exact.speed,
            is_mirrored=False,
            seconds=changes,
            similarity=1 - mean_bits / _CHANCE_BITS,
        )


def _exact(line: _Line, query: tuple[Seconds, Hashes], reference: tuple[Seconds, Hashes]) -> _Line:
    """Return the speed and offset at which the seconds of a copy differ least from the other video.

    The speed is 1 unless another one is clearly better: a short copy says little about it.
    """
    seconds = query[0]
    pivot, length_s = float(seconds[[0, -1]].mean()), float(np.ptp(seconds) + 1)
    place = round(4 * (line.speed * pivot + line.offset_s)) / 4

    def mean_bits(speed: float, shift_s: float) -> float:
        return _mean_bits(_Line(speed, place + shift_s - speed * pivot), query, reference)

    # The best shift of each speed; the ends of the copy move by up to 1.5 s.
    speeds = [1.0, *np.clip(line.speed + np.arange(-3, 3.01, 0.5) / length_s, 0.5, 2.0).tolist()]
    best = [
        min((mean_bits(speed, shift_s), shift_s) for shift_s in _SHIFTS_S.tolist())
        for speed in speeds
    ]
    bits, shift_s, speed = min((*found, each) for found, each in zip(best, speeds, strict=True))
    worse = (mean_bits(speed, shift_s - 2) + mean_bits(speed, shift_s + 2)) / 2 - bits
    by_chance = float(np.sqrt(bits / len(seconds)))
    if best[0][0] - bits <= max(_CLEARLY_BETTER_S * worse / 2, by_chance):
        (bits, shift_s), speed = best[0], 1.0

    # Bits grow in proportion to the shift, so those of three shifts tell the exact one.
    before, after = mean_bits(speed, shift_s - 1), mean_bits(speed, shift_s + 1)
    rise = max(before, after) - bits
    if rise > 0:
        shift_s += float(np.clip((before - after) / (2 * rise), -0.5, 0.5))
    return _Line(speed, place + shift_s - speed * pivot)


def _mean_bits(
    line: _Line, query: tuple[Seconds, Hashes], reference: tuple[Seconds, Hashes]
) -> float:
    """Return the different bits along a line, interpolated between seconds; 256 without any."""
    seconds, hashes = query
    reference_seconds, reference_hashes = reference
    places = line.at(seconds)
    behind = places - np.floor(places)
    total, weights = 0.0, 0.0
    for wanted, weight in ((np.floor(places), 1 - behind), (np.floor(places) + 1, behind)):
        row = np.minimum(np.searchsorted(reference_seconds, wanted), len(reference_seconds) - 1)
        exists = np.flatnonzero(reference_seconds[row] == wanted)
        found = distances(hashes[exists], reference_hashes[row[exists]])
        total += float(found @ weight[exists])
        weights += float(weight[exists].sum())
    return total / weights if weights >= len(seconds) / 2 else 256.0


def _changes(hashes: Hashes) -> int:
    """Return the number of seconds that differ from the last counted one."""
    count, last = 0, 0
    for row in hashes:
        value = int.from_bytes(row.tobytes(), "little")
        if not count or (value ^ last).bit_count() >= _NEW_BITS:
            count, last = count + 1, value
    return count


def _distinct(copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies without those that tell the same with less evidence."""
    by_pair: dict[tuple[int, int], list[Copy]] = defaultdict(list)
    for copy in sorted(copies, key=lambda copy: -copy.seconds * copy.similarity):
        kept = by_pair[copy.video, copy.other]
        if not any(_tells_same(copy, better) for better in kept):
            kept.append(copy)
    return [copy for kept in by_pair.values() for copy in kept]


def _tells_same(copy: Copy, better: Copy) -> bool:
    """Return whether most of a copy lies in a better one, in one of the two videos."""
    shared_s = min(copy.end_s, better.end_s) - max(copy.start_s, better.start_s)
    other_s = min(copy.other_end_s, better.other_end_s)
    other_s -= max(copy.other_start_s, better.other_start_s)
    return shared_s > 0.5 * (copy.end_s - copy.start_s) or other_s > 0.5 * (
        copy.other_end_s - copy.other_start_s
    )
