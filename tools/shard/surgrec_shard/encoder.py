"""The encoder: the versions on which encoded bytes depend."""

import functools
import re
import subprocess

from surgrec.errors import SetupError
from surgrec.recordings import find_program


@functools.cache
def encoder_versions() -> dict[str, str]:
    """Return the versions of ffmpeg and of its x264, on which encoded bytes depend.

    Raises:
        SetupError: ffmpeg is not installed, or was built without x264.
    """
    program = find_program("ffmpeg")
    banner = subprocess.run(
        [program, "-version"], capture_output=True, text=True, check=True
    ).stdout
    ffmpeg = re.search(r"ffmpeg version (\S+)", banner)

    # x264 writes its version into the stream: encode one frame and search for it.
    frame = ["-f", "lavfi", "-i", "color=size=64x64:duration=0.04:rate=25"]
    stream = subprocess.run(
        [program, "-v", "error", "-nostdin", *frame, "-c:v", "libx264", "-f", "h264", "-"],
        capture_output=True,
        check=False,
    ).stdout
    x264 = re.search(rb"x264 - core (\d+( r\d+ \w+)?)", stream)

    if ffmpeg is None or x264 is None:
        raise SetupError(
            f"{program} cannot encode with libx264; install an ffmpeg that includes it"
        )
    return {"ffmpeg": ffmpeg.group(1), "x264": x264.group(1).decode("ascii")}
