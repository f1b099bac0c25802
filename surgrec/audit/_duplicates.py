"""Checks of near-duplicates, from the duplicate groups that `surgrec-shard dedup --write` found."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations

from surgrec.audit._clips import SplitClips
from surgrec.audit._findings import Finding, some
from surgrec.text import counted

_SEARCH = "`surgrec-shard dedup CORPUS --write true`"


def check_copies(split: SplitClips) -> Iterator[Finding]:
    """Yield the findings about near-duplicates. Rows of files have no videos to search.

    Videos of one case do not count: a case in two parts is a finding of its own.
    """
    if not split.duplicate_groups:
        return
    unknown = [video for video, groups in split.duplicate_groups.items() if groups is None]
    if unknown:
        yield Finding(
            name="copies_unknown",
            severity="note",
            found=len(unknown),
            of=len(split.duplicate_groups),
            sentence=(
                f"{len(unknown)} of {counted(len(split.duplicate_groups), 'video')} were not "
                "searched for near-duplicates"
            ),
            remedy=f"run {_SEARCH}, and audit again",
            examples=some(unknown),
        )

    parts = {part: _Videos(split, part) for part in split.parts}
    for first, second in combinations(parts.values(), 2):
        yield from _between(first, second)
    for part in parts.values():
        yield from _within(part)


class _Videos:
    """The videos of a part, their cases and duplicate groups."""

    def __init__(self, split: SplitClips, part: str) -> None:
        self.part = part
        self.cases = {clip.video: clip.case for clip in split.parts[part]}
        self.groups: Mapping[str, tuple[str, ...]] = {
            video: split.duplicate_groups.get(video) or () for video in self.cases
        }
        self.by_group: dict[str, set[str]] = defaultdict(set)
        """The videos that have a clip in a group."""
        for video, groups in self.groups.items():
            for group in groups:
                self.by_group[group].add(video)

    def copies(self, video: str, case: str, groups: tuple[str, ...]) -> dict[str, int]:
        """Return the videos of other cases that show the same, with the number of clips.

        Args:
            video: A video of any part.
            case: Its case.
            groups: The duplicate group of each of its clips that has one.
        """
        found: dict[str, int] = defaultdict(int)
        for group in groups:
            for other in self.by_group.get(group, ()):
                if other != video and self.cases[other] != case:
                    found[other] += 1
        return found


def _between(first: _Videos, second: _Videos) -> Iterator[Finding]:
    """Yield a finding if videos of two parts show the same."""
    found = {
        video: copies
        for video, case in second.cases.items()
        if (copies := first.copies(video, case, second.groups[video]))
    }
    if not found:
        return

    others = {other for copies in found.values() for other in copies}
    number = counted(len(second.cases), f"{second.part} video")
    verb = "shows" if len(found) == 1 else "show"
    yield Finding(
        name="shared_copies",
        severity="fail",
        parts=(first.part, second.part),
        found=len(found),
        of=len(second.cases),
        sentence=(
            f"{len(found)} of {number} {verb} the same as "
            f"{counted(len(others), f'{first.part} video')} of other cases"
        ),
        remedy=(
            "look at the times that `surgrec-shard dedup CORPUS` lists, and put the cases into one "
            "part; titles that many videos have may be allowed"
        ),
        examples=some(
            f"{second.cases[video]} is like {first.cases[max(copies, key=copies.__getitem__)]}"
            for video, copies in found.items()
        ),
    )


def _within(part: _Videos) -> Iterator[Finding]:
    """Yield a finding if videos of different cases of a part show the same."""
    found = [
        video for video, case in part.cases.items() if part.copies(video, case, part.groups[video])
    ]
    if found:
        cases = {part.cases[video] for video in found}
        yield Finding(
            name="copies_in_part",
            severity="warn",
            parts=(part.part,),
            found=len(found),
            of=len(part.cases),
            sentence=(
                f"{len(found)} of {counted(len(part.cases), f'{part.part} video')} show the same "
                "as videos of other cases of the part, so its cases are not independent"
            ),
            remedy="look at the times that `surgrec-shard dedup CORPUS` lists",
            examples=some(cases),
        )
