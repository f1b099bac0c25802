"""Hashes of the seconds of a video: signs of low frequencies of the mean picture.

Like the perceptual hashes pHash and PDQ (Facebook, 2019), a hash consists of bits of a discrete
cosine transform (DCT). It differs in three ways that surgical video needs. It covers the lit region
without black corners, which all endoscopes share. It averages 3 s, so that seconds of a shifted or
faster copy match. It has no median, so that the hash of the mirrored picture follows from it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt64

from surgrec.duplicates._region import Region, Window, picture_region

HASH_VERSION = 6
"""Raise it with every change of a hash: here, in `_region.py`, or of the pictures per second."""
HEIGHT_PX = 96
"""Height of the pictures that are hashed."""

_SIDE = 16
"""Frequencies of each axis. Without the mean, 255 bits remain of 256."""
_HALF_S = 1.5
"""A picture counts for the seconds that are nearer than this, the less the farther."""
_MIN_WEIGHT = 0.5
"""A second without a picture of this weight is in a gap."""
_MIN_DETAIL = 1.0
"""Gray levels of detail below which a picture is black, constant or blurred."""
_COARSE = 3
"""Sum of the frequencies up to which a picture has no detail: the shading of any lamp."""
_CHUNK = 256
_STRIDE = 97
"""Neighboring frequencies get distant bits: 97 and 255 have no common divisor."""

Hashes = UInt64[np.ndarray, "_ 4"]
Windows = UInt64[np.ndarray, "n _ 4"]

WINDOWS = (
    Window(),
    *(Window(height=share, width=share) for share in (0.95, 0.9, 0.8)),
    *(Window(y=side, height=0.9) for side in (-1.0, 1.0)),
    *(Window(x=side, width=0.9) for side in (-1.0, 1.0)),
)
"""The windows that are hashed: a copy may be cropped. The first is the whole region."""


@dataclass(frozen=True, kw_only=True)
class VideoHashes:
    """The hashes of one video, one per second that shows something."""

    seconds: Int64[np.ndarray, " n"]
    """Seconds of the video, ascending."""
    hashes: Windows
    """256 bits for each window of a picture; see `WINDOWS`. The first window is all of it."""


def hash_video(
    frames: UInt8[np.ndarray, "n h w"], times_s: Float64[np.ndarray, " n"]
) -> VideoHashes:
    """Return the hashes of one video. Black, constant and blurred seconds have none.

    Args:
        frames: Gray pictures, 6 to 12 per second; may be a memory map. Fewer would be other ones
            in a shifted copy of a fast scene.
        times_s: Their times, seconds of the video, ascending.
    """
    first, last = (int(times_s[0]), int(times_s[-1])) if len(times_s) else (0, -1)
    seconds = np.arange(first, last + 1, dtype=np.int64)
    region = picture_region(frames) if len(frames) else None
    hashes = np.zeros((len(seconds), len(WINDOWS), 4), dtype=np.uint64)
    is_kept = np.zeros(len(seconds), dtype=bool)

    for start in range(0, len(seconds) if region else 0, _CHUNK):
        chunk = seconds[start : start + _CHUNK]
        near = slice(
            *np.searchsorted(times_s, [chunk[0] - _HALF_S, chunk[-1] + _HALF_S], side="left")
        )
        assert region is not None
        frequencies = _frequencies(frames[near], region)
        weights = 1 - np.abs(chunk[:, None] - times_s[near][None]) / _HALF_S
        weights = np.maximum(weights, 0).astype(np.float32)
        totals = weights.sum(axis=1)
        means = np.tensordot(weights, frequencies, axes=1)
        means /= np.maximum(totals, 1e-6)[:, None, None, None]
        hashes[start : start + _CHUNK] = _packed(means)
        is_shown = weights.max(axis=1, initial=0) >= _MIN_WEIGHT
        is_kept[start : start + _CHUNK] = is_shown & (_detail(means[:, 0]) >= _MIN_DETAIL)
    return VideoHashes(seconds=seconds[is_kept], hashes=hashes[is_kept])


def mirrored(hashes: Hashes) -> Hashes:
    """Return the hashes of the pictures with left and right exchanged."""
    flipped: Hashes = hashes ^ _MIRROR[None]
    return flipped


def distances(hashes: Hashes, others: Hashes) -> Int64[np.ndarray, " n"]:
    """Return the number of different bits, 0 to 255. Unrelated pictures differ in about 120."""
    bits: Int64[np.ndarray, " n"] = np.bitwise_count(hashes ^ others).sum(axis=1, dtype=np.int64)
    return bits


def _frequencies(
    frames: UInt8[np.ndarray, "n h w"], region: Region
) -> Float32[np.ndarray, "n windows u v"]:
    """Return the DCT of the windows of each picture, gray levels."""
    pixels = frames.astype(np.float32)
    parts = []
    for window in WINDOWS:
        part = region.part(window)
        vertical = _cosines(frames.shape[1], part.center_y, part.half_height)
        horizontal = _cosines(frames.shape[2], part.center_x, part.half_width)
        parts.append(vertical @ pixels @ horizontal.T)
    return np.stack(parts, axis=1)


def _cosines(size: int, center: float, half: float) -> Float32[np.ndarray, "u size"]:
    """Return the cosines over a part of an axis; they are 0 outside of it."""
    pixel = np.arange(size)
    inside = np.minimum(pixel + 1, center + half) - np.maximum(pixel, center - half)
    phase = (pixel + 0.5 - (center - half)) / (2 * half)
    waves = np.cos(np.pi * np.outer(np.arange(_SIDE), phase))
    waves *= np.clip(inside, 0, 1) / (2 * half)
    return np.asarray(waves, dtype=np.float32)


def _detail(frequencies: Float32[np.ndarray, "n u v"]) -> Float64[np.ndarray, " n"]:
    """Return the contrast of a picture beyond its coarse shading, gray levels."""
    fine = frequencies[:, _IS_FINE].astype(np.float64)
    return np.asarray(np.sqrt((fine**2).sum(axis=1)))


def _packed(frequencies: Float32[np.ndarray, "n windows u v"]) -> Windows:
    bits = np.zeros((*frequencies.shape[:2], _SIDE * _SIDE), dtype=bool)
    bits[:, :, _POSITION] = frequencies[:, :, _U, _V] > 0
    return np.packbits(bits, axis=2).view(np.uint64)


def _ordered_frequencies() -> Int64[np.ndarray, "2 255"]:
    """Return the frequencies of both axes, the lowest first, without the mean."""
    pairs = [(u, v) for u in range(_SIDE) for v in range(_SIDE) if u + v]
    return np.array(sorted(pairs, key=lambda pair: (sum(pair), max(pair))), dtype=np.int64).T


_U, _V = _ordered_frequencies()
_POSITION = np.arange(_SIDE * _SIDE - 1) * _STRIDE % (_SIDE * _SIDE - 1)
_IS_FINE: Bool[np.ndarray, "u v"] = np.add.outer(np.arange(_SIDE), np.arange(_SIDE)) > _COARSE


def _mirror() -> UInt64[np.ndarray, "4"]:
    """Return the bits of odd horizontal frequencies, which change their sign."""
    bits = np.zeros(_SIDE * _SIDE, dtype=bool)
    bits[_POSITION] = _V % 2 == 1
    return np.packbits(bits).view(np.uint64)


_MIRROR = _mirror()
