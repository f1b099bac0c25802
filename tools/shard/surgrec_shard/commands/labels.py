"""`surgrec-shard labels`: the labels that a mapping makes of an annotation file."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from surgrec.annotations import PLAIN, Label, LabelFiles, VideoLabels, read_labels, read_mapping
from surgrec.errors import ConfigError, ManifestError
from surgrec.ranges import Range
from surgrec.recordings import BadVideoError
from surgrec.recordings.picture_files import (
    HIGHEST_RATE,
    LOWEST_RATE,
    PictureFiles,
    open_recording,
)
from surgrec.terminal import escape, print_json, print_result, result_table, strip
from surgrec.text import counted, visible
from surgrec_shard.label_checks import LabelCounts, count_oddities
from surgrec_shard.labels import clock_of

_MOST_TASKS = 20
_WIDTH = 60
"""Characters of a strip."""


def labels(
    files: list[str],
    *,
    mapping: Path | None = None,
    video: Path | None = None,
    frame_fps: Annotated[float, Range(0, HIGHEST_RATE)] = 0.0,
    names: dict[str, str] = {},  # noqa: B006 - only read
    rows: Annotated[int, Range(1, 10_000)] = 20,
    json: bool = False,
) -> None:
    """Show the labels that a mapping makes of annotation files, before anything is built.

    A table shows the first labels. Below it, a strip for each task shows all of them over the time
    of the video, with a letter for each value and dots for gaps.

    Args:
        files: The annotation files of one video.
        mapping: YAML file that says how their rows become labels. Default: the columns task,
            start_s, end_s and value.
        video: The video, if the times of the labels need its clock. Labels behind its end are
            counted.
        frame_fps: If the video is a folder of pictures: rate of their numbers, per second.
        names: Named groups of the video's path, such as {case: "07"}, that the mapping uses.
        rows: Number of labels in the table.
        json: Print all labels and counts as one JSON object.

    Example:
        surgrec-shard labels --mapping phases.yaml video01-phase.txt --video video01.mp4
    """
    read = LabelFiles(
        paths=tuple(Path(name) for name in files),
        mapping=read_mapping(mapping) if mapping else PLAIN,
        names=names,
    )
    clock = None
    if frame_fps and (video is None or frame_fps < LOWEST_RATE):
        raise ConfigError(f"--frame_fps needs --video FOLDER, and {LOWEST_RATE:g} or more")
    if video is not None:
        pictures = PictureFiles(rate=frame_fps) if frame_fps else None
        try:
            with open_recording(video, pictures) as recording:
                clock = clock_of(recording)
        except BadVideoError as error:
            raise ManifestError(f"{video}: {error}; give another --video") from None
    elif read.mapping.needs_clock:
        raise ConfigError(
            "the mapping needs the clock of the video; give --video FILE, or for frame numbers "
            "`fps` in the mapping"
        )

    found = read_labels([read], clock)
    end_s = clock.end_s if clock else None
    counts = count_oddities(found, float("inf") if end_s is None else end_s)
    if json:
        shown = [
            {**asdict(label), "place": place}
            for label, place in zip(found.labels, found.places, strict=True)
        ]
        dropped = [asdict(label) for label in found.dropped]
        print_json(
            {"video_s": end_s, "counts": asdict(counts), "labels": shown, "dropped": dropped}
        )
        return
    _print_labels(found, counts, end_s, rows, ", ".join(files))


def _print_labels(
    found: VideoLabels, counts: LabelCounts, end_s: float | None, rows: int, title: str
) -> None:
    """Print the table, the strips and the counts."""
    table = result_table(title, left=("task", "value"), right=("start_s", "end_s", "start", "end"))
    for label in found.labels[:rows]:
        times = (label.start_s, label.end_s)
        table.add_row(
            escape(visible(label.task)),
            escape(visible(label.value)),
            *(f"{time:.2f}" for time in times),
            *(_clock_time(time) for time in times),
        )
    print_result(table)
    if len(found.labels) > rows:
        print_result(f"... and {len(found.labels) - rows} more")

    last_s = max((label.end_s for label in (*found.labels, *found.dropped)), default=0.0)
    whole_s = max(end_s or 0.0, last_s)
    by_task: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for label in (*found.labels, *found.dropped):
        by_task[label.task].append((label.start_s, label.end_s, label.value))
    for task, segments in list(by_task.items())[:_MOST_TASKS]:
        _print_strip(task, segments, whole_s)
    if len(by_task) > _MOST_TASKS:
        print_result(f"... and {len(by_task) - _MOST_TASKS} more")

    video = f"video {_clock_time(end_s)}" if end_s is not None else "no video given"
    named = {
        name.removeprefix("label_").removeprefix("labels_").replace("_", " "): value
        for name, value in asdict(counts).items()
    }
    odd = ", ".join(
        counted(value, words.removesuffix("s"), words) for words, value in named.items() if value
    )
    if found.dropped:
        number = counted(len(found.dropped), "stretch", "stretches")
        print_result(f"\na build leaves out {number}, {_seconds(found.dropped):.1f} s")
    print_result(f"\n{counted(len(found.labels), 'label')}, {video}, {odd or 'nothing odd'}")


def _seconds(stretches: Sequence[Label]) -> float:
    return sum(stretch.end_s - stretch.start_s for stretch in stretches)


def _print_strip(task: str, segments: Sequence[tuple[float, float, str]], whole_s: float) -> None:
    line, legend = strip(segments, whole_s, width=_WIDTH)
    seconds: dict[str, float] = defaultdict(float)
    for start_s, end_s, value in segments:
        seconds[value] += end_s - start_s
    print_result(f"\n{escape(visible(task))}, 0 to {_clock_time(whole_s)}\n{escape(line)}")
    for value, letter in legend.items():
        print_result(escape(f"  {letter}  {visible(value)}: {seconds[value]:.1f} s"))


def _clock_time(time_s: float) -> str:
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
