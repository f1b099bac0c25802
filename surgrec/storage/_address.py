"""From an address to its store."""

import os
import re
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage._local import LocalStore
from surgrec.storage._retry import RetryPolicy
from surgrec.storage._store import Store


def open_store(address: str | Path, *, policy: RetryPolicy | None = None) -> Store:
    """Return the store at an address, without touching disk or network.

    S3 endpoint, region, credentials and addressing style come from the usual AWS variables and
    profiles: AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_PROFILE. An address may name its own profile, so that one run can read several stores:
    `s3://profile@bucket/prefix`. Requests to `s3://anonymous@bucket/prefix` are not signed, for
    public buckets.

    Args:
        address: A local folder (`~` is expanded), or `s3://bucket/prefix`.
        policy: How long to wait, and retries of an object store; the default policy if None.

    Raises:
        StorageError: The address is empty, has another scheme, or names no bucket.

    Example:
        >>> open_store("s3://corpora/surgery").read_range("corpus.json", 0, 1)
        b'{'
    """
    text = os.fspath(address)
    if text.startswith("s3://"):
        # boto3 takes 0.2 s to import; users of local disks need not pay for it.
        from surgrec.storage.s3 import S3Store

        return S3Store(text, policy or RetryPolicy())

    # One slash is enough for a scheme: Path("s3://bucket/x") becomes "s3:/bucket/x".
    if not text or re.match(r"[A-Za-z0-9+.-]+:/", text):
        raise StorageError(
            f"{text!r} is not the address of a store; give a folder or s3://bucket/prefix"
        )
    return LocalStore(text, policy or RetryPolicy())
