"""The tables of an extraction: its windows, failures and gaps, and their counts."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from surgrec.features._job import Outcome
from surgrec.features._table import FailedWindow, window_rows, write_tables
from surgrec.storage import Store


def write_summary(
    store: Store, outcomes: Sequence[Outcome], facts: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """Write the tables of all videos, with their counts.

    Args:
        store: Folder of the features.
        outcomes: The results of all videos, sorted by source and video.
        facts: Encoder and settings.
        data: Origin of the videos.
    """
    span_s = facts["settings"]["num_frames"] / facts["settings"]["fps"]
    rows = [
        row
        for outcome in outcomes
        for row in window_rows(outcome.entry, outcome.starts, span_s, outcome.file)
    ]

    failed = [
        FailedWindow(
            **_names_of(outcome),
            start_s=failure.start_s,
            reason=failure.reason,
        )
        for outcome in outcomes
        for failure in outcome.header.failed
    ]

    gaps = [
        {**_names_of(outcome), **vars(gap)} for outcome in outcomes for gap in outcome.header.gaps
    ]

    too_short = [_names_of(outcome) for outcome in outcomes if is_too_short(outcome)]

    made_by = {tuple(sorted(outcome.header.made_by.items())) for outcome in outcomes}
    counts = {
        "cases": len({(outcome.entry.source, outcome.entry.case) for outcome in outcomes}),
        "videos": len(outcomes),
        "videos_failed": sum(failure.start_s is None for failure in failed),
        "videos_too_short": len(too_short),
        "windows": len(rows),
        "windows_failed": sum(failure.start_s is not None for failure in failed),
        "windows_in_gaps": sum(gap.windows for outcome in outcomes for gap in outcome.header.gaps),
        "videos_with_repeated_frames": dict(
            Counter(outcome.entry.source for outcome in outcomes if outcome.header.repeats_frames)
        ),
    }

    facts_of_data = {
        "data": {**data, "digest": _data_digest(outcomes)},
        "made_by": [dict(items) for items in sorted(made_by, key=str)],
        "counts": counts,
        "gaps": gaps,
        "too_short": too_short,
    }
    write_tables(store, rows, failed, {**facts, **facts_of_data})


def _names_of(outcome: Outcome) -> dict[str, str]:
    """Return the names by which a list of `features.json` names a video."""
    entry = outcome.entry
    return {"source": entry.source, "case": entry.case, "video": entry.video}


def is_too_short(outcome: Outcome) -> bool:
    """Return whether a readable video has no window, and none was left out."""
    left_out = outcome.header.failed or outcome.header.gaps
    return not len(outcome.starts) and not left_out


def _data_digest(outcomes: Sequence[Outcome]) -> str:
    """Return a digest that changes with the name or the bytes of any video, and their number."""
    lines = [
        f"{outcome.entry.source}/{outcome.entry.video} {outcome.header.digest}\n"
        for outcome in outcomes
    ]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
