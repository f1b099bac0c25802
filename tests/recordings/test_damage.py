"""Behind damage, both readers of recordings wait for a picture that shows its own time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import BadVideoError
from tests.support.clocks import CODECS, frames_at, overwrite, record_clock, remove, stored_of

SECONDS = 36.0
LATE_S, HELD_S = 0.15, 1.05
HOLE = 0.08
"""Share of the file that is damaged: about 3 s."""
STARTS = (0.12, 0.46, 0.8)
GOPS = (12, 250)
KINDS: dict[str, Callable[..., Path]] = {
    "zeros": overwrite,
    "noise": lambda path, **place: overwrite(path, **place, seed=1),
    "removed": remove,
}
FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
PIECES = ("-frag_duration", "300000")
"""Fragments that do not begin with a keyframe."""
RECORDINGS = {
    **{suffix: (suffix, ()) for suffix in (".mp4", ".mov", ".mkv", ".avi", ".ts", ".mpg")},
    **{suffix: (suffix, ()) for suffix in (".flv", ".wmv")},
    "fragmented.mp4": (".mp4", FRAGMENTED),
    "absolute.mp4": (".mp4", ("-movflags", "+frag_keyframe+empty_moov")),
    "pieces.mp4": (".mp4", ("-movflags", "+empty_moov+default_base_moof", *PIECES)),
}
CHEAP = (
    (".ts", 250, "removed"),
    (".avi", 12, "removed"),
    (".mp4", 250, "noise"),
    ("fragmented.mp4", 12, "removed"),
)


def cases() -> list[object]:
    return [
        pytest.param(name, gop, kind, marks=() if (name, gop, kind) in CHEAP else pytest.mark.slow)
        for name in RECORDINGS
        for gop in GOPS
        for kind in KINDS
    ]


def clock(folder: Path, name: str, gop: int) -> Path:
    suffix, options = RECORDINGS[name]
    codec = [word for word in CODECS[suffix] if word not in ("-g", "12", "25")]
    return record_clock(
        folder / f"clock{suffix}",
        seconds=SECONDS,
        size="64x64",
        filters=",noise=alls=6:allf=t",
        arguments=(*codec, "-g", str(gop), "-sc_threshold", "1000000000", *options),
    )


@pytest.mark.parametrize(("name", "gop", "kind"), cases())
def test_damage_costs_its_stretch_and_shows_no_other_time(
    name: str, gop: int, kind: str, tmp_path: Path
) -> None:
    whole = clock(tmp_path, name, gop)
    data = whole.read_bytes()
    for start in STARTS[:1] if (name, gop, kind) in CHEAP else STARTS:
        whole.write_bytes(data)
        video = KINDS[kind](whole, start=start, end=start + HOLE)
        try:
            stored = stored_of(video)
        except BadVideoError:
            # The index of an mp4 is behind its pictures, where its header does not point any more.
            assert (kind, name) in (("removed", ".mp4"), ("removed", ".mov"))
            return

        # Fragments with absolute places point to others, as the index of an mp4 does.
        if (kind, name) == ("removed", "absolute.mp4"):
            assert stored.facts.is_cut
            assert stored.late_s.max() < LATE_S
            continue

        # A picture is held for a second at most.
        assert stored.late_s.max() < LATE_S
        assert stored.late_s.min() > -HELD_S
        missing_s = sum(missing.end_s - missing.start_s for missing in stored.missing)
        assert stored.seconds + missing_s == pytest.approx(SECONDS, abs=0.5)
        assert missing_s < HOLE * SECONDS + gop / 25 + 2

        times = np.arange(0, SECONDS, 0.25)
        shown = np.array(frames_at(video, times))
        late = (shown - times)[~np.isnan(shown)]
        assert late.max() < LATE_S
        assert late.min() > -HELD_S
        left_out = times[np.isnan(shown)]
        assert len(left_out) / 4 == pytest.approx(missing_s, abs=0.6)
        assert all(
            any(gap.start_s - 0.3 < time < gap.end_s + 0.3 for gap in stored.missing)
            for time in left_out
        )
