"""The checks of a process of a cluster before its first task."""

import functools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.machines import SharedFolder, shared_folder
from surgrec_shard.encode import EncodeSettings


@dataclass(frozen=True, kw_only=True)
class NodeCheck:
    """The shared work folder, and the encoder of the build."""

    work: SharedFolder
    """The work folder."""
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
    with shared_folder(work, kind="work folder", option="--work") as shared:
        yield NodeCheck(work=shared, encode=encode, digest=encode.digest())


@functools.cache
def checked(check: NodeCheck) -> None:
    """Check that this machine shares the work folder and has the encoder of the build.

    Raises:
        SetupError: It does not.
    """
    check.work.require()
    if check.encode.digest() != check.digest:
        raise SetupError(
            f"the machine {socket.gethostname()} of the cluster has another encoder or another "
            "version of SurgRec than the machine that started the build; install the same versions "
            "of SurgRec and ffmpeg on all machines: a corpus never mixes two"
        )
