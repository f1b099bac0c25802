"""Files under one kind of address, for local folders and for `s3://bucket/prefix`.

Only this room imports boto3.

A store holds complete files under names. A read returns exactly the requested bytes or raises. A
write appears whole or not at all. A `Store` object is only an address: cheap, hashable, picklable,
and safe in threads and after a fork.

Example:
    >>> store = open_store("s3://corpora/surgery")
    >>> store.write("cholec80/notes.txt", b"hello")
    >>> store.read_range("cholec80/notes.txt", 1, 4)
    b'ello'

`surgrec.storage.lock` locks folders.

`surgrec.storage.seaweed` starts a real S3 server for the demo, the tests and the benchmarks. It is
imported by its full name, because it needs boto3 and a server program.
"""

from surgrec.storage._address import open_store
from surgrec.storage._blocked import in_the_way
from surgrec.storage._digest import file_sha256
from surgrec.storage._disk_cache import DiskCache, WholeFile
from surgrec.storage._owned import make_owned_folder, open_owned
from surgrec.storage._owner_file import check_owned
from surgrec.storage._retry import PATIENT, RetryPolicy
from surgrec.storage._store import TEMPORARY, Counters, Store

__all__ = [
    "PATIENT",
    "TEMPORARY",
    "Counters",
    "DiskCache",
    "RetryPolicy",
    "Store",
    "WholeFile",
    "check_owned",
    "file_sha256",
    "in_the_way",
    "make_owned_folder",
    "open_owned",
    "open_store",
]
