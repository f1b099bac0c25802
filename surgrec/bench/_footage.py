"""Hours of video of a copy: those of its check, else of headers, else those published."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec_shard.found_source import FoundRecording, find_source
from surgrec_shard.picture_labels import picture_clock
from surgrec_shard.video_headers import read_headers

from surgrec.bench._choice import BenchTask
from surgrec.bench._copies import without_folders
from surgrec.bench._names import check_file
from surgrec.bench._results import read_check
from surgrec.errors import ConfigError, SurgrecError
from surgrec.text import counted

SAMPLE = 16
"""Videos of a copy whose headers are read: the middle ones of as many ranges of size."""


@dataclass(frozen=True, kw_only=True)
class Footage:
    """Hours of video of a data set."""

    hours: float | None
    """None: not known."""
    test_share: float | None
    """Share of the hours in the test part of a split. None: not known."""
    basis: str
    """Where both are from."""
    is_there: bool
    """Whether the folder of the copy exists."""

    @property
    def test_hours(self) -> float | None:
        """Hours of the test part; None: not known."""
        known = self.hours is not None and self.test_share is not None
        return self.hours * self.test_share if known else None  # type: ignore[operator]


def footage_of(
    task: BenchTask, out: Path, read_s: dict[Path, float], frame_fps: float = 0.0
) -> Footage:
    """Return the hours of a task's copy. No video is decoded.

    They are those that its check found, else those of the headers of a sample of its videos or of
    the numbers of its pictures, else the published ones.

    Args:
        task: The task, with its split.
        out: Folder of the benchmark, with the checks that have run.
        read_s: Seconds of the videos whose headers were read; more are added. 0: not stated.
        frame_fps: Of a set of pictures without a published rate: numbers per second. 0: not given.
    """
    is_there = task.folder.is_dir()
    found = None
    fault = "" if is_there else "the copy is not there"
    if is_there:
        try:
            found = _of_copy(task, read_s, frame_fps)
        except SurgrecError as error:
            fault = without_folders(str(error), (task.folder, out))
    checked = _checked_hours(task, out)
    if checked is not None:
        share = found.test_share if found else _published_share(task)
        return Footage(hours=checked, test_share=share, basis="its check", is_there=is_there)
    return found or _published(task, fault, is_there=is_there)


def _checked_hours(task: BenchTask, out: Path) -> float | None:
    """Return the hours that the check of a copy found; None: it has not run, or counts pictures."""
    try:
        check = read_check(out / check_file(task))
    except ConfigError:  # the check has not run
        return None
    found = {total["what"]: total["found"] for total in check["totals"]}
    return float(found["hours"]) if "hours" in found else None


def _of_copy(task: BenchTask, read_s: dict[Path, float], frame_fps: float) -> Footage:
    """Return the hours of the recordings in a copy.

    Raises:
        SurgrecError: The copy has no recordings, or they have no rate or no length.
    """
    preset = task.card.data_set
    if preset.needs_rate and not frame_fps:
        raise ConfigError(
            f"the rate of the pictures is not published; give --frame_fps {preset.name}=RATE"
        )

    # Pictures tell the length by their numbers; of videos, some headers are read.
    recordings = find_source(preset, task.folder, task.split, frame_fps).recordings
    if preset.media == "pictures":
        lengths_s = [picture_clock(each.pictures).end_s for each in recordings if each.pictures]
        basis = f"the numbers of all pictures of {counted(len(recordings), 'recording')}"
    else:
        lengths_s, basis = _lengths(recordings, read_s)

    total_s = sum(lengths_s)
    test_s = sum(
        length_s
        for length_s, each in zip(lengths_s, recordings, strict=True)
        if each.split == "test"
    )
    return Footage(hours=total_s / 3600, test_share=test_s / total_s, basis=basis, is_there=True)


def _lengths(
    recordings: Sequence[FoundRecording], read_s: dict[Path, float]
) -> tuple[list[float], str]:
    """Return the seconds of each video, and their basis.

    A video outside the sample has the seconds per byte of the sample.

    Raises:
        ConfigError: No header states a length.
    """
    # Read headers of videos spread over all sizes.
    sizes = [_size(each.path) for each in recordings]
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], recordings[index].path))
    count = min(SAMPLE, len(order))
    chosen = [order[(2 * number + 1) * len(order) // (2 * count)] for number in range(count)]
    new = [path for index in chosen if (path := recordings[index].path) not in read_s]
    headers = read_headers(new)
    read_s |= {path: header.duration_s for path, header in zip(new, headers, strict=True)}
    read = {index: read_s[recordings[index].path] for index in chosen}

    # The other videos get the same number of seconds per byte.
    good = [index for index in chosen if read[index]]
    if not good:
        raise ConfigError(f"no header of {counted(count, 'video')} states a length")
    per_byte = sum(read[index] for index in good) / sum(sizes[index] for index in good)
    lengths_s = [read.get(index, size * per_byte) for index, size in enumerate(sizes)]

    basis = f"the headers of {count} of {counted(len(sizes), 'video')}"
    unread = count - len(good)
    return lengths_s, f"{basis} ({unread} without a length)" if unread else basis


def _size(path: Path) -> int:
    """Return the bytes of a video; 1 for one in an archive, so that all of these count alike."""
    try:
        return max(path.stat().st_size, 1)
    except OSError:
        return 1


def _published(task: BenchTask, fault: str, *, is_there: bool) -> Footage:
    """Return the published hours: those of the videos, or of phases, which cover a video."""
    card = task.card
    expected = card.data_set.expected
    hours, basis = expected.hours, "published hours"
    if hours is None and card.kind == "phases" and card.task in expected.label_s:
        hours, basis = expected.label_s[card.task] / 3600, f"published seconds of {card.task}"
    return Footage(
        hours=hours,
        test_share=_published_share(task),
        basis=f"{basis if hours is not None else 'no published hours'}; {fault}",
        is_there=is_there,
    )


def _published_share(task: BenchTask) -> float | None:
    """Return the share of the cases that are in the test part, as published."""
    sizes = task.card.split.sizes
    return sizes["test"] / sum(sizes.values()) if sizes.get("test") else None
