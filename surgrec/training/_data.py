"""The data of one rank: from a run's config to its positions and batches."""

from dataclasses import dataclass

from surgrec.clips import ClipDataset, ClipSampling, StepSampler
from surgrec.shards import open_corpus
from surgrec.storage import PATIENT
from surgrec.stream import DrawPlan, Stream
from surgrec.stream.sampling_checks import RepeatedFrames
from surgrec.training._run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The training data of one rank.

    It has no state to restore: every random choice is keyed by the seed and the position.
    """

    stream: Stream
    """Order of the samples, the same on every rank."""
    dataset: ClipDataset
    """Batches by their positions."""
    sampler: StepSampler
    """Positions of this rank, from the first step on."""
    repeated: list[RepeatedFrames]
    """Sources whose frames repeat, which `allow_repeated_frames` accepted."""


def open_data(
    config: RunConfig, *, rank: int, world_size: int, first_step: int, views: int = 1
) -> RunData:
    """Open the corpora of a run and return the data of one rank. Only indexes are read.

    Args:
        config: The run.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        first_step: Step at which the run starts or resumes.
        views: Clips per sample.

    Raises:
        ConfigError: The number of processes does not divide the global batch.
        MixtureError: The corpus lacks a source of the mixture, is too small for a run of this
            length, or has clips that are shorter than the encoder's input or have fewer frames
            per second.
        ShardError: An address is not a corpus.
    """
    corpora = [config.corpus] if isinstance(config.corpus, str) else config.corpus
    stream = Stream(open_corpus(corpora, policy=PATIENT), config.mixture, config.seed)

    # Refuse a corpus that cannot feed the run before anything is decoded.
    sampling = ClipSampling(num_frames=config.encoder.num_frames, fps=config.sampling_fps)
    repeated = stream.require_sampling(
        sampling.num_frames,
        sampling.fps,
        allow_repeated_frames=config.allow_repeated_frames,
        join_clips=config.join_clips,
    )
    DrawPlan.for_positions(stream, config.positions).require_few_repeats()

    sampler = StepSampler(
        global_batch=config.global_batch,
        rank=rank,
        world_size=world_size,
        start_step=first_step,
        steps=config.steps,
    )
    dataset = ClipDataset(
        stream, sampling, config.augment, config.loader, views, join_clips=config.join_clips
    )
    return RunData(stream=stream, dataset=dataset, sampler=sampler, repeated=repeated)
