"""The common approach: a Dataset that decodes the original recordings with decord."""

import random
from collections.abc import Iterator
from pathlib import Path

import decord
import torch
from contender import CROP_PX, FRAMES, HEIGHT, PREFETCH, SAMPLE_FPS, WIDTH, Job, endless, main
from torch.utils.data import DataLoader, Dataset

decord.bridge.set_bridge("torch")


class Originals(Dataset[torch.Tensor]):
    """Random clips of recordings."""

    def __init__(self, folder: Path, length: int = 10_000) -> None:
        self.paths = sorted(folder.glob("*.mp4"))
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        path = self.paths[index % len(self.paths)]
        reader = decord.VideoReader(str(path), width=WIDTH, height=HEIGHT, num_threads=1)
        stride = reader.get_avg_fps() / SAMPLE_FPS
        start = random.uniform(0, len(reader) - 1 - (FRAMES - 1) * stride)
        frames = reader.get_batch([int(start + frame * stride) for frame in range(FRAMES)])
        top, left = random.randint(0, HEIGHT - CROP_PX), random.randint(0, WIDTH - CROP_PX)
        return frames[:, top : top + CROP_PX, left : left + CROP_PX].permute(0, 3, 1, 2)


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Shuffled batches."""
    loader = DataLoader(
        Originals(Path(job.corpus) / "originals" / job.form),
        batch_size=job.batch,
        shuffle=True,
        num_workers=job.workers,
        prefetch_factor=PREFETCH,
        persistent_workers=True,
    )
    return endless(lambda: iter(loader))


if __name__ == "__main__":
    main(open_batches)
