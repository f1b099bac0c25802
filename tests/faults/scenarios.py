"""Faults during reading, with the real loader on a real object store behind a faulty proxy.

Every scenario must end in the stream of an undisturbed run or in one clear sentence. It must never
hang, and never load another sample.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.faults import cache_play as cache
from tests.faults import store_play as play
from tests.faults.proxy import any_of, at, between, every, since
from tests.faults.site import Site
from tests.faults.store_play import loaded_through
from tests.support.loading import Loaded, LoadedSample


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fault and its expected ending."""

    name: str
    play: Callable[[Site], list[Loaded]]
    """Returns the results of its jobs, every job from step 0 on."""
    refused: str = ""
    """Regular expression of the expected error; empty if the run must continue."""
    slow: bool = False
    """Takes more than a few seconds."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The ending of a scenario."""

    verdict: Literal["same stream", "refused", "BROKEN", "not tried"]
    message: str
    """The error of the run, or a description of the breakage."""
    seconds: float


IN_THREADS = {"num_workers": 0, "decode_threads": 3}
"""Options of a job that makes batches in threads; most scenarios have two workers."""

SCENARIOS = [
    Scenario(
        name="5xx in bursts",
        play=loaded_through(
            any_of(
                play.refused(500, "InternalError"),
                play.bad_gateway,
                play.refused(503, "ServiceUnavailable"),
            )
        ),
    ),
    Scenario(
        name="SlowDown, twenty in a row",
        play=loaded_through(between(5, 24, play.refused(503, "SlowDown"))),
    ),
    Scenario(name="reset in the middle of a body", play=loaded_through(every(3, play.reset))),
    Scenario(
        name="connection closed in the middle of a body",
        play=loaded_through(every(3, play.end_early)),
    ),
    Scenario(
        name="fewer bytes than asked for",
        play=loaded_through(every(3, lambda one: one.pass_less())),
        slow=True,
    ),
    Scenario(name="silence in the middle of a body", play=loaded_through(every(8, play.stall))),
    Scenario(
        name="silence instead of an answer",
        play=loaded_through(every(8, lambda one: one.fall_silent())),
        slow=True,
    ),
    Scenario(name="every range changed on the way, once", play=play.changed_on_the_way_once),
    Scenario(name="30 ms of latency", play=loaded_through(since(1, play.delayed(0.03))), slow=True),
    Scenario(
        name="all of these in turn",
        play=loaded_through(
            any_of(
                play.refused(503, "SlowDown"),
                play.reset,
                play.end_early,
                play.delayed(0.2),
                play.stall,
                play.bad_gateway,
            )
        ),
        slow=True,
    ),
    Scenario(
        name="all of these in turn, in threads",
        play=loaded_through(
            any_of(
                play.refused(503, "SlowDown"),
                play.reset,
                play.end_early,
                play.delayed(0.2),
                play.stall,
            ),
            **IN_THREADS,
        ),
        slow=True,
    ),
    Scenario(
        name="silence instead of an answer, in threads",
        play=loaded_through(every(8, lambda one: one.fall_silent()), **IN_THREADS),
        slow=True,
    ),
    Scenario(
        name="faults while the corpus is opened",
        play=loaded_through(
            since(1, play.delayed(0.0)),
            elsewhere=any_of(play.refused(503, "SlowDown"), play.reset, play.end_early, play.stall),
        ),
        slow=True,
    ),
    Scenario(
        name="a byte now and then", play=loaded_through(at(9, lambda one: one.pass_slowly(0.2)))
    ),
    Scenario(
        name="a byte now and then, without workers",
        play=loaded_through(at(9, lambda one: one.pass_slowly(0.2)), num_workers=0),
        slow=True,
    ),
    Scenario(
        name="expired credentials",
        play=loaded_through(since(10, play.refused(400, "ExpiredToken"))),
        refused=r"\.tar is in a store that refuses the credentials; check AWS_ACCESS_KEY_ID",
    ),
    Scenario(
        name="expired credentials, in threads",
        play=loaded_through(since(10, play.refused(400, "ExpiredToken")), **IN_THREADS),
        refused=r"\.tar is in a store that refuses the credentials; check AWS_ACCESS_KEY_ID",
        slow=True,
    ),
    Scenario(
        name="a wrong secret",
        play=play.wrong_secret,
        refused=r"corpus\.json is in a store that refuses the credentials",
    ),
    Scenario(
        name="key revoked while it reads",
        play=play.key_revoked,
        refused=r"\.tar is in a store that refuses the credentials",
        slow=True,
    ),
    Scenario(
        name="access denied",
        play=loaded_through(since(10, play.refused(403, "AccessDenied"))),
        refused=r"\.tar cannot be accessed with these credentials; ask for access",
        slow=True,
    ),
    Scenario(
        name="a log-in page instead of bytes",
        play=loaded_through(since(10, play.login_page)),
        refused=r"\.tar is in a store that serves no byte ranges",
        slow=True,
    ),
    Scenario(
        name="shard replaced while it is read",
        play=play.replaced_while_it_is_read,
        refused=r"\.tar changed while it was being read; wait until its writer is done",
    ),
    Scenario(
        name="shard replaced between two reads",
        play=play.replaced_between_reads,
        refused=r"\.tar was replaced or damaged after its index was written",
    ),
    Scenario(
        name="shards that are not those of the index",
        play=play.built_again_otherwise,
        refused=r"\.tar was replaced or damaged after its index was written",
        slow=True,
    ),
    Scenario(
        name="shard cut short",
        play=play.cut_short,
        refused=r"\.tar ends before the requested bytes",
        slow=True,
    ),
    Scenario(
        name="shards deleted while they are read",
        play=play.deleted_while_it_is_read,
        refused=r"\.tar does not exist; check the address",
    ),
    Scenario(
        name="server killed and started again", play=play.server_killed_and_started_again, slow=True
    ),
    Scenario(
        name="server killed for good",
        play=play.server_does_not_come_back,
        refused=r"\.tar: \d+ requests failed within \d+\.\d s",
        slow=True,
    ),
    Scenario(
        name="worker killed",
        play=play.worker_killed,
        refused=r"the loader stopped \(DataLoader worker .* "
        r"(killed by signal: Killed|exited unexpectedly)",
    ),
    Scenario(
        name="worker stopped",
        play=play.worker_stopped,
        refused=r"the loader stopped \("
        r"(DataLoader timed out after 8 seconds|DataLoader worker|a worker ended)",
        slow=True,
    ),
    Scenario(name="whole job killed and resumed", play=play.killed_and_resumed),
    Scenario(name="cache: disk full", play=cache.disk_full),
    Scenario(name="cache: limit below a shard", play=cache.limit_below_a_shard, slow=True),
    Scenario(
        name="cache: folder that cannot be made",
        play=cache.folder_that_cannot_be,
        refused=r"CacheError: .*/cache/below: Not a directory; choose a cache_dir",
    ),
    Scenario(name="cache: files changed in use", play=cache.harmed(cache.change_a_byte)),
    Scenario(name="cache: files cut short in use", play=cache.harmed(cache.cut), slow=True),
    Scenario(
        name="cache: files removed in use", play=cache.harmed(lambda path: path.unlink()), slow=True
    ),
    Scenario(name="cache: wrong files from the start", play=cache.wrong_from_the_start, slow=True),
    Scenario(name="cache: folder removed in use", play=cache.folder_removed, slow=True),
    Scenario(name="cache: files changed and not to be removed", play=cache.disk_fails),
    Scenario(name="cache: filling process killed", play=cache.filler_killed),
    Scenario(name="cache: two jobs on one folder", play=cache.two_jobs),
    Scenario(
        name="cache: job killed while it fills, started again", play=cache.killed_while_it_fills
    ),
]


