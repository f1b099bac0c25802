"""Recordings with random damage are refused in a sentence, or what they lose is told."""

import random
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import BadVideoError, FfmpegError
from tests.support.clocks import CODECS, record_clock, stored_of

SECONDS = 6.0
PER_CONTAINER = 26
"""Of 12 containers: 312 recordings."""
CONTAINERS = sorted(CODECS)[:12]
LATE_S, LOST_S = 1.0, 1.0
LENGTHLESS = (".ts", ".m2ts", ".mpg", ".ogv")
"""Containers that do not say how long they are: a cut one is a shorter one."""
KINDS = ("flip", "cut", "splice", "zero", "noise", "repeat")

pytestmark = pytest.mark.slow


def mutate(data: bytes, kind: str, random_numbers: random.Random) -> bytes:
    """Return a damaged copy of a file."""
    size = len(data)
    start = random_numbers.randrange(size)
    length = random_numbers.randrange(1, max(2, size // random_numbers.choice((4, 20, 200))))
    end = min(size, start + length)
    if kind == "flip":
        damaged = bytearray(data)
        for _ in range(random_numbers.choice((1, 10, 100))):
            damaged[random_numbers.randrange(size)] ^= 1 << random_numbers.randrange(8)
        return bytes(damaged)
    replaced = {
        "cut": data[:start],
        "splice": data[:start] + data[end:],
        "zero": data[:start] + bytes(end - start) + data[end:],
        "noise": data[:start] + random_numbers.randbytes(end - start) + data[end:],
        "repeat": data[:end] + data[start:],
    }
    return replaced[kind]


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_what_a_damaged_recording_loses_is_told(suffix: str, tmp_path: Path) -> None:
    whole = record_clock(tmp_path / f"whole{suffix}", seconds=SECONDS).read_bytes()
    silent = []
    for number in range(PER_CONTAINER):
        random_numbers = random.Random(f"{suffix} {number}")
        kind = KINDS[number % len(KINDS)]
        video = tmp_path / f"{number}-{kind}{suffix}"
        video.write_bytes(mutate(whole, kind, random_numbers))
        try:
            stored = stored_of(video)
        except (BadVideoError, FfmpegError):
            continue

        facts = stored.facts
        is_told = stored.missing or facts.is_cut or facts.notes or stored.complaints
        if kind == "cut" and suffix in LENGTHLESS:
            is_told = True
        wrong_s = float((np.abs(stored.late_s) > LATE_S).sum()) / 8
        lost_s = SECONDS - stored.seconds
        if (lost_s > LOST_S or wrong_s > LOST_S) and not is_told:
            silent.append(f"{video.name}: {lost_s:.1f} s lost, {wrong_s:.1f} s wrong")
    assert not silent
