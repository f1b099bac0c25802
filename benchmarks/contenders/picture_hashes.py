"""Hashes of single pictures, as pdqhash and imagehash make them: one per second of video.

It reads the paths of videos from its input, and writes NAME.npz for each into a folder:

    python picture_hashes.py FOLDER
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import imagehash
import numpy as np
import pdqhash
from PIL import Image


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        video = Path(line.strip())
        path = folder / f"{video.stem}.npz"
        if not path.exists():
            pictures = list(_pictures(video))
            mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
            hashes = {
                f"{name}{suffix}": np.packbits([make(each) for each in shown], axis=1)
                for name, make in (("pdqhash", _pdq), ("imagehash", _phash))
                for suffix, shown in (("", pictures), ("-mirrored", mirrored))
            }
            np.savez(path, **hashes)


def _pictures(video: Path) -> Iterator[np.ndarray]:
    """Yield a picture of each second, RGB."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-of", "csv=p=0"]
    size = subprocess.check_output(
        [*probe, "-show_entries", "stream=width,height", str(video)], text=True
    )
    width, height = (int(number) for number in size.split(","))
    decode = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(video), "-vf", "fps=1"]
    data = subprocess.check_output([*decode, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    yield from np.frombuffer(data, dtype=np.uint8).reshape(-1, height, width, 3)


def _pdq(picture: np.ndarray) -> np.ndarray:
    bits, _ = pdqhash.compute(picture)
    return np.asarray(bits, dtype=bool)


def _phash(picture: np.ndarray) -> np.ndarray:
    """Return 256 bits."""
    return imagehash.phash(Image.fromarray(picture), hash_size=16).hash.reshape(-1)


if __name__ == "__main__":
    main()
