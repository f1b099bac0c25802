"""Plain webdataset on SurgRec's shards.

The option `threads` decodes with threads of the training process, without workers. Shards are drawn
endlessly, as its documentation recommends for training. It keeps no state: a resume reads and drops
the earlier samples without decoding them.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch
import webdataset
from contender import PREFETCH, Job, decode, main, shards


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Yield shuffled batches without end."""
    threads = job.options.get("threads", 0)
    raw = webdataset.WebDataset(_urls(job), resampled=True, shardshuffle=False)
    skip = job.resume_step * job.batch // max(job.workers if not threads else 1, 1)
    samples = raw.compose(lambda stream: islice(stream, skip, None)).shuffle(100).to_tuple("mp4")

    if threads:
        decoded = _decode_ahead(iter(samples), threads, PREFETCH * job.batch)
        while True:
            yield torch.stack(list(islice(decoded, job.batch)))

    batches = samples.map(lambda parts: decode(parts[0])).batched(
        job.batch, collation_fn=_stack, partial=False
    )
    yield from webdataset.WebLoader(
        batches, batch_size=None, num_workers=job.workers, prefetch_factor=PREFETCH
    )


def _urls(job: Job) -> list[str]:
    if not job.s3:
        return [str(path) for path in shards(job)]
    return [
        f"pipe:aws s3 cp {job.at('stored')}/{path.parent.name}/{path.name} -"
        for path in shards(job)
    ]


def _stack(samples: Iterable[Any]) -> torch.Tensor:
    return torch.stack(list(samples))


def _decode_ahead(
    samples: Iterator[tuple[bytes]], threads: int, ahead: int
) -> Iterator[torch.Tensor]:
    waiting: deque[Future[torch.Tensor]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for (mp4,) in samples:
            waiting.append(pool.submit(decode, mp4))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()


if __name__ == "__main__":
    main(open_batches)
