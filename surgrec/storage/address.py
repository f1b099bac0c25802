"""What an address means."""

import os
import re
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage.local import LocalStore
from surgrec.storage.retry import RetryPolicy
from surgrec.storage.store import Store


def open_store(address: str | Path, *, policy: RetryPolicy | None = None) -> Store:
    """The store at an address: a local folder (`~` is expanded) or `s3://bucket/prefix`. Touches no disk and no network.

    Endpoint, region, credentials and addressing of S3 come from the usual AWS variables and profiles: AWS_ENDPOINT_URL,
    AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE. An address may name a profile of its own, so that
    one run reads several stores: `s3://profile@bucket/prefix`; `s3://anonymous@bucket/prefix` signs nothing, for public buckets.

    Raises:
        StorageError: The address is empty, of another scheme, or names no bucket.
    """
    text = os.fspath(address)
    if text.startswith("s3://"):
        from surgrec.storage.s3 import (
            S3Store,
        )  # boto3 takes 0.2 s to import, which a user of local disks need not pay

        return S3Store(text, policy or RetryPolicy())
    # One slash is enough for a scheme: Path("s3://bucket/x") reads "s3:/bucket/x".
    if not text or re.match(r"[A-Za-z0-9+.-]+:/", text):
        raise StorageError(
            f"{text!r} is not the address of a store; give a folder or s3://bucket/prefix"
        )
    return LocalStore(text)
