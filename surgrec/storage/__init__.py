"""One address for a local folder and for `s3://bucket/prefix`. The only room that knows boto3.

A store holds complete files under names. A read gives exactly the bytes asked for or raises; a write appears whole or
not at all. A store object is an address: cheap, hashable, picklable, safe in many threads and after a fork.
"""

from surgrec.storage.address import open_store
from surgrec.storage.retry import RetryPolicy
from surgrec.storage.store import Counters, Store

__all__ = ["Counters", "RetryPolicy", "Store", "open_store"]
