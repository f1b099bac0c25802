"""Samples in, one closed shard and its rows out. Writes to a local path; the caller publishes it."""

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from surgrec.manifest import Label
from surgrec.shards.layout import Clip, Sample, check_key, clip_json, clip_key
from surgrec.storage import file_sha256

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One closed shard, as `corpus.json` lists it."""

    name: str
    samples: int
    bytes: int
    sha256: str


class ShardWriter:
    """Writes one tar shard and its `.idx`, byte for byte the same for the same samples in the same order.

    Plain USTAR, regular files only, no times, no owners; `<key>.json` and `<key>.mp4` side by side.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.samples: list[Sample] = []
        self._file = path.open("wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed below

    def add(self, clip: Clip, labels: Iterable[Label], mp4: bytes) -> None:
        """Appends one sample."""
        key = check_key(clip_key(clip))
        offset = self._tar.offset
        self._add_member(f"{key}.json", clip_json(clip, labels))
        mp4_offset = self._tar.offset + _BLOCK
        self._add_member(f"{key}.mp4", mp4)
        self.samples.append(
            Sample(
                key=key,
                clip=clip,
                shard=self.name,
                offset=offset,
                size=self._tar.offset - offset,
                mp4_offset=mp4_offset,
                mp4_size=len(mp4),
                sha256=hashlib.sha256(mp4).hexdigest(),
            )
        )

    @property
    def num_bytes(self) -> int:
        """Size so far, without the closing zero blocks."""
        return int(self._tar.offset)

    def close(self) -> Shard:
        """Closes the tar, writes `<path>.idx`, and gives the shard's entry."""
        end = self._tar.offset
        self._tar.close()
        self._file.close()
        offsets = [*(sample.offset for sample in self.samples), end]
        idx_path(self.path).write_bytes(struct.pack(f"<{len(offsets)}Q", *offsets))
        size, digest = self.path.stat().st_size, file_sha256(self.path)
        return Shard(name=self.name, samples=len(self.samples), bytes=size, sha256=digest)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (
            not self._file.closed
        ):  # left by an error: the half-written file is the caller's to remove
            self._file.close()

    def _add_member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o444
        self._tar.addfile(member, io.BytesIO(data))


def idx_path(shard: Path) -> Path:
    """The offset file beside a shard: little-endian uint64 of each sample's first header, then the end of the last."""
    return shard.with_name(shard.name + ".idx")
