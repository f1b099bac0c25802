"""The server of `surgrec browse` as a user starts it, and requests to it."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyarrow as pa
from pyarrow import parquet

from surgrec.shards import open_corpus
from tests.support.results import write_result


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    @property
    def token(self) -> str:
        return urlsplit(self.url).query.removeprefix("token=")

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        cookie: bool = True,
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Answer:
        """Send one request, by default with the cookie of a first visit."""
        sent = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        if cookie:
            sent["Cookie"] = f"surgrec-{self.port}={self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            connection.putrequest(method, target, skip_host=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(
                status=answer.status, headers=dict(answer.getheaders()), body=answer.read()
            )
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Any:
        """Return the JSON of an address that must exist."""
        answer = self.ask(path, **query)
        assert answer.status == 200, answer.body
        return answer.json()


@contextmanager
def browsing(*addresses: object) -> Iterator[Served]:
    """Run the server on a free port; it ends with the block."""
    words = [sys.executable, "-m", "surgrec", "browse", *map(str, addresses)]
    process = subprocess.Popen(
        [*words, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            if not line:
                raise AssertionError(f"no address: {process.communicate()}")
            text += line
        yield Served(process=process, url=json.loads(text)["url"])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def write_playable_result(folder: Path, corpus: Path) -> Path:
    """Write an evaluation whose two cases are the videos of the source alpha."""
    write_result(folder, cases=2, probabilities=True)
    path = folder / "predictions.parquet"
    table = parquet.read_table(path)
    videos = sorted(set(open_corpus(corpus)["alpha"].index.column("video").to_pylist()))
    old = sorted(set(table["video"].to_pylist()))
    new = {name: videos[place] for place, name in enumerate(old)}
    index = table.column_names.index("video")
    renamed = pa.array([new[name] for name in table["video"].to_pylist()])
    parquet.write_table(table.set_column(index, "video", renamed), path)
    return folder
