"""Data sets of short clips, for tests of what reads them."""

from pathlib import Path

from surgrec.clips import AugmentConfig, ClipDataset, ClipSampling, LoaderConfig
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream

SAMPLING = ClipSampling(num_frames=4, fps=4.0)
NO_WORKER = LoaderConfig(num_workers=0)


def clip_dataset(
    corpus: Path | str,
    config: LoaderConfig = NO_WORKER,
    kind: type[ClipDataset] = ClipDataset,
    views: int = 1,
) -> ClipDataset:
    """Return the clips of a corpus in an order of blocks of 16."""
    stream = Stream(open_corpus([corpus]), Mixture(block=16), seed=5)
    return kind(stream, SAMPLING, AugmentConfig(), config, views)
