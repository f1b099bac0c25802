"""SeaweedFS that can be stopped and started again: the same ports, the same data."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.storage import Account, free_ports
from surgrec.storage.seaweed import _identity, _wait_for_bucket, _weed_command


class Server:
    """A real S3 server with one account that may do everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, *self._ports = free_ports(8)
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.account = self.new_account()
        self._process: subprocess.Popen[bytes] | None = None

    def new_account(self) -> Account:
        """A key that the server knows once it is started with it."""
        return Account(
            endpoint=self.endpoint,
            access_key=f"key{uuid.uuid4().hex[:8]}",
            secret_key=uuid.uuid4().hex,
        )

    def start(self, account: Account | None = None) -> None:
        """Starts it with this account alone; returns when it answers."""
        account = account or self.account
        accounts, log = self._folder / "accounts.json", self._folder / "weed.log"
        identity = _identity(account, ["Admin", "Read", "Write", "List"])
        accounts.touch(mode=0o600)
        accounts.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        assert self._process is None, "it is running"
        command = _weed_command(self._folder, accounts, self._port, self._ports)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        _wait_for_bucket(account, self._process, log)

    def kill(self) -> None:
        """Ends it with -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def run_server(folder: Path) -> Iterator[Server]:
    """A server that runs until the end, unless it is killed before."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
