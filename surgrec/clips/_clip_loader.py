"""`load_clips`: a corpus to batches in one call, for any training loop."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.utils.data import IterableDataset

from surgrec.clips._batch import ClipBatch, Quarantined, to_model_input
from surgrec.clips._dataset import ClipDataset
from surgrec.clips._loader import StepSampler, clip_batches, second_division
from surgrec.clips._loader_config import LoaderConfig
from surgrec.clips._sampling import ClipSampling
from surgrec.clips.augment import AugmentConfig
from surgrec.config_files import read_config
from surgrec.config_values import from_plain
from surgrec.errors import ConfigError
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream, comparable_order

_ENDLESS = 10**9
"""Last step of a loader without `steps`."""


def load_clips(
    corpus: str | Path | Sequence[str | Path],
    *,
    mixture: Mixture | Mapping[str, Any] | str | Path | None = None,
    num_frames: int = 16,
    fps: float = 4.0,
    allow_repeated_frames: bool = False,
    join_clips: bool = False,
    crop_px: int = 224,
    batch_size: int = 8,
    steps: int | None = None,
    views: int = 1,
    augment: AugmentConfig = AugmentConfig(),
    seed: int = 0,
    num_workers: int | None = None,
    loader: LoaderConfig = LoaderConfig(),
    device: str | torch.device = "cpu",
    rank: int | None = None,
    world_size: int | None = None,
) -> "ClipLoader":
    """Open a corpus for training and return an iterable of batches.

    The order is the library's exact stream: it depends on the corpus, the mixture and the seed,
    never on workers or ranks. Each rank of a distributed job yields its own share of every global
    batch.

    Each batch is a dict:

    - `video`: float32 `[batch_size * views, 3, num_frames, crop_px, crop_px]`, normalized.
    - `key` and `source`: a list of str, one entry per clip: the sample's key and its source.
    - `position`: an int64 tensor, one entry per clip: the sample's position in the stream.

    The views of a sample follow each other.

    Args:
        corpus: Address of a corpus, local or `s3://`, or several addresses.
        mixture: Shares of domains and sources, as a `Mixture`, a dict of its fields or a YAML file.
            None uses the defaults of `Mixture`. `max_repeats` has no effect: the loader does not
            know the length of the training.
        num_frames: Frames per clip.
        fps: Frames per second of video.
        allow_repeated_frames: Also draw clips that store fewer frames per second. Their frames
            repeat.
        join_clips: Also draw clips that are shorter than a training clip: it then continues in the
            adjacent stored clips of the video.
        crop_px: Height and width of the clips, pixels.
        batch_size: Samples per batch and rank.
        steps: Batches per pass; each pass continues the stream. None makes a single, endless pass.
            Lightning needs `steps` to resume exactly: without, it fetches one batch ahead.
        views: Random views per sample, all of the same moments.
        augment: Distribution of the views.
        seed: Seed of the order and of all views.
        num_workers: Processes that read and decode; None leaves the choice to `loader`.
        loader: Threads, prefetching and cache.
        device: Where clips are resized and normalized. With a GPU, frames travel there as uint8.
        rank: Rank of this process. None reads it from `torch.distributed` or, before that is
            initialized, from the launcher's variables RANK and WORLD_SIZE.
        world_size: Number of ranks; given together with `rank`.

    Raises:
        ConfigError: A number is out of range, or the mixture has an unknown field.
        MixtureError: The corpus lacks a source of the mixture, or has clips that are shorter than a
            training clip or store fewer frames per second.
        ShardError: An address holds no corpus.
        SetupError: torchcodec is missing, or cannot load an FFmpeg library.

    Example:
        ```python
        clips = surgrec.load_clips("corpus", num_frames=16, fps=4.0, batch_size=8, steps=1000)
        for batch in clips:
            loss = model(batch["video"]).mean()
        torch.save(clips.state_dict(), "clips.pt")  # load_state_dict continues exactly here
        ```
    """
    sampling = ClipSampling(num_frames=num_frames, fps=fps)
    if num_workers is not None:
        loader = replace(loader, num_workers=num_workers)

    stream = Stream(open_corpus(corpus), _read_mixture(mixture), seed)
    stream.require_sampling(
        num_frames, fps, allow_repeated_frames=allow_repeated_frames, join_clips=join_clips
    )

    return ClipLoader(
        ClipDataset(stream, sampling, augment, loader, views, join_clips=join_clips),
        batch_size=batch_size,
        crop_px=crop_px,
        steps=steps,
        device=torch.device(device),
        rank=rank,
        world_size=world_size,
    )


class ClipLoader(IterableDataset[dict[str, Any]]):
    """Iterable of the batches of one rank, with an exact state. `load_clips` makes it.

    Use it like a DataLoader: it starts its own workers and yields whole batches. A library that
    insists on a DataLoader gets `DataLoader(clips, batch_size=None)`, without workers.

    Iteration starts at the state and moves it: after a `break`, the next loop continues behind the
    last batch. With `steps`, a loop ends at the next multiple of `steps`.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        *,
        batch_size: int,
        crop_px: int,
        steps: int | None,
        device: torch.device,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        numbers = {"batch_size": batch_size, "crop_px": crop_px, "views": dataset.views}
        for name, number in (numbers | {"steps": 1 if steps is None else steps}).items():
            if number < 1:
                raise ConfigError(f"{name} is {number}; give at least 1")
        if (rank is None) != (world_size is None):
            raise ConfigError(
                f"rank is {rank} and world_size is {world_size}; give both or neither"
            )

        self.dataset = dataset
        self.batch_size = batch_size
        self.crop_px = crop_px
        self.steps = steps
        self.device = device
        self.quarantined: list[Quarantined] = []
        """Bad samples of this rank so far, with their substitutes."""

        self._rank = rank
        self._world_size = world_size
        self._position = 0

    def __len__(self) -> int:
        """Return the number of batches of a pass.

        Raises:
            TypeError: The loader is endless.
        """
        if self.steps is None:
            raise TypeError("an endless loader has no length; give `steps` to load_clips")
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        sampler = self._sampler()
        pin_memory = self.device.type == "cuda"

        with closing(clip_batches(self.dataset, sampler, pin_memory=pin_memory)) as batches:
            for step, batch in enumerate(batches, sampler.start_step):
                self.quarantined += batch.quarantined
                self._position = (step + 1) * sampler.global_batch
                yield self._as_dict(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last batch: the position in the stream, equal on all ranks."""
        digest = self._order_digest(self._position, join_clips=self.dataset.join_clips)
        return {"position": self._position, "order": digest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the state was saved, with any number of workers.

        The number of ranks may change if the new global batch divides the position.

        Raises:
            ConfigError: The state belongs to another corpus, mixture or seed.
        """
        position = int(state["position"])
        now = {
            self._order_digest(position, by_admitted=by_admitted, join_clips=join_clips)
            for by_admitted in (True, False)
            for join_clips in (self.dataset.join_clips, False)
        }
        if state["order"] not in now:
            raise ConfigError(
                "the state was saved with another corpus, mixture or seed; "
                "give the same ones to load_clips, or start without the state"
            )
        self._position = position

    def set_epoch(self, epoch: int) -> None:
        """Refuse to be divided among ranks a second time. Epochs themselves change nothing.

        Accelerate calls this method on a dataset that it wraps. With several ranks it would send
        the batches of rank 0 to all of them, and the samples of the others would never be used.

        Raises:
            ConfigError: There are several ranks.
        """
        rank, world_size = self._world()
        if world_size > 1:
            raise ConfigError(second_division(rank, world_size))

    def _sampler(self) -> StepSampler:
        """Return the positions from the state to the end of the pass.

        Raises:
            ConfigError: The state lies within a global batch.
        """
        rank, world_size = self._world()
        global_batch = self.batch_size * world_size
        start_step, rest = divmod(self._position, global_batch)
        if rest:
            raise ConfigError(
                f"the saved position {self._position} is not a multiple of the global batch "
                f"{global_batch} (batch_size {self.batch_size} on {world_size} ranks); "
                "choose a batch_size whose global batch divides the position"
            )

        stop = _ENDLESS if self.steps is None else (start_step // self.steps + 1) * self.steps
        return StepSampler(
            global_batch=global_batch,
            rank=rank,
            world_size=world_size,
            start_step=start_step,
            steps=stop,
        )

    def _world(self) -> tuple[int, int]:
        """Return rank and number of ranks: as given, of torch.distributed, or of the launcher."""
        if self._rank is not None and self._world_size is not None:
            return self._rank, self._world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()

        launched = os.environ.get("WORLD_SIZE") or _srun_tasks()
        if int(launched) > 1 and "RANK" not in os.environ:
            raise ConfigError(
                f"{launched} processes were launched, but RANK is not set; initialize "
                "torch.distributed first, or give rank and world_size to load_clips"
            )
        return int(os.environ.get("RANK", "0")), int(launched)

    def _order_digest(self, position: int, *, join_clips: bool, by_admitted: bool = True) -> str:
        """Return a digest of everything that decides the samples before `position`.

        Earlier versions saved the ones that are not by the admitted clips alone, or that ignore
        which clips are adjacent.
        """
        order = self.dataset.stream.identity(position, join_clips=join_clips)
        identity = comparable_order(order, by_admitted=by_admitted)
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _as_dict(self, batch: ClipBatch) -> dict[str, Any]:
        views = self.dataset.views
        return {
            "video": to_model_input(batch, self.crop_px, self.device),
            "key": [key for key in batch.keys for _ in range(views)],
            "source": [source for source in batch.sources for _ in range(views)],
            "position": torch.from_numpy(batch.positions).repeat_interleave(views),
        }


def _srun_tasks() -> str:
    """Return how many processes srun started; "1" if this process is not a task of srun."""
    if {"SLURM_STEP_ID", "SLURM_PROCID"} <= os.environ.keys():
        return os.environ.get("SLURM_NTASKS", "1")
    return "1"


def _read_mixture(mixture: Mixture | Mapping[str, Any] | str | Path | None) -> Mixture:
    """Return a mixture from any of its forms.

    Raises:
        ConfigError: The file cannot be read, or a field is unknown or has a wrong type.
    """
    if mixture is None:
        return Mixture()
    if isinstance(mixture, Mixture):
        return mixture
    if isinstance(mixture, Mapping):
        return from_plain(Mixture, dict(mixture), "mixture")

    return from_plain(Mixture, read_config(str(mixture)), str(mixture))
