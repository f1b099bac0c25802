"""Processor time of one ranged GET from S3: signed one by one by boto3, and as sent by the store.

    .venv/bin/python benchmarks/s3_requests.py

The server is a real one (SeaweedFS) on loopback; a clip has 280 kB, as the default encoding gives
for 10 s of video.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3

from surgrec.storage import open_store
from surgrec.storage.seaweed import BUCKET, run_seaweed

CLIP_BYTES = 280_000
CLIPS = 200
ROUNDS = 7


def cpu_ms(read: Callable[[int], bytes]) -> float:
    """Return the processor time of this process per range, milliseconds."""
    began = time.process_time()
    for clip in range(CLIPS):
        assert len(read(clip * CLIP_BYTES)) == CLIP_BYTES
    return (time.process_time() - began) / CLIPS * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, run_seaweed(Path(folder)) as server:
        os.environ.update(server.writer.environment())
        store = open_store(f"s3://{BUCKET}")
        store.write("shard.tar", os.urandom(CLIPS * CLIP_BYTES))
        client = boto3.session.Session().client("s3")

        def signed_alone(offset: int) -> bytes:
            span = f"bytes={offset}-{offset + CLIP_BYTES - 1}"
            body: bytes = client.get_object(Bucket=BUCKET, Key="shard.tar", Range=span)[
                "Body"
            ].read()
            return body

        def by_the_store(offset: int) -> bytes:
            return store.read_range("shard.tar", offset, CLIP_BYTES)

        rounds = [(cpu_ms(signed_alone), cpu_ms(by_the_store)) for _ in range(ROUNDS)]
    for name, times in zip(
        ("boto3 get_object", "our store"), zip(*rounds, strict=True), strict=True
    ):
        print(
            f"{name:18} {statistics.median(times):.2f} ms "
            f"({ROUNDS} rounds: {min(times):.2f} to {max(times):.2f})"
        )
    print(f"ratio              {statistics.median(store / boto for boto, store in rounds):.2f}")


if __name__ == "__main__":
    main()
