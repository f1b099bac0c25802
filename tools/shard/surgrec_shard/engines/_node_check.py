"""What a process of a cluster checks before its first task."""

import functools
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.storage import open_owned
from surgrec_shard.disk import writing_to
from surgrec_shard.encode import EncodeSettings

_MARKER = "seen-by-all-"


@dataclass(frozen=True, kw_only=True)
class NodeCheck:
    """The shared work folder, and the encoder of the build."""

    marker: Path
    """File in the work folder."""
    token: str
    """Its content."""
    encode: EncodeSettings
    digest: str
    """Digest of the settings and of the encoder on the machine that started the build."""


@contextmanager
def marked(work: Path, encode: EncodeSettings) -> Iterator[NodeCheck]:
    """Yield the check of a build, whose marker is in the work folder meanwhile.

    Args:
        work: The shared work folder of the build.
        encode: How clips are stored.

    Raises:
        StorageError: The folder cannot be written.
    """
    token = secrets.token_hex(16)
    marker = work / f"{_MARKER}{token[:8]}"
    with writing_to(work), open_owned(marker, "w") as file:
        file.write(token)
    try:
        yield NodeCheck(marker=marker, token=token, encode=encode, digest=encode.digest())
    finally:
        marker.unlink(missing_ok=True)


@functools.cache
def checked(check: NodeCheck) -> None:
    """Check that this machine shares the work folder and has the encoder of the build.

    Raises:
        SetupError: It does not.
    """
    machine = socket.gethostname()
    try:
        with open_owned(check.marker, "r") as file:
            is_shared = file.read() == check.token
    except OSError:
        is_shared = False
    if not is_shared:
        raise SetupError(
            f"the machine {machine} of the cluster does not see the work folder "
            f"{check.marker.parent} (user {os.getuid()}); give --work a folder that all machines "
            "share under the same path, and run the same user on all of them"
        )
    if check.encode.digest() != check.digest:
        raise SetupError(
            f"the machine {machine} of the cluster has another encoder or another version of "
            "SurgRec than the machine that started the build; install the same versions of "
            "SurgRec and ffmpeg on all machines: a corpus never mixes two"
        )
