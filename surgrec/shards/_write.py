"""The shard writer: samples in, one closed shard and its index rows out.

It writes to a local path; the caller uploads the file.
"""

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from surgrec.annotations import Label
from surgrec.shards.frame_clock import read_frame_clock
from surgrec.shards.layout import Clip, Sample, check_key, checksum, clip_json
from surgrec.storage import file_sha256

_HEADER_BYTES = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One closed shard, as listed in `corpus.json`."""

    name: str
    samples: int
    bytes: int
    sha256: str


class ShardWriter:
    """A writer of one tar shard and its `.idx`.

    The bytes depend only on the samples and their order. The tar is plain USTAR with regular files
    only, without times and owners. `<key>.json` and `<key>.mp4` of a sample are adjacent. If the
    `with` block ends with an error, the caller removes the incomplete file.

    Args:
        path: The local file. Its name is the name of the shard, as `shard_name` returns it.

    Example:
        >>> with ShardWriter(folder / shard_name("cholec80", "train", 0, 0)) as writer:
        ...     writer.add(clip, labels, mp4)
        ...     shard = writer.close()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples: list[Sample] = []
        self._file = path.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def num_bytes(self) -> int:
        """Size so far, without the closing zero blocks, bytes."""
        return int(self._tar.offset)

    def add(self, clip: Clip, labels: Iterable[Label], mp4: bytes) -> None:
        """Append one sample.

        Raises:
            ShardError: The key of the clip is invalid.
        """
        key = check_key(clip.key)

        offset = self._tar.offset
        self._add_member(f"{key}.json", clip_json(clip, labels))
        mp4_offset = self._tar.offset + _HEADER_BYTES
        self._add_member(f"{key}.mp4", mp4)

        clock = read_frame_clock(mp4, clip.num_frames)
        self.samples.append(
            Sample(
                key=key,
                clip=clip,
                shard=self.path.name,
                offset=offset,
                size=self._tar.offset - offset,
                mp4_offset=mp4_offset,
                mp4_size=len(mp4),
                sha256=hashlib.sha256(mp4).hexdigest(),
                xxh3_64=checksum(mp4),
                timescale=clock.timescale if clock else None,
                frame_ticks=clock.ticks if clock else None,
            )
        )

    def close(self) -> Shard:
        """Close the tar, write its `.idx`, and return the entry of the shard."""
        end = self._tar.offset
        self._tar.close()
        self._file.close()

        offsets = [*(sample.offset for sample in self.samples), end]
        idx_path(self.path).write_bytes(struct.pack(f"<{len(offsets)}Q", *offsets))
        return Shard(
            name=self.path.name,
            samples=len(self.samples),
            bytes=self.path.stat().st_size,
            sha256=file_sha256(self.path),
        )

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _add_member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        member.mode = 0o444
        self._tar.addfile(member, io.BytesIO(data))


def idx_path(shard: Path) -> Path:
    """Return the path of the offset file beside a shard.

    It holds little-endian uint64 numbers: the offset of each sample's first header, then the end of
    the last sample.
    """
    return shard.with_name(f"{shard.name}.idx")
