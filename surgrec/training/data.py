"""The data of a run: from its config to what one rank draws."""

from dataclasses import dataclass

from accelerate import Accelerator

from surgrec.clips import ClipDataset, ClipSampling, StepSampler
from surgrec.shards import open_corpus
from surgrec.stream import DrawPlan, Stream
from surgrec.training.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a rank trains on. Every random choice is keyed by the seed and the position, so there is no state to restore."""

    stream: Stream
    """The order of the samples, the same on every rank."""
    dataset: ClipDataset
    """Batches by their positions."""
    sampler: StepSampler
    """This rank's positions, from the first step on."""


def open_data(
    config: RunConfig, accelerator: Accelerator, first_step: int, *, views: int = 1
) -> RunData:
    """What a rank of this run draws from `first_step` on; nothing is read but indexes.

    Args:
        config: The run.
        accelerator: Knows which rank this is, and of how many.
        first_step: Where the run starts or goes on.
        views: Clips of each sample.

    Raises:
        ConfigError: The processes do not divide the batch.
        MixtureError: The corpus does not have what the mixture asks for, too little of it for a run of this length, or clips
            shorter than the encoder's.
        ShardError: A root is no corpus.
    """
    corpora = [config.corpus] if isinstance(config.corpus, str) else config.corpus
    stream = Stream(open_corpus(corpora), config.mixture, config.seed)
    sampling = ClipSampling(num_frames=config.encoder.num_frames, fps=config.sampling_fps)
    stream.require_duration(sampling.span_s)
    DrawPlan.for_positions(stream, config.positions).require_few_repeats()
    sampler = StepSampler(
        global_batch=config.global_batch,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        start_step=first_step,
        steps=config.steps,
    )
    dataset = ClipDataset(stream, sampling, config.augment, config.loader, views)
    return RunData(stream=stream, dataset=dataset, sampler=sampler)
