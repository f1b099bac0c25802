"""LitData, with the clips as its chunks, its own loader and state."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from contender import PREFETCH, Job, decode, endless, main, stored_clips
from litdata import StreamingDataLoader, StreamingDataset
from litdata.streaming import downloader
from litdata.streaming.writer import BinaryWriter

FOLDER = "litdata"


class Clips(StreamingDataset):
    """Decoded clips."""

    def __getitem__(self, index: Any) -> torch.Tensor:
        return decode(bytes(super().__getitem__(index)["mp4"]))


def convert(job: Job) -> None:
    """Write the clips as chunks, as `litdata.optimize` with one worker does."""
    folder = Path(job.corpus) / FOLDER
    folder.mkdir(exist_ok=True)
    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, (key, mp4) in enumerate(stored_clips(job)):
        writer.add_item(number, {"key": key, "mp4": mp4})
    writer.done()
    writer.merge(num_workers=1)


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Yield shuffled batches; a resume loads a state moved on to that step."""
    loader = _loader(job)
    if job.resume_step:
        loader.load_state_dict(STATE)
    return endless(lambda: iter(loader))


def _loader(job: Job) -> StreamingDataLoader:
    options: dict[str, Any] = {}
    if job.s3:
        downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = (
            True  # or it reads from https endpoints only
        )
        options = {
            "cache_dir": f"{job.scratch}/litdata",
            "storage_options": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
        }
    dataset = Clips(job.at(FOLDER), shuffle=True, drop_last=True, seed=0, **options)
    return StreamingDataLoader(
        dataset,
        batch_size=job.batch,
        num_workers=job.workers,
        prefetch_factor=PREFETCH,
        drop_last=True,
        persistent_workers=True,
    )


STATE: dict[str, Any] = {}


def _prepare_state(job: Job) -> None:
    """Make the state that the loader would have saved at that step."""
    loader = _loader(job)
    next(iter(loader))
    STATE.update(loader.state_dict())
    epoch, sample = divmod(job.resume_step * job.batch, job.clips)
    STATE["current_epoch"] = STATE["dataset"]["current_epoch"] = epoch + 1
    STATE["num_samples_yielded"] = STATE["dataset"]["num_samples_yielded"] = STATE["dataset"][
        "sample_in_epoch"
    ] = sample


if __name__ == "__main__":
    main(open_batches, convert, before=_prepare_state)
