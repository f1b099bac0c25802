"""MosaicML Streaming, with the clips as MDS shards, its own loader and state."""

from collections.abc import Iterator

import torch
from contender import PREFETCH, Job, decode, endless, main, stored_clips
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

FOLDER = "mds"


class Clips(StreamingDataset):
    """Decoded clips."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return decode(super().__getitem__(index)["mp4"])


def convert(job: Job) -> None:
    """Write the clips as MDS."""
    with MDSWriter(out=f"{job.corpus}/{FOLDER}", columns={"key": "str", "mp4": "bytes"}) as writer:
        for key, mp4 in stored_clips(job):
            writer.write({"key": key, "mp4": mp4})


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Yield shuffled batches; a resume loads the state of that step."""
    clean_stale_shared_memory()
    location = {"local": f"{job.corpus}/{FOLDER}"}
    if job.s3:
        location = {"remote": job.at(FOLDER), "local": f"{job.scratch}/{FOLDER}"}
    dataset = Clips(
        shuffle=True, batch_size=job.batch, shuffle_seed=0, num_canonical_nodes=1, **location
    )

    loader = StreamingDataLoader(
        dataset,
        batch_size=job.batch,
        num_workers=job.workers,
        prefetch_factor=PREFETCH,
        persistent_workers=True,
        drop_last=True,
    )

    if job.resume_step:
        epoch, sample = divmod(job.resume_step * job.batch, dataset.size)
        state = {
            "epoch": epoch,
            "sample_in_epoch": sample,
            "num_canonical_nodes": 1,
            "shuffle_seed": 0,
            "initial_physical_nodes": 1,
        }
        loader.load_state_dict(state)
    return endless(lambda: iter(loader))


if __name__ == "__main__":
    main(open_batches, convert)
