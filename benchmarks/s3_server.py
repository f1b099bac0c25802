"""A real S3 server on one core with the benchmark's corpus, which delays every request."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from latency import delayed

from surgrec.storage.seaweed import BUCKET, Account, free_ports, run_seaweed

PREFIX = "bench"


@contextmanager
def far_store(
    folder: Path, forms: list[str], *, delay_s: float, core: int
) -> Iterator[dict[str, str]]:
    """Yield the environment variables for reading `s3://corpora/bench/<form>`.

    Missing files are uploaded first.
    """
    data = folder / "seaweed"
    data.mkdir(exist_ok=True)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # the server inherits it
    try:
        server = run_seaweed(data)
        account = server.__enter__().writer
    finally:
        os.sched_setaffinity(0, cores)
    try:
        for form in forms:
            _upload(folder, form, account)
        with delayed(
            int(account.endpoint.rpartition(":")[2]), free_ports(1)[0], delay_s, core
        ) as port:
            far = Account(
                endpoint=f"http://127.0.0.1:{port}",
                access_key=account.access_key,
                secret_key=account.secret_key,
            )
            yield far.environment() | _peers(folder, far)
    finally:
        server.__exit__(None, None, None)


def _upload(folder: Path, form: str, account: Account) -> None:
    settings = {name.lower(): value for name, value in account.environment().items()}
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=account.endpoint,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=settings["aws_default_region"],
    )

    # Skip files that are uploaded already.
    uploaded: dict[str, int] = {}
    for page in client.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix=f"{PREFIX}/{form}/"
    ):
        uploaded |= {item["Key"]: item["Size"] for item in page.get("Contents", [])}

    for path in sorted(path for path in (folder / form).rglob("*") if path.is_file()):
        key = f"{PREFIX}/{path.relative_to(folder)}"
        if uploaded.get(key) != path.stat().st_size:
            client.upload_file(
                str(path), BUCKET, key, Config=TransferConfig(preferred_transfer_client="classic")
            )


def _peers(folder: Path, account: Account) -> dict[str, str]:
    """Return the extra variables of MosaicML Streaming, the AWS command and Energon's client."""
    options = {"endpoint_url": account.endpoint, "region_name": "us-east-1", "base_path": ""}
    keys = {"access_key": account.access_key, "secret_key": account.secret_key}
    profile = {
        "storage_provider": {"type": "s3", "options": options},
        "credentials_provider": {"type": "S3Credentials", "options": keys},
    }
    config = folder / "msc.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps({"profiles": {"far": profile}}), encoding="utf-8")
    return {"S3_ENDPOINT_URL": account.endpoint, "MSC_CONFIG": str(config)}
