"""A hand-written Dataset over MP4 files: torchcodec and a shuffling DataLoader.

It resumes by decoding everything again.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from contender import PREFETCH, Job, decode, endless, main, skipped
from torch.utils.data import DataLoader, Dataset


class Clips(Dataset[torch.Tensor]):
    """Every stored clip, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.mp4"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return decode(self.paths[index].read_bytes())


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Yield shuffled batches; a resume decodes and drops the earlier ones."""
    loader = DataLoader(
        Clips(Path(job.corpus) / "files"),
        batch_size=job.batch,
        shuffle=True,
        num_workers=job.workers,
        prefetch_factor=PREFETCH,
        drop_last=True,
        persistent_workers=True,
    )
    return skipped(endless(lambda: iter(loader)), job.resume_step)


if __name__ == "__main__":
    main(open_batches)