def play_scenario(scenario: Scenario, site: Site, undisturbed: Sequence[LoadedSample]) -> Ending:
    """Play a scenario and judge its ending."""
    try:
        loaded = scenario.play(site)
    except pytest.skip.Exception as error:  # the machine lacks a permission
        return Ending(verdict="not tried", message=str(error), seconds=0.0)
    except AssertionError as error:
        return Ending(verdict="BROKEN", message=f"unexpected: {error}", seconds=0.0)
    return judge(scenario, loaded, undisturbed)


def judge(
    scenario: Scenario, loaded: Sequence[Loaded], undisturbed: Sequence[LoadedSample]
) -> Ending:
    """Return whether the jobs ended as they must."""
    seconds = sum(job.seconds for job in loaded)
    for job in loaded:
        broken = job.broken or _is_wrong(scenario, job, undisturbed)
        if broken:
            return Ending(verdict="BROKEN", message=broken, seconds=seconds)
    return Ending(
        verdict="refused" if scenario.refused else "same stream",
        message=loaded[-1].error,
        seconds=seconds,
    )


def _is_wrong(scenario: Scenario, job: Loaded, undisturbed: Sequence[LoadedSample]) -> str:
    """Describe how a job violates the scenario; empty if it does not."""
    for sample, expected in zip(job.samples, undisturbed, strict=False):
        if sample != expected:
            return f"another sample: {sample} instead of {expected}"
    if job.quarantined:
        return f"good samples were taken for bad ones: {job.quarantined[:2]}"
    if not scenario.refused:
        return job.error or (
            ""
            if len(job.samples) == job.asked
            else f"the job ended after {len(job.samples)} samples"
        )
    if "\n" in job.error or not re.search(scenario.refused, job.error):
        return f"the error was {job.error!r}" if job.error else "the run continued without an error"
    return ""
