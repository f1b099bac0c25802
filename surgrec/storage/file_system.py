"""Kinds of file systems: which folders are on the network."""

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "wekafs")
)


def file_system(folder: Path) -> str:
    """Return the kind of file system of a folder, such as `ext4` or `nfs4`.

    A folder that does not exist has that of its nearest parent.
    """
    mounts = []
    if _MOUNTS.is_file():
        lines = _MOUNTS.read_text(errors="replace").splitlines()
        mounts = [line.split(" ") for line in lines if line.count(" ") >= 3]
    places = {mount[1].encode().decode("unicode_escape"): mount[2] for mount in mounts}
    for place in (folder.resolve(), *folder.resolve().parents):
        if str(place) in places:
            return places[str(place)]
    return "unknown file system"


def is_network(kind: str) -> bool:
    """Return whether a kind of file system is on the network, or a program such as sshfs."""
    return kind in _NETWORK or kind.startswith("fuse.")
