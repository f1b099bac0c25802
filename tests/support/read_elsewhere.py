"""A program that reads a corpus with another project's reader.

`read_elsewhere.py READER CORPUS SPLIT...` prints the SHA-256 of each mp4 by split and key, as JSON.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def energon(corpus: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and mp4 of each sample, through the folder .nv-meta."""
    from megatron.energon import (
        DefaultTaskEncoder,
        WorkerConfig,
        basic_sample_keys,
        get_loader,
        get_val_dataset,
        stateless,
    )
    from megatron.energon.task_encoder.cooking import Cooker

    @stateless
    def cook(sample: Any) -> Any:
        return {**basic_sample_keys(sample), "mp4": sample["mp4"]}

    class Raw(DefaultTaskEncoder):
        decoder = None  # its own would decode whole videos
        cookers = [Cooker(cook)]  # noqa: RUF012 - as its documentation has it

        @stateless
        def encode_sample(self, sample: Any) -> Any:
            return sample

        def batch(self, samples: list[Any]) -> Any:
            return samples

    dataset = get_val_dataset(
        corpus,
        split_part=split,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        batch_size=1,
        task_encoder=Raw(),
    )
    for batch in get_loader(dataset):
        for sample in batch:
            # Its key begins with the path of the shard.
            yield sample["__key__"].rpartition("/")[2], sample["mp4"]


def wids(corpus: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and mp4 of each sample, in random access through wids-SPLIT.json."""
    from wids import ShardListDataset

    dataset = ShardListDataset(str(corpus / f"wids-{split}.json"), keep=True, transformations=[])
    for number in range(len(dataset)):
        sample = dataset[number]
        yield sample["__key__"], sample[".mp4"].read()


def datasets(corpus: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Yield key and mp4 of each sample, from the shards alone."""
    from datasets import Video, load_dataset

    shards = sorted(map(str, corpus.glob(f"*/*-{split}-*.tar")))
    rows = load_dataset("webdataset", data_files={split: shards}, split=split, streaming=True)
    for row in rows.cast_column("mp4", Video(decode=False)):
        yield row["__key__"], row["mp4"]["bytes"]


if __name__ == "__main__":
    read = {"energon": energon, "wids": wids, "datasets": datasets}[sys.argv[1]]
    found = {
        split: {key: hashlib.sha256(mp4).hexdigest() for key, mp4 in read(Path(sys.argv[2]), split)}
        for split in sys.argv[3:]
    }
    sys.stdout.write(json.dumps(found))
