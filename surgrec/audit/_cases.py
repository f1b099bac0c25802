"""Case, video, class and time of each clip, from its name."""

from collections.abc import Iterable, Mapping, Sequence

from surgrec.annotations import fill
from surgrec.audit._clips import Clip, parse_time
from surgrec.audit._datasets import Dataset, folders_of, named_datasets, read_dataset
from surgrec.errors import ConfigError
from surgrec.text import counted, one_line
from surgrec.user_patterns import NamedPattern

_AT_ONCE = 100_000
"""Names that are matched at once; it bounds the memory of the matches."""
_REMEDY = (
    'give --pattern with the group case, such as --pattern "(?P<case>case_[0-9]+)", or --dataset; '
    'if each file is a case: --pattern "(?P<case>[^/]+)$"'
)

Names = Mapping[str, str]
"""Named groups of a pattern with their text."""


def find_dataset(name: str, pattern: str, clips: Sequence[Clip], split_name: str) -> Dataset:
    """Return the description by which the cases of clips are found.

    Args:
        name: Name of a set; empty: the one that a folder in the first path, or the split, names.
        pattern: A pattern in place of a set.
        clips: All clips.
        split_name: Name of the split's folder or file.

    Raises:
        ConfigError: Both are given, or nothing says where the case is.
    """
    if name and pattern:
        raise ConfigError("--dataset and --pattern are given; leave out one of them")
    if pattern:
        return Dataset(title="", case_is="the group case of --pattern", patterns=(pattern,))
    if name:
        return read_dataset(name)

    found = named_datasets([split_name, *folders_of(clips[0].path)])
    if len(found) != 1:
        names = f"{', '.join(each.name for each in found)} are all named" if found else "no set is"
        reason = f"{names} by its folders" if found else "its folders name no known set"
        raise ConfigError(
            f"the case of {one_line(clips[0].path, 200)!r} is unknown ({reason}); {_REMEDY}"
        )
    return found[0]


def identify(clips: Sequence[Clip], dataset: Dataset, option: str) -> list[Clip]:
    """Return the clips with case, video, subject, class and time from their names.

    Args:
        clips: Clips without a case.
        dataset: Its patterns; the first one that matches a name counts.
        option: Name of the option that gave the patterns, for errors.

    Raises:
        ConfigError: A pattern matches no case in a name.
        ManifestError: A pattern is no expression, needs too much time, or lacks a group.
    """
    patterns = [NamedPattern(text, option) for text in dataset.patterns]
    shared: dict[str, str] = {}
    found: list[Clip] = []
    missing: list[str] = []

    # After the first name without a case, only such names are collected.
    for start in range(0, len(clips), _AT_ONCE):
        some = clips[start : start + _AT_ONCE]
        for clip, names in zip(some, _search(patterns, [clip.path for clip in some]), strict=True):
            case = _filled(dataset.case, names, option) if names else ""
            if not names or not case:
                missing.append(clip.path)
            elif not missing:
                found.append(_identified(clip, case, names, dataset, shared, option))

    if missing:
        raise ConfigError(
            f"{option} finds no case in {counted(len(missing), 'name')} of {len(clips)}, the first "
            f"one {one_line(missing[0], 200)!r}; {_REMEDY}"
        )
    return found


def _search(patterns: Iterable[NamedPattern], paths: Sequence[str]) -> list[Names | None]:
    """Return the groups of the first pattern that matches each path."""
    found: list[Names | None] = [None] * len(paths)
    left = list(range(len(paths)))
    for pattern in patterns:
        answers = pattern.search([paths[index] for index in left])
        for index, names in zip(left, answers, strict=True):
            found[index] = names
        left = [index for index in left if found[index] is None]
        if not left:
            break
    return found


def _filled(template: str, names: Names, option: str) -> str:
    """Return a template with its groups filled in; a single group needs no search."""
    return names.get(template.strip("{}")) or fill(template, names, option) if template else ""


def _identified(
    clip: Clip,
    case: str,
    names: Names,
    dataset: Dataset,
    shared: dict[str, str],
    option: str,
) -> Clip:
    """Return a clip with the content of groups. Equal texts share memory."""
    video = _filled(dataset.video, names, option) or names.get("video", "")
    video = f"{case}/{video}" if video else case
    if clip.start is not None and not names.get("start"):  # a stretch of the named file
        video = clip.path
    subject = _filled(dataset.subject, names, option) or names.get("subject", "")
    class_name = names.get("class", "")
    place = f"{option}: the time of {one_line(clip.path, 200)!r}"
    start, end = (parse_time(names.get(key, ""), place) for key in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise ConfigError(
            f"{option}: {one_line(clip.path, 200)!r} ends at {end:g}, before its start {start:g}; "
            "correct the pattern"
        )
    return clip._replace(
        case=shared.setdefault(case, case),
        video=shared.setdefault(video, video),
        subject=shared.setdefault(subject, subject),
        class_name=shared.setdefault(class_name, class_name),
        start=start if start is not None else clip.start,
        end=end if end is not None else start if start is not None else clip.end,
    )
