"""The scan of pictures, from three consecutive ones."""

from itertools import pairwise

import numpy as np
import pytest

from surgrec.recordings._fields import (
    Gray,
    Scan,
    Stretch,
    common_scan,
    may_be_interlaced,
    scan_of,
    stretches,
)

SIDE = 80
SPEEDS = (0.5, 1.0, 3.0, 9.0)
"""Columns and lines per picture."""


def moment(time: float, speed: float, noise: float) -> Gray:
    """Return what a camera sees at a time that is counted in pictures: blobs that move."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    columns = columns + speed * time
    rows = rows + 0.3 * speed * time
    light = np.sin(columns / 5) * np.cos(rows / 7) + np.sin((columns + 2 * rows) / 3)
    grain = np.random.default_rng(round(1000 * time)).normal(0, noise, light.shape)
    return np.clip(128 + 50 * light + grain, 0, 255).astype(np.int16)


def filmed(
    scan: Scan, speed: float, noise: float = 3.0, count: int = 8, start: float = 0.0
) -> list[Gray]:
    """Return consecutive pictures of a camera."""
    pictures = []
    for number in range(count):
        first, second = (moment(start + number + half, speed, noise) for half in (0.0, 0.5))
        top, bottom = {
            "progressive": (first, first),
            "tff": (first, second),
            "bff": (second, first),
        }[scan]
        picture = top.copy()
        picture[1::2] = bottom[1::2]
        pictures.append(picture)
    return pictures


def scans_of(pictures: list[Gray]) -> list[Scan | None]:
    return [
        scan_of(before, picture, after)
        for before, picture, after in zip(pictures, pictures[1:], pictures[2:], strict=False)
    ]


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("scan", ["progressive", "tff", "bff"])
def test_pictures_in_motion_tell_their_scan(scan: Scan, speed: float) -> None:
    found = scans_of(filmed(scan, speed))
    assert found.count(scan) >= 5
    assert set(found) <= {scan, None}


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_noise_and_stillness_tell_no_scan(noise: float) -> None:
    lines = np.zeros((SIDE, SIDE), np.int16)
    lines[::2] = 200
    still = [
        np.clip(lines + np.random.default_rng(n).normal(0, noise, lines.shape), 0, 255)
        for n in range(40)
    ]
    scans = scans_of([picture.astype(np.int16) for picture in still])
    assert common_scan(scans) is None


def test_film_pulled_down_to_fields_is_interlaced() -> None:
    film = [moment(number, 2.0, 1.0) for number in range(12)]
    fields = [film[n] for n in range(12) for _ in range(2 + n % 2)]
    pictures = []
    for top, bottom in list(pairwise(fields))[::2]:
        picture = top.copy()
        picture[1::2] = bottom[1::2]
        pictures.append(picture)
    assert common_scan(scans_of(pictures)) == "tff"


def test_fields_in_an_unclear_order_are_fields() -> None:
    scans: list[Scan | None] = [None, *["tff"] * 6, *["bff"] * 4, "progressive", None]
    assert common_scan(scans) is None
    assert may_be_interlaced(scans)
    assert not may_be_interlaced([None, *["progressive"] * 6, *["bff"] * 4])


def test_stretches_begin_where_the_scan_changes() -> None:
    scans: list[Scan | None] = [None, *["progressive"] * 40, None, None, *["tff"] * 30, None]
    scans += ["bff"] * 20
    scans[20], scans[50] = "tff", "progressive"  # single pictures contradict
    assert stretches(scans, most=9) == (
        Stretch(0, "progressive"),
        Stretch(41, "tff"),
        Stretch(73, "bff"),
    )
    assert len(stretches(scans * 30, most=9)) <= 9
