"""A build on 100 nodes, simulated from measured times: how long its tail is, and what bounds it.

    .venv/bin/python -m benchmarks.nodes [--nodes 100] [--cores 16]

A task is a video, or a span of a long video, on one core; that one core encodes all clips of a
video is not told apart. A group is packed when its last task is done. Each free core takes the next
task, as a scheduler of a cluster does. The times per minute of video were measured with `build.py`
and `long_video.py`; lengths, speeds of nodes and the rate of packing are assumptions.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from surgrec.cli import parse
from surgrec.ranges import Range

VIDEOS, HOURS = 10_535, 2_383
GROUP_VIDEOS = 34
"""Videos of a group on average."""
CORE_S_PER_MINUTE = {"720p30": 12.0, "1080p25": 25.0}
"""Processor time for a minute of video, measured; half of the videos have each format."""
START_S = 1.0
"""Seconds to start a task."""
MB_PER_HOUR = 182
"""Stored bytes of an hour of video, measured."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, and the videos that it builds."""

    nodes: Annotated[int, Range(1, 10_000)] = 100
    """Nodes."""
    cores: Annotated[int, Range(1, 1024)] = 16
    """Cores of a node."""
    lost: Annotated[int, Range(0, 1000)] = 3
    """Nodes that are lost at different moments and never come back; their tasks start again."""
    spread: Annotated[float, Range(0, 1)] = 0.8
    """Standard deviation of the logarithm of a video's length."""
    pack_mb_per_s: Annotated[float, Range(1, 10_000)] = 100.0
    """Rate at which a group is packed and stored."""
    seed: Annotated[int, Range(0, 10**6)] = 0
    """Seed of lengths and speeds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work of one core."""

    group: int
    work_s: float


def main(config: Cluster) -> None:
    """Print the wall time of a build by the longest task and by the order of the tasks."""
    random = np.random.default_rng(config.seed)
    minutes = random.lognormal(0, config.spread, VIDEOS)
    minutes *= HOURS * 60 / minutes.sum()
    rates = random.choice(list(CORE_S_PER_MINUTE.values()), VIDEOS)
    # A node differs from its neighbors by a twentieth; one in twenty has a third less.
    speeds = random.normal(1, 0.05, config.nodes) * random.choice(
        [1, 2 / 3], config.nodes, p=[0.95, 0.05]
    )

    longest_h, core_hours = minutes.max() / 60, (minutes * rates).sum() / 3600
    print(f"{VIDEOS:,} videos, half of them over {np.median(minutes):.0f} minutes, ", end="")
    print(f"the longest {longest_h:.1f} h; {core_hours:,.0f} core-hours")
    print("| longest task | order | tasks | wall min | / ideal | 99 % done after | done twice |")
    print("|---|---|---|---|---|---|---|")
    for span_min in (math.inf, 60.0, 20.0, 10.0, 5.0):
        tasks = make_tasks(minutes, rates, span_min)
        for order, ordered in (
            ("by group", tasks),
            ("longest first", _longest_first(tasks)),
        ):
            result = simulate(ordered, speeds, config)
            longest = "a video" if math.isinf(span_min) else f"{span_min:g} min"
            print(
                f"| {longest} | {order} | {len(tasks):,} | {result.wall_s / 60:.1f} "
                f"| {result.wall_s / result.ideal_s:.3f} | {result.nearly_s / result.wall_s:.0%} "
                f"| {result.lost_s / 3600:.1f} core-h |"
            )


def make_tasks(minutes: np.ndarray, rates: np.ndarray, span_min: float) -> list[Task]:
    """Return the tasks of all groups: videos, or their spans of at most `span_min` minutes."""
    tasks = []
    for video, (length, rate) in enumerate(zip(minutes.tolist(), rates.tolist(), strict=True)):
        spans = max(1, math.ceil(length / span_min))
        work_s = length * rate / spans + START_S
        tasks += [Task(group=video // GROUP_VIDEOS, work_s=work_s)] * spans
    return tasks


def _longest_first(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks sorted by their length: no long one is left for the end."""
    return sorted(tasks, key=lambda task: -task.work_s)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A simulated build. Times are in seconds."""

    wall_s: float
    ideal_s: float
    """Wall time if all work were divided evenly, without a lost node."""
    nearly_s: float
    """Moment at which 99 % of the work is done."""
    lost_s: float
    """Work that was done twice, because a node was lost."""


def simulate(tasks: Sequence[Task], speeds: np.ndarray, config: Cluster) -> Result:
    """Give each free core the next task, and pack a group as soon as its tasks are done."""
    waiting, left = deque(tasks), Counter(task.group for task in tasks)
    pack_s = HOURS * MB_PER_HOUR / config.pack_mb_per_s / len(left)
    work_s = sum(task.work_s for task in tasks) + pack_s * len(left)
    ideal_s = work_s / (speeds.sum() * config.cores)

    # Nodes are lost at moments spread over the ideal time.
    losses = deque((ideal_s * (node + 1) / (config.lost + 1), node) for node in range(config.lost))
    idle = deque(range(config.nodes * config.cores))
    running: dict[int, tuple[Task, float]] = {}
    ends: list[tuple[float, int]] = []
    done: list[tuple[float, float]] = []
    lost_s = now_s = 0.0

    while waiting or running:
        while waiting and idle:
            core, task = idle.popleft(), waiting.popleft()
            end_s = now_s + task.work_s / float(speeds[core // config.cores])
            running[core] = task, now_s
            heapq.heappush(ends, (end_s, core))

        if losses and losses[0][0] <= ends[0][0]:
            now_s, node = losses.popleft()
            gone = set(range(node * config.cores, (node + 1) * config.cores))
            lost = [running.pop(core) for core in gone & running.keys()]
            lost_s += sum(now_s - start_s for _, start_s in lost)
            waiting.extendleft(task for task, _ in lost)
            idle = deque(core for core in idle if core not in gone)
            ends = [(end_s, core) for end_s, core in ends if core not in gone]
            heapq.heapify(ends)
            continue

        now_s, core = heapq.heappop(ends)
        task, _ = running.pop(core)
        idle.append(core)
        done.append((now_s, task.work_s))
        left[task.group] -= 1
        if left[task.group] == 0:
            waiting.appendleft(Task(group=task.group, work_s=pack_s))

    moments, works = np.array(done).T
    nearly_s = float(moments[np.searchsorted(np.cumsum(works), 0.99 * works.sum())])
    return Result(wall_s=now_s, ideal_s=ideal_s, nearly_s=nearly_s, lost_s=lost_s)


if __name__ == "__main__":
    main(parse(Cluster, prog="benchmarks/nodes.py"))
