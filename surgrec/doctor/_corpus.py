"""Checks of a corpus in a folder or an object store: it is there, and its clips decode."""

import importlib.util
import time

import numpy as np

from surgrec.doctor._finding import Finding, fault_of
from surgrec.errors import MachineError, SampleError, SetupError, ShardError, StorageError
from surgrec.shards import Source, open_corpus


def examine_corpus(address: str) -> list[Finding]:
    """Check that a corpus can be read, and that one clip of each source decodes.

    Args:
        address: Folder or `s3://bucket/prefix`.
    """
    what = f"corpus {address}"
    began = time.monotonic()
    try:
        sources = open_corpus(address)
    except (StorageError, ShardError, SetupError) as error:
        return [fault_of(what, error)]

    count = sum(source.index.num_rows for source in sources.values())
    found = f"{count:,} clips, opened in {time.monotonic() - began:.1f} s"
    opened = Finding(what=what, state="good", found=found)
    return [opened, *(_first_clip(source) for source in sources.values() if source.index.num_rows)]


def _first_clip(source: Source) -> Finding:
    """Check that the first clip of a source arrives and decodes."""
    what = f"source {source.name}"
    sample = source.index.sample(0)
    began = time.monotonic()
    try:
        mp4 = source.store.read_range(
            f"{source.name}/{sample.shard}", sample.mp4_offset, sample.mp4_size
        )
        arrived_s = time.monotonic() - began
        found = f"a clip of {len(mp4) / 1e6:.2f} MB came in {arrived_s * 1000:.0f} ms"
        if importlib.util.find_spec("torchcodec") is None:
            return Finding(what=what, state="note", found=f"{found}; torchcodec is not installed")

        from surgrec.clips import central_crop, decode_clip

        clip = sample.clip
        whole = central_crop(clip.height, clip.width)
        decode_clip(mp4, np.zeros(1), whole, num_frames=clip.num_frames, key=sample.key)
    except (StorageError, SampleError, SetupError, MachineError) as error:
        return fault_of(what, error)
    return Finding(what=what, state="good", found=f"{found}, and decodes")
