"""The site of a scenario: a corpus in a real object store, a proxy, and jobs behind it."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from surgrec.clips import LoaderConfig, StepSampler
from surgrec.storage import RetryPolicy, Store, open_store
from surgrec.storage.seaweed import BUCKET, Account
from surgrec.stream import Mixture
from tests.faults.proxy import Proxy, never, run_proxy
from tests.faults.server import Server, run_server
from tests.support.loading import Job, Load, Loaded, LoadedSample, load_ranks

GLOBAL_BATCH = 8
STEPS = 8
"""Steps of a usual job; it requests all batches at once and gets them within a second."""
MANY_STEPS = 24
"""Steps of a job during which something happens."""
DEADLINE_S = 90.0
POLICY = RetryPolicy(
    deadline_s=20.0, first_delay_s=0.02, max_delay_s=0.5, read_timeout_s=1.0, connect_timeout_s=2.0
)
"""A fast policy with the proportions of the default one."""


def steps(start: int, stop: int) -> StepSampler:
    """Return a sampler of these steps for the only rank."""
    return StepSampler(
        global_batch=GLOBAL_BATCH, rank=0, world_size=1, start_step=start, steps=stop
    )


@dataclass(kw_only=True)
class Site:
    """The site of one scenario. Its folder is empty at first, and the proxy forwards everything."""

    folder: Path
    corpus: Path
    """The corpus on the local disk."""
    address: str
    """Address of the corpus in the store."""
    server: Server
    proxy: Proxy
    _jobs: int = 0

    @property
    def account(self) -> Account:
        """Account of the server, with the proxy's endpoint."""
        return replace(self.server.account, endpoint=self.proxy.endpoint)

    @property
    def cache(self) -> Path:
        """Folder of the disk cache; it does not exist yet."""
        return self.folder / "cache"

    def start(self, **changes: Any) -> Job:
        """Start a job of two workers and two views that reads the store.

        Args:
            changes: Other values for fields of `Load` and `LoaderConfig`.
        """
        loader = {"num_workers": 2, "timeout_s": 40} | {
            name: changes.pop(name)
            for name in list(changes)
            if name in LoaderConfig.__dataclass_fields__
        }
        load = Load(
            corpora=[self.address],
            mixture=Mixture(block=16),
            loader=LoaderConfig(**loader),
            samplers=[steps(0, STEPS)],
            policy=POLICY,
            environment=self.account.environment(),
        )
        self._jobs += 1
        return Job(replace(load, **changes), self.folder / f"job-{self._jobs}.jsonl")

    def load(self, **changes: Any) -> Loaded:
        """Run a job to its end; changes as in `start`."""
        return self.start(**changes).finish(DEADLINE_S)

    def copy_corpus(self) -> Store:
        """Copy the corpus for a scenario that damages it; later jobs read the copy."""
        store = upload(self.corpus, self.server.account)
        self.address = store.address
        return store


def upload(corpus: Path, account: Account) -> Store:
    """Upload a corpus under a new prefix, past the proxy, and return its store."""
    with patch.dict(os.environ, account.environment()):
        store = open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}")
        for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
            store.upload(path.relative_to(corpus).as_posix(), path)
        store.list()  # makes the client of small requests now, with this account
    return store


@contextmanager
def run_site(folder: Path, corpus: Path) -> Iterator[Site]:
    """Run a server with the corpus and a proxy, for one scenario after another (`fresh`)."""
    (folder / "server").mkdir()
    with run_server(folder / "server") as server, run_proxy(server.endpoint) as proxy:
        address = upload(corpus, server.account).address
        yield Site(folder=folder, corpus=corpus, address=address, server=server, proxy=proxy)


def fresh(site: Site, name: str) -> Site:
    """Return the site for the next scenario."""
    site.proxy.do(never)
    folder = site.folder / re.sub(r"\W+", "-", name)
    folder.mkdir()
    return replace(site, folder=folder)


def undisturbed(corpus: Path, folder: Path) -> list[LoadedSample]:
    """Return the samples that every job must load: from a local disk, without workers or faults."""
    load = Load(
        corpora=[corpus],
        mixture=Mixture(block=16),
        loader=LoaderConfig(num_workers=0),
        samplers=[steps(0, MANY_STEPS)],
    )
    (loaded,) = load_ranks([load], folder)
    assert (loaded.broken, loaded.error, loaded.quarantined) == ("", "", [])
    return loaded.samples
