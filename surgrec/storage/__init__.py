"""One address for a local folder and for `s3://bucket/prefix`. The only room that knows boto3.

A store holds complete files under names. A read gives exactly the bytes asked for or raises; a write appears whole or
not at all. A store object is an address: cheap, hashable, picklable, safe in many threads and after a fork.
"""

from surgrec.storage.address import open_store
from surgrec.storage.digest import file_sha256
from surgrec.storage.disk_cache import DiskCache, WholeFile
from surgrec.storage.lock import hold
from surgrec.storage.retry import RetryPolicy
from surgrec.storage.seaweed import BUCKET, Account, free_ports, run_seaweed
from surgrec.storage.store import TEMPORARY, Counters, Store

__all__ = [
    "BUCKET",
    "TEMPORARY",
    "Account",
    "Counters",
    "DiskCache",
    "RetryPolicy",
    "Store",
    "WholeFile",
    "file_sha256",
    "free_ports",
    "hold",
    "open_store",
    "run_seaweed",
]
