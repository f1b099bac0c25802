"""SeaweedFS that can be killed and started again with the same ports and the same data."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.storage.seaweed import Account, SeaweedServer


class Server:
    """A real S3 server with one account, which may do everything."""

    def __init__(self, folder: Path) -> None:
        self._server = SeaweedServer(folder)
        self.endpoint = self._server.endpoint
        self.account = self.new_account()

    def new_account(self) -> Account:
        """Return a new account. The server knows it after a start with it."""
        return self._server.new_account(f"key{uuid.uuid4().hex[:8]}")

    def start(self, account: Account | None = None) -> None:
        """Start the server with this account alone, and return when it answers."""
        self._server.start(account or self.account)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._server.kill()


@contextmanager
def run_server(folder: Path) -> Iterator[Server]:
    """Run a server for as long as the context lasts, unless it is killed before."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
