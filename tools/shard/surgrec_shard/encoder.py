"""The identity of the encoder, which decides the bytes of clips: a corpus never mixes two."""

import functools
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.recordings.process import find_program, starting
from surgrec_shard.disk import writing_to

_LIBRARIES = ("libavcodec", "libavfilter", "libswscale")
"""They decode, filter and scale. A fix of the package that keeps their versions keeps the bytes."""
# fmt: off
_PROBE = (
    "-f", "lavfi", "-i", "testsrc2=size=176x144:rate=25:duration=0.6",
    "-vf", "yadif,fps=8.0,scale=96:78:flags=bicubic+accurate_rnd+bitexact,setsar=1",
    "-pix_fmt", "yuv420p", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1",
    "-c:v", "libx264", "-preset", "medium", "-crf", "23", "-tune", "fastdecode", "-threads", "1",
    "-x264-params", "cpu-independent=1", "-g", "4", "-f", "mp4", "-movflags", "+faststart",
)
# fmt: on


@functools.cache
def encoder_versions() -> dict[str, str]:
    """Return the versions of libraries that decide encoded bytes, and the digest of a fixed clip.

    The version of the ffmpeg package is not among them: a distribution's security update changes
    it, but rarely the bytes.

    Raises:
        SetupError: ffmpeg is not installed, or was built without x264.
        StorageError: The temporary folder cannot be written.
    """
    program = find_program("ffmpeg")
    with starting(program):
        banner = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    if banner.returncode:
        reason = " ".join(banner.stderr.split())[:300] or f"exit status {banner.returncode}"
        raise SetupError(
            f"{program} does not run ({reason}); install ffmpeg again, or allow it more memory"
        )
    versions = {name: _version(banner.stdout, name) for name in _LIBRARIES}

    temporary = Path(tempfile.gettempdir())
    with (
        writing_to(temporary, "set TMPDIR to another disk"),
        tempfile.TemporaryDirectory() as folder,
    ):
        clip = Path(folder) / "probe.mp4"
        command = [program, "-v", "error", "-nostdin", *_PROBE, "probe.mp4"]
        with starting(program):
            subprocess.run(command, cwd=folder, capture_output=True, check=False)
        data = clip.read_bytes() if clip.is_file() else b""

    # x264 writes its version into the stream.
    x264 = re.search(rb"x264 - core (\d+( r\d+ \w+)?)", data)
    if x264 is None:
        raise SetupError(
            f"{program} cannot encode with libx264; install an ffmpeg that includes it"
        )
    digest = hashlib.sha256(data).hexdigest()[:12]
    return {"x264": x264.group(1).decode("ascii"), **versions, "probe": digest}


def _version(banner: str, library: str) -> str:
    """Return the version of a library in the output of `ffmpeg -version`: `59.37.100`."""
    found = re.search(rf"{library} +(?:[\d. ]+/ *)?([\d. ]+\d)", banner)
    return found.group(1).replace(" ", "") if found else "unknown"
