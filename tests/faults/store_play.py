"""Scenarios of the store and of the machine.

Each returns the results of its jobs, every job from step 0 on.
"""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from surgrec.storage import Store
from tests.faults.proxy import Exchange, Fault, Plan, at, never, since
from tests.faults.site import DEADLINE_S, GLOBAL_BATCH, MANY_STEPS, POLICY, Site, steps
from tests.support.loading import Loaded

SLOW_TRAINER: dict[str, Any] = {
    "samplers": [steps(0, MANY_STEPS)],
    "step_s": 0.05,
    "prefetch_batches": 1,
}
"""Options of a job that is still reading when something happens to it."""
PATIENT: dict[str, Any] = SLOW_TRAINER | {
    "policy": replace(POLICY, deadline_s=150.0),
    "timeout_s": 200,
}
"""Options of a job that waits for a restarted server: twenty seconds, more on a busy machine."""


def loaded_through(
    plan: Plan, *, elsewhere: Plan = never, **changes: Any
) -> Callable[[Site], list[Loaded]]:
    """Return a scenario of one job behind a proxy with this plan; changes as in `Site.start`."""

    def play(site: Site) -> list[Loaded]:
        site.proxy.do(plan, elsewhere=elsewhere)
        loaded = site.load(**changes)
        assert site.proxy.done, "the fault never happened"
        return [loaded]

    return play


def reset(exchange: Exchange) -> None:
    exchange.pass_half()
    exchange.reset()


def end_early(exchange: Exchange) -> None:
    exchange.pass_half()
    exchange.close()


def stall(exchange: Exchange) -> None:
    exchange.pass_half()
    exchange.fall_silent()


def delayed(seconds: float) -> Fault:
    """Delay the server's response."""

    def fault(exchange: Exchange) -> None:
        exchange.wait(seconds)
        exchange.pass_on()

    return fault


def refused(status: int, code: str) -> Fault:
    """Return a fault that answers with an S3 error."""
    return lambda exchange: exchange.refuse(status, code)


def bad_gateway(exchange: Exchange) -> None:
    exchange.answer(502, "<html>not S3, but the gateway before it</html>")


def login_page(exchange: Exchange) -> None:
    exchange.answer(200, "<html>please log in to the hospital's network</html>")


def changed_on_the_way_once(site: Site) -> list[Loaded]:
    """Each range has a wrong bit at its first request, as from a faulty network without TLS."""
    changed = set()

    def fault(exchange: Exchange) -> None:
        asked = (exchange.path.partition("?")[0], exchange.headers["Range"])
        if asked in changed:
            exchange.pass_on()
        else:
            changed.add(asked)
            exchange.pass_changed()

    return loaded_through(since(1, fault))(site)


def replaced_while_it_is_read(site: Site) -> list[Loaded]:
    """A shard is replaced between the halves of its body."""
    store = site.copy_corpus()

    def fault(exchange: Exchange) -> None:
        exchange.pass_half()
        _reverse(store, _shard_of(exchange, store))
        exchange.close()

    return loaded_through(at(1, fault), num_workers=1, fetch_threads=1, fetch_ahead=0)(site)


def replaced_between_reads(site: Site) -> list[Loaded]:
    """A shard is replaced between two requests, after all shards have been read from."""
    store = site.copy_corpus()

    def fault(exchange: Exchange) -> None:
        _reverse(store, _shard_of(exchange, store))
        exchange.pass_on()

    return loaded_through(at(30, fault), num_workers=1, fetch_threads=1, fetch_ahead=0)(site)


def _shard_of(exchange: Exchange, store: Store) -> str:
    return exchange.path.partition(store.address.rpartition("/")[2] + "/")[2].partition("?")[0]


def _reverse(store: Store, name: str) -> None:
    store.write(name, store.read(name)[::-1])


def built_again_otherwise(site: Site) -> list[Loaded]:
    """All shards have other bytes than their indexes describe."""
    store = site.copy_corpus()
    for name in store.list():
        if name.endswith(".tar"):
            _reverse(store, name)
    return [site.load()]


def cut_short(site: Site) -> list[Loaded]:
    """A shard ends before its last samples."""
    store = site.copy_corpus()
    name = next(name for name in store.list("gamma/") if name.endswith(".tar"))
    store.write(name, store.read(name)[:3000])
    return [site.load()]


def deleted_while_it_is_read(site: Site) -> list[Loaded]:
    """The shards are deleted while the run reads them."""
    store = site.copy_corpus()

    def fault(exchange: Exchange) -> None:
        for name in store.list():
            store.delete(name)
        exchange.pass_on()

    return loaded_through(at(10, fault))(site)


def server_killed_and_started_again(site: Site) -> list[Loaded]:
    """Responses break off in the middle, then the server is down, then it runs again."""
    dead = _kill_at(site, 10)
    job = site.start(**PATIENT)
    job.until(dead.is_set)
    site.server.start()
    return [job.finish(DEADLINE_S)]


def server_does_not_come_back(site: Site) -> list[Loaded]:
    """An outage lasts longer than the retry deadline."""
    _kill_at(site, 10)
    loaded = site.load(policy=replace(POLICY, deadline_s=3.0), **SLOW_TRAINER)
    site.server.start()
    return [loaded]


def wrong_secret(site: Site) -> list[Loaded]:
    """The server refuses the first request."""
    return [site.load(environment=replace(site.account, secret_key="wrong").environment())]


def key_revoked(site: Site) -> list[Loaded]:
    """The server refuses during the run: it is restarted with other keys."""
    dead = _kill_at(site, 10)
    job = site.start(**PATIENT)
    job.until(dead.is_set)
    other = site.server.new_account()
    site.server.start(other)
    loaded = job.finish(DEADLINE_S)
    site.server.kill()
    site.server.start()
    return [loaded]


def worker_killed(site: Site) -> list[Loaded]:
    """A worker is killed, as by a machine without memory."""
    job = site.start(**SLOW_TRAINER)
    job.until(lambda: len(job.samples()) >= GLOBAL_BATCH)
    job.children()[0].kill()
    return [job.finish(DEADLINE_S)]


def worker_stopped(site: Site) -> list[Loaded]:
    """A worker is suspended."""
    job = site.start(**SLOW_TRAINER, timeout_s=8)
    job.until(lambda: len(job.samples()) >= GLOBAL_BATCH)
    os.kill(job.children()[0].pid, signal.SIGSTOP)
    return [job.finish(DEADLINE_S)]


def killed_and_resumed(site: Site, **changes: Any) -> list[Loaded]:
    """A whole job is killed; another one continues after its last completed step."""
    job = site.start(**SLOW_TRAINER, **changes)
    job.until(lambda: len(job.samples()) >= 4 * GLOBAL_BATCH)
    job.kill()
    step = len(job.samples()) // GLOBAL_BATCH
    rest = site.load(**SLOW_TRAINER | {"samplers": [steps(step, MANY_STEPS)]}, **changes)
    both = [*job.samples()[: step * GLOBAL_BATCH], *rest.samples]
    return [replace(rest, samples=both, asked=MANY_STEPS * GLOBAL_BATCH)]


def _kill_at(site: Site, number: int) -> threading.Event:
    """Kill the server at the request with this number. Return an event for its death."""
    dead = threading.Event()

    def fault(exchange: Exchange) -> None:
        exchange.pass_half()
        site.server.kill()
        dead.set()
        exchange.reset()

    site.proxy.do(at(number, fault))
    return dead
