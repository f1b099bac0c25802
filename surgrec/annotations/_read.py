"""The one reader of annotation files: from rows to the labels of a video."""

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from surgrec.annotations._labels import NONE_PRESENT, Label, VideoClock, VideoLabels
from surgrec.annotations._mapping import LabelFiles, LabelMapping, Track, fields_of, fill
from surgrec.annotations._rows import Cell, Row, Source, names_at, open_sources, rows_of
from surgrec.errors import ManifestError, shown

_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_CLOCK = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,6}):([0-9]{1,2}(?:\.[0-9]*)?)")
_MOST_DIGITS = 40
_LATEST_S = 1e9
"""Latest time in a file: 30 years."""
_HAIR = 1e-6
_LATE = 0.05
"""Share of `every_s` by which a tick may be late: the frame next to its time is a whole number."""
_WORDS = {
    "s": "a number of seconds",
    "ms": "a number of milliseconds",
    "frame": "the number of a frame",
    "HH:MM:SS": "a time as HH:MM:SS",
}


@dataclass(kw_only=True)
class _Found:
    """The labels that were read so far."""

    segments: list[tuple[str, Label]] = field(default_factory=list)
    """Place and label, also those of length zero."""
    ticks: dict[tuple[str, str], list[tuple[float, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Tick and place, by task and value."""
    starts: list[tuple[float, str, str, str]] = field(default_factory=list)
    """Start, task, value and place."""
    left_out: int = 0
    rows: list[int] = field(default_factory=list)
    """Number of rows of each file."""


def read_labels(files: Sequence[LabelFiles], clock: VideoClock | None = None) -> VideoLabels:
    """Return the labels of one video.

    Args:
        files: Its annotation files, each with its mapping.
        clock: When its pictures appear. Needed by mappings whose `needs_clock` is true.

    Raises:
        ManifestError: A file cannot be used with its mapping; the error names file, line and cell.

    Example:
        >>> read_labels([LabelFiles(paths=(Path("phases.csv"),), mapping=PLAIN)]).labels[0]
        Label(task='phase', start_s=0.0, end_s=95.5, value='dissection')
    """
    segments: list[tuple[str, Label]] = []
    dropped: list[Label] = []
    rows: list[tuple[int, ...]] = []
    left_out = 0
    for each in files:
        found = _read(each, clock)
        rows.append(tuple(found.rows))
        reasons = {track.task for track in each.mapping.tracks if track.drop}
        segments += [row for row in found.segments if row[1].task not in reasons]
        dropped += [label for _, label in found.segments if label.task in reasons]
        left_out += found.left_out

    has_length = [(place, label) for place, label in segments if label.start_s < label.end_s]
    # Sorting keeps the order of the file among equal labels.
    has_length.sort(key=lambda row: (row[1].start_s, row[1].end_s, row[1].task, row[1].value))
    return VideoLabels(
        labels=tuple(label for _, label in has_length),
        places=tuple(place for place, _ in has_length),
        dropped=tuple(label for label in dropped if label.start_s < label.end_s),
        zero_lengths=len(segments) - len(has_length),
        left_out=left_out,
        rows=tuple(rows),
    )


def read_column(files: LabelFiles, column: str) -> list[str]:
    """Return the cells of a column, such as the names of videos in a file for many.

    Raises:
        ManifestError: A file cannot be read, or has no such column.
    """
    track = Track(task="any", column=column)
    is_json = files.mapping.is_json

    mapping = replace(
        files.mapping,
        grammar=files.mapping.grammar if is_json else "list",
        tracks=[track],
        time=column if is_json else "",
        start="",
        end="",
        unit="s",
        every=1.0,
        only={},
        require=[],
        start_part="",
        end_part="",
        path="",
    )

    return [
        _plain(_text(row, column))
        for source in open_sources(LabelFiles(paths=files.paths, mapping=mapping))
        for row in rows_of(source, mapping, [track])
    ]


def _read(files: LabelFiles, clock: VideoClock | None) -> _Found:
    """Return the labels of files with one mapping, in their order."""
    mapping = files.mapping
    if mapping.needs_clock and clock is None:
        raise ManifestError(
            f"{files.paths[0] if files.paths else 'the mapping'}: its times need those of the "
            f"video ({_why_clock(mapping)}); give the video"
        )
    reader = _Reader(files, clock)
    for source in open_sources(files):
        counts = [reader.read(source, tracks) for tracks in _tracks_by_rows(mapping)]
        reader.found.rows.append(counts[0])
    return reader.finish()


class _Reader:
    """Reads the files of one mapping for one video."""

    def __init__(self, files: LabelFiles, clock: VideoClock | None) -> None:
        self._mapping = files.mapping
        self._clock = clock
        self._part = _part_of(files) if files.mapping.start_part else 0
        self.found = _Found()

    def read(self, source: Source, tracks: Sequence[Track]) -> int:
        """Take the rows of a file for the tracks that share them. Return their number."""
        mapping = self._mapping
        names = {
            track.task: names_at(source, track.names_at) if track.names_at else track.names
            for track in tracks
        }

        wanted = {
            column: _plain(fill(template, source.names, str(source.path)))
            for column, template in mapping.only.items()
        }

        count = 0
        for row in rows_of(source, mapping, tracks):
            count += 1
            if any(_plain(_text(row, column)) != text for column, text in wanted.items()):
                continue
            if not all(_text(row, column) for column in mapping.require):
                self.found.left_out += 1
                continue

            for track in tracks:
                values = list(self._values(row, track, names[track.task]))
                if values:
                    self._add(row, _task_of(row, track), values)
        return count

    def finish(self) -> _Found:
        """Return all labels, once all files are read."""
        found, mapping = self.found, self._mapping

        self._drop_contradicted_ticks()
        for (task, value), ticks in found.ticks.items():
            found.segments += self._runs(task, value, ticks)
        found.segments += self._runs_of_starts()

        for track in mapping.tracks:
            if track.overlaps == "latest":
                inside = [row for row in found.segments if row[1].task == track.task]
                others = [row for row in found.segments if row[1].task != track.task]
                found.segments = others + _latest(inside)
            if track.mean:
                inside = [row for row in found.segments if row[1].task == track.task]
                others = [row for row in found.segments if row[1].task != track.task]
                found.segments = others + _means(inside)

        if mapping.drop_repeats:
            unique = {label: (place, label) for place, label in reversed(found.segments)}
            found.left_out += len(found.segments) - len(unique)
            found.segments = list(unique.values())

        return found

    def _drop_contradicted_ticks(self) -> None:
        """Leave out `NONE_PRESENT` where another row of the same tick has a value."""
        ticks = self.found.ticks
        for task, value in [key for key in ticks if key[1] == NONE_PRESENT]:
            present = {
                tick
                for (other, name), rows in ticks.items()
                if other == task and name != value
                for tick, _ in rows
            }
            kept = [row for row in ticks.pop((task, value)) if row[0] not in present]
            if kept:
                ticks[task, value] = kept

    def _values(self, row: Row, track: Track, names: Mapping[str, str]) -> Iterator[str]:
        """Yield the values of a track in a row, by their names."""
        yield from self._present(row, track)
        for column in [track.column] if track.column else track.columns:
            cell = row.cells[column]
            for text in (cell,) if isinstance(cell, str) else cell:
                if text in track.ignore or _plain(text) in track.ignore:
                    self.found.left_out += 1
                elif text in track.none or _plain(text) in track.none:
                    yield NONE_PRESENT
                else:
                    yield _named(text, names, row.place, column, track)

    def _present(self, row: Row, track: Track) -> list[str]:
        """Return the flags of a track that a row has, or `NONE_PRESENT` if none is."""
        present, unknown = [], 0
        for value, columns in track.flags.items():
            if any(_text(row, column) in track.ignore for column in columns):
                unknown += 1
                continue
            numbers = [_number(_text(row, column), row.place, column) for column in columns]
            if sum(numbers) >= 0.5 * len(numbers):
                present.append(value)
        self.found.left_out += unknown
        is_none = track.flags and not present and not unknown
        return [NONE_PRESENT] if is_none else present

    def _add(self, row: Row, task: str, values: Sequence[str]) -> None:
        """Take the values of a row with its times."""
        mapping = self._mapping
        if mapping.has_ticks:
            tick = self._count(row, mapping.time)
            for value in values:
                self.found.ticks[task, value].append((tick, row.place))
            return
        if mapping.grammar == "starts":
            start_s = self._seconds(self._count(row, mapping.time))
            self.found.starts += [(start_s, task, value, row.place) for value in values]
            return

        times = self._segment(row) if mapping.has_segments else (0.0, self._end_s())
        if times is None:
            return
        start_s, end_s = times
        if end_s < start_s:
            if not mapping.drop_backward:
                start, end = _time_text(row, mapping.start), _time_text(row, mapping.end)
                raise ManifestError(
                    f"{row.place}: {mapping.start} is {start} and {mapping.end} is {end}; "
                    f"{mapping.end} must not be before {mapping.start}"
                )
            self.found.left_out += len(values)
            return
        self.found.segments += [
            (row.place, Label(task=task, start_s=start_s, end_s=end_s, value=value))
            for value in values
        ]

    def _segment(self, row: Row) -> tuple[float, float] | None:
        """Return start and end of a row, seconds; None if it lies in other parts."""
        mapping = self._mapping
        start = self._count(row, mapping.start)
        end = self._count(row, mapping.end) + mapping.end_included
        if not mapping.start_part:
            return self._seconds(start), self._seconds(end)

        first = _whole(row, mapping.start_part)
        last = _whole(row, mapping.end_part)
        if not first <= self._part <= last:
            if first > last:
                raise ManifestError(
                    f"{row.place}: {mapping.end_part} is {last}, before {mapping.start_part} "
                    f"{first}; correct the row"
                )
            return None
        start_s = self._seconds(start) if first == self._part else 0.0
        return start_s, self._seconds(end) if last == self._part else self._end_s()

    def _count(self, row: Row, column: str) -> float:
        """Return a time of a row in the unit of the mapping, from 0."""
        mapping, text = self._mapping, _time_text(row, column)
        if mapping.unit == "HH:MM:SS":
            number = _clock_seconds(text)
        else:
            number = float(text) if len(text) <= _MOST_DIGITS and _NUMBER.fullmatch(text) else None

        if number is None or (mapping.unit == "frame" and number != math.floor(number)):
            raise ManifestError(
                f"{row.place}: {column} is {shown(text)}; write {_WORDS[mapping.unit]}, or correct "
                "`unit` in the mapping"
            )

        count = number - mapping.origin
        if not 0 <= count <= _LATEST_S * 1000:
            origin = f" (the first is {mapping.origin})" if mapping.origin else ""
            raise ManifestError(
                f"{row.place}: {column} is {text}, outside the video{origin}; correct it, or "
                "`origin` in the mapping"
            )

        return count

    def _seconds(self, count: float) -> float:
        """Return the time of a count in the unit of the mapping, seconds."""
        mapping = self._mapping
        if mapping.unit == "ms":
            return count / 1000
        if mapping.unit != "frame":
            return count
        if mapping.fps != "video":
            return count / mapping.fps
        assert self._clock is not None
        return self._clock.at(int(count))

    def _end_s(self) -> float:
        assert self._clock is not None
        return self._clock.end_s

    def _runs(
        self, task: str, value: str, ticks: list[tuple[float, str]]
    ) -> Iterator[tuple[str, Label]]:
        """Yield a label for each run of ticks without a gap."""
        every, every_s = self._mapping.every, self._mapping.every_s
        ticks.sort(key=lambda tick: tick[0])
        first, place = ticks[0]

        for (tick, _), (following, next_place) in itertools.pairwise([*ticks, (math.inf, "")]):
            end_s = self._seconds(tick) + every_s if every_s else self._seconds(tick + every)
            if following < math.inf and (
                self._seconds(following) <= end_s + _LATE * every_s
                if every_s
                else following <= tick + every * (1 + _HAIR)
            ):
                continue

            start_s = self._seconds(first)
            yield place, Label(task=task, start_s=start_s, end_s=end_s, value=value)
            first, place = following, next_place

    def _runs_of_starts(self) -> Iterator[tuple[str, Label]]:
        """Yield a label from each start to the next of its task, the last one to the end."""
        by_task: dict[str, list[tuple[float, str, str]]] = defaultdict(list)
        for start_s, task, value, place in self.found.starts:
            by_task[task].append((start_s, value, place))
        for task, starts in by_task.items():
            starts.sort(key=lambda start: start[0])
            ends = [start_s for start_s, _, _ in starts[1:]]
            last_s = max(self._end_s(), starts[-1][0])
            for (start_s, value, place), end_s in zip(starts, [*ends, last_s], strict=True):
                yield place, Label(task=task, start_s=start_s, end_s=end_s, value=value)


def _tracks_by_rows(mapping: LabelMapping) -> list[list[Track]]:
    """Return the tracks that take the same rows of a file together."""
    groups: dict[str, list[Track]] = defaultdict(list)
    for track in mapping.tracks:
        groups[(track.at or mapping.at) if mapping.grammar == "json" else ""].append(track)
    return list(groups.values())


def _means(segments: Sequence[tuple[str, Label]]) -> list[tuple[str, Label]]:
    """Return one segment for each start and end, with the mean of the values there."""
    by_time: dict[tuple[float, float], list[tuple[str, Label]]] = defaultdict(list)
    for row in segments:
        by_time[row[1].start_s, row[1].end_s].append(row)

    means = []
    for rows in by_time.values():
        place, label = rows[0]
        numbers = [_number(each.value, where, each.task) for where, each in rows]
        means.append((place, replace(label, value=f"{sum(numbers) / len(numbers):.6g}")))
    return means


def _latest(segments: Sequence[tuple[str, Label]]) -> list[tuple[str, Label]]:
    """Return segments without overlap: at each time the one that started last."""
    order = sorted(segments, key=lambda row: row[1].start_s)
    borders = sorted({time for _, label in order for time in (label.start_s, label.end_s)})
    result: list[tuple[str, Label]] = []
    open_rows: list[tuple[str, Label]] = []
    waiting = iter(order)
    following = next(waiting, None)
    for start_s, end_s in itertools.pairwise(borders):
        while following is not None and following[1].start_s <= start_s:
            open_rows.append(following)
            following = next(waiting, None)
        # Later starts lie on top; those that have ended are removed once they are on top.
        while open_rows and open_rows[-1][1].end_s <= start_s:
            open_rows.pop()
        if not open_rows:
            continue
        place, label = open_rows[-1]
        last = result[-1] if result else None
        if last and last[0] == place and last[1].end_s == start_s and last[1].value == label.value:
            result[-1] = place, _between(label, last[1].start_s, end_s)
        else:
            result.append((place, _between(label, start_s, end_s)))
    return result + [row for row in segments if row[1].start_s == row[1].end_s]


def _between(label: Label, start_s: float, end_s: float) -> Label:
    return Label(task=label.task, start_s=start_s, end_s=end_s, value=label.value)


def _named(text: str, names: Mapping[str, str], place: str, column: str, track: Track) -> str:
    """Return the name of a value."""
    value = names.get(text, names.get(_plain(text))) if names else text
    if value is None:
        raise ManifestError(
            f"{place}: {column} is {shown(text)}, which `names` of {track.task!r} does not have; "
            "add it there, or list it under `ignore`"
        )
    if not value:
        raise ManifestError(
            f"{place}: {column} is empty; fill it in, or list '' under `ignore` in the mapping"
        )
    return value


def _task_of(row: Row, track: Track) -> str:
    if "{" not in track.task:
        return track.task
    cells = {name: cell for name, cell in row.cells.items() if isinstance(cell, str)}
    task = fill(track.task, cells, row.place)
    if not task:
        raise ManifestError(f"{row.place}: the task is empty; fill in {track.task}")
    return task


def _text(row: Row, column: str) -> str:
    cell: Cell = row.cells[column]
    if not isinstance(cell, str):
        raise ManifestError(f"{row.place}: {column} is a list; correct the mapping")
    return cell


def _time_text(row: Row, column: str) -> str:
    """Return a time as text, from its column or from the columns of its template."""
    fields = fields_of(column)
    if not fields:
        return _text(row, column)
    return fill(column, {name: _plain(_text(row, name)) for name in fields}, row.place)


def _plain(text: str) -> str:
    """Return a whole number without leading zeros and without `.0`; other text unchanged."""
    if len(text) <= _MOST_DIGITS and re.fullmatch(r"[-+]?[0-9]+(\.0*)?", text):
        return str(int(text.partition(".")[0]))
    return text


def _number(text: str, place: str, column: str) -> float:
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise ManifestError(f"{place}: {column} is {shown(text)}; write a number, such as 0 or 1")
    return float(text)


def _whole(row: Row, column: str) -> int:
    text = _plain(_text(row, column))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ManifestError(f"{row.place}: {column} is {shown(text)}; write the number of a part")
    return int(text)


def _part_of(files: LabelFiles) -> int:
    text = _plain(files.names.get("part", ""))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ManifestError(
            f"the mapping has parts, but the name of the video has the part {text!r}; give a "
            "pattern with the group (?P<part>...)"
        )
    return int(text)


def _clock_seconds(text: str) -> float | None:
    """Return a time as HH:MM:SS or MM:SS in seconds; None for any other text."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1] or 0), int(match[2]), float(match[3])
    if seconds >= 60 or (match[1] and minutes >= 60):
        return None
    return 3600.0 * hours + 60.0 * minutes + seconds


def _why_clock(mapping: LabelMapping) -> str:
    if mapping.unit == "frame" and mapping.fps == "video":
        return "they are frame numbers, and `fps` is video"
    if mapping.start_part:
        return "segments span several parts"
    return "the last label runs to its end"
