"""Fragments of an MP4 file in a wrong order are read in the order of their times, or it is told."""

import random
from pathlib import Path

import pytest

from surgrec.mp4_boxes import boxes
from tests.support.clocks import X264, record_clock, stored_of

SECONDS = 8.0
LATE_S = 0.15
SOUND = ("-f", "lavfi", "-t", str(SECONDS), "-i", "sine")
KINDS = {
    "plain": "+frag_keyframe+empty_moov+default_base_moof",
    "absolute": "+frag_keyframe+empty_moov",
    "dash": "+dash+frag_keyframe+empty_moov+default_base_moof",
    "indexed": "+dash+frag_keyframe+empty_moov+default_base_moof+global_sidx",
}


def header_and_fragments(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the bytes before the first fragment, and those of each fragment."""
    header, fragments = b"", list[bytes]()
    at = 0
    for kind, body in boxes(data):
        box = data[at : at + 8 + len(body)]
        at += len(box)
        if kind == b"moof":
            fragments.append(box)
        elif fragments and kind != b"mfra":
            fragments[-1] += box
        elif not fragments:
            header += box
    return header, fragments


def fragmented(folder: Path, flags: str, *sound: str) -> tuple[bytes, list[bytes]]:
    codec = (*X264, *(("-c:a", "aac") if sound else ()), "-movflags", flags)
    path = record_clock(folder / "a.mp4", seconds=SECONDS, inputs=sound, arguments=codec)
    return header_and_fragments(path.read_bytes())


def write(path: Path, header: bytes, fragments: list[bytes]) -> Path:
    path.write_bytes(header + b"".join(fragments))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_fragments_are_read_in_the_order_of_their_times(kind: str, tmp_path: Path) -> None:
    header, fragments = fragmented(tmp_path, KINDS[kind])
    random.Random(0).shuffle(fragments)
    stored = stored_of(write(tmp_path / "b.mp4", header, fragments))
    assert stored.largest_error_s < LATE_S
    assert stored.seconds == pytest.approx(SECONDS, abs=0.1)
    assert "fragments of the file do not lie in the order of their times" in stored.facts.notes[0]
    assert not stored.facts.unread


def test_fragments_of_pictures_and_sound_are_sorted_too(tmp_path: Path) -> None:
    header, fragments = fragmented(tmp_path, KINDS["plain"], *SOUND)
    stored = stored_of(write(tmp_path / "b.mp4", header, fragments[3:] + fragments[:3]))
    assert stored.largest_error_s < LATE_S
    assert stored.seconds == pytest.approx(SECONDS, abs=0.1)


def test_a_damaged_header_between_unordered_fragments_costs_its_stretch(tmp_path: Path) -> None:
    header, fragments = fragmented(tmp_path, KINDS["plain"])
    fragments[5] = bytes(8) + fragments[5][8:]
    order = [0, 1, 2, 4, 3, *range(5, len(fragments))]
    stored = stored_of(write(tmp_path / "b.mp4", header, [fragments[n] for n in order]))
    assert stored.largest_error_s < LATE_S
    assert [(round(gap.start_s), round(gap.end_s)) for gap in stored.missing] == [(5, 6)]


def test_fragments_of_two_recordings_are_not_mixed_but_told(tmp_path: Path) -> None:
    header, fragments = fragmented(tmp_path, KINDS["plain"])
    facts = stored_of(write(tmp_path / "b.mp4", header, fragments[:5] + fragments[:3])).facts
    assert "cannot be sorted" in facts.unread[0]
