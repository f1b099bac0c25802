"""A build on 100 nodes, simulated from measured times: how long its tail is, and what bounds it.

    .venv/bin/python -m benchmarks.nodes [--nodes 100] [--cores 16]

The simulation has the rules of `surgrec-shard build --engine ray`: the order of groups and videos,
how many are started and submitted, and the cores of a long video. A task takes its cores
on one node, as soon as it is the first of its number of cores for which a node has enough. One core
encodes all clips of a video, however many decode it. A group is packed when its last video is done.
Nodes have at least eight cores, so no video is divided among them. The times per minute of video
were measured with `build.py`; lengths, speeds of nodes and the rate of packing are assumptions.
"""

import heapq
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from surgrec_shard.engines import LocalEngine
from surgrec_shard.groups import PlannedVideo
from surgrec_shard.packing import bytes_of, most_cores_submitted, needs_of

from surgrec.cli import parse
from surgrec.manifest import Video
from surgrec.ranges import Range
from surgrec.recordings import FileIdentity

VIDEOS, HOURS = 10_535, 2_383
GROUP_VIDEOS = 34
"""Videos of a group on average."""
CORE_S_PER_MINUTE = {"720p30": 12.0, "1080p25": 25.0}
"""Processor time for a minute of video, measured; half of the videos have each format."""
ENCODER_S_PER_MINUTE = 3.3
"""The part of it that one core has to do, measured."""
START_S = 1.0
"""Seconds to start a task."""
MB_PER_HOUR = 182
"""Stored bytes of an hour of video, measured."""
BYTES_PER_CORE_S = 10**6
"""Bytes of an original per second of its processor time: only their ratios count."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster, and the videos that it builds."""

    nodes: Annotated[int, Range(1, 10_000)] = 100
    """Nodes."""
    cores: Annotated[int, Range(8, 1024)] = 16
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
    """A video to encode, or a group to pack."""

    group: int
    work_s: float
    """Processor time."""
    least_s: float
    """What is left of it with any number of cores."""
    video: PlannedVideo | None = None
    """None: the group is packed."""

    def time_s(self, cores: int) -> float:
        """Return the time that it takes on a number of cores of usual speed."""
        return START_S + max(self.least_s, self.work_s / cores)


class Machines(LocalEngine):
    """The size of a cluster, as `needs_of` asks for it. It runs no tasks."""

    def __init__(self, nodes: int, cores: int) -> None:
        super().__init__(1)
        self.nodes, self._cores = nodes, cores

    @property
    def cores(self) -> int:
        """Cores of all nodes."""
        return self.nodes * self._cores

    @property
    def cores_of_a_machine(self) -> int:
        """Cores of each node."""
        return self._cores

    @property
    def machines(self) -> int:
        """Number of nodes."""
        return self.nodes


def main(config: Cluster) -> None:
    """Print the wall time of a build, with and without further cores for long videos."""
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
    print("| a video has | order | wall min | / ideal | 99 % done after | done twice | started |")
    print("|---|---|---|---|---|---|---|")
    listed = make_groups(minutes, rates)
    longest_first = in_order_of_a_build(listed)
    for cores, order, groups in (
        ("one core", "as listed", listed),
        ("one core", "longest first", longest_first),
        ("up to 8 cores", "longest first", longest_first),
    ):
        result = Simulation(config, speeds, has_more=cores != "one core").run(groups)
        print(
            f"| {cores} | {order} | {result.wall_s / 60:.1f} "
            f"| {result.wall_s / result.ideal_s:.3f} | {result.nearly_s / result.wall_s:.0%} "
            f"| {result.lost_s / 3600:.1f} core-h | {result.most_started:,} videos |",
            flush=True,
        )


def make_groups(minutes: np.ndarray, rates: np.ndarray) -> list[list[Task]]:
    """Return the videos of all groups."""
    groups = defaultdict(list)
    for number, (length, rate) in enumerate(zip(minutes.tolist(), rates.tolist(), strict=True)):
        work_s = length * rate
        task = Task(
            group=number // GROUP_VIDEOS,
            work_s=work_s,
            least_s=length * ENCODER_S_PER_MINUTE,
            video=_planned(number, round(work_s * BYTES_PER_CORE_S)),
        )
        groups[task.group].append(task)
    return list(groups.values())


def _planned(number: int, size: int) -> PlannedVideo:
    path = Path(f"{number}.mp4")
    video = Video(path=path, source="made", domain="other", case="", split="train")
    identity = FileIdentity(device=1, inode=number, size=size, mtime_ns=1, ctime_ns=1)
    return PlannedVideo(video=video, id=f"{number:012x}", case="", identity=identity)


def in_order_of_a_build(groups: Sequence[list[Task]]) -> list[list[Task]]:
    """Return the groups by their longest video, and the videos of each by their length."""
    ordered = [sorted(group, key=lambda task: -task.work_s) for group in groups]
    return sorted(ordered, key=lambda group: -group[0].work_s)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A simulated build. Times are in seconds."""

    wall_s: float
    ideal_s: float
    """Wall time if all work were divided evenly, without a lost node."""
    nearly_s: float
    """Moment at which 99 % of the work is done."""
    lost_s: float
    """Core time of tasks that were done twice, because a node was lost."""
    most_started: int
    """Most videos of groups that were not packed at a time."""


@dataclass(frozen=True)
class _Running:
    task: Task
    node: int
    cores: int
    start_s: float


@dataclass
class Simulation:
    """One build. Use `run` once.

    Args:
        config: The cluster.
        speeds: Speed of each node; 1: the usual one.
        has_more: Long videos have more cores than one.
    """

    config: Cluster
    speeds: np.ndarray
    has_more: bool
    now_s: float = 0.0
    lost_s: float = 0.0
    waiting_bytes: int = 0
    started_videos: int = 0
    most_started: int = 0
    submitted: int = 0
    """Cores of the submitted videos that have not ended."""
    held: deque[Task] = field(default_factory=deque)
    """Videos of started groups that are not submitted."""
    queues: dict[int, deque[tuple[int, Task]]] = field(default_factory=lambda: defaultdict(deque))
    """Waiting tasks by their cores, with a number that tells their order."""
    running: dict[int, _Running] = field(default_factory=dict)
    ends: list[tuple[float, int]] = field(default_factory=list)
    done: list[tuple[float, float]] = field(default_factory=list)
    """Moment and processor time of each ended task."""

    def run(self, groups: Sequence[list[Task]]) -> Result:
        """Return the times of a build of groups, which are started in this order."""
        config = self.config
        self.free = np.full(config.nodes, config.cores)
        self.machines, self.numbers = Machines(config.nodes, config.cores), itertools.count()
        self.left = Counter(task.group for group in groups for task in group)
        pack_s = HOURS * MB_PER_HOUR / config.pack_mb_per_s / len(groups)
        self.sizes = {group[0].group: len(group) for group in groups}
        self.packs = {
            group: Task(group=group, work_s=pack_s, least_s=pack_s) for group in self.sizes
        }
        self.waiting_bytes = sum(_bytes(task) for group in groups for task in group)
        tasks = [task for group in groups for task in group] + list(self.packs.values())
        ideal_s = sum(task.time_s(1) for task in tasks) / (self.speeds.sum() * config.cores)

        # Nodes are lost at moments spread over the ideal time.
        losses = deque(
            (ideal_s * (node + 1) / (config.lost + 1), node) for node in range(config.lost)
        )
        unstarted = deque(groups)
        while unstarted or self.held or self.running or any(self.queues.values()):
            self._submit_videos(unstarted)
            self._start_tasks()
            if losses and losses[0][0] <= self.ends[0][0]:
                self._lose(*losses.popleft())
            else:
                self._end()

        moments, works = np.array(self.done).T
        nearly_s = float(moments[np.searchsorted(np.cumsum(works), 0.99 * works.sum())])
        return Result(
            wall_s=self.now_s,
            ideal_s=ideal_s,
            nearly_s=nearly_s,
            lost_s=self.lost_s,
            most_started=self.most_started,
        )

    def _submit_videos(self, unstarted: deque[list[Task]]) -> None:
        """Submit videos, and start groups, until few more cores are asked for than there are."""
        while self.submitted < most_cores_submitted(self.machines):
            if not self.held and unstarted:
                group = unstarted.popleft()
                self.started_videos += len(group)
                self.most_started = max(self.most_started, self.started_videos)
                self.held.extend(group)
            if not self.held:
                return
            task = self.held.popleft()
            assert task.video is not None
            needs = needs_of(task.video, self.waiting_bytes, self.machines)
            cores = needs.cores if self.has_more else 1
            self.submitted += cores
            self._queue(task, cores)

    def _queue(self, task: Task, cores: int) -> None:
        self.queues[cores].append((next(self.numbers), task))

    def _start_tasks(self) -> None:
        """Start the first task of each number of cores, as long as a node has enough for it."""
        while True:
            most = int(self.free.max())
            heads = [(queue[0][0], cores) for cores, queue in self.queues.items() if queue]
            fitting = [head for head in heads if head[1] <= most]
            if not fitting:
                return
            number, cores = min(fitting)
            _, task = self.queues[cores].popleft()
            node = int(self.free.argmax())
            self.free[node] -= cores
            self.running[number] = _Running(task, node, cores, self.now_s)
            end_s = self.now_s + task.time_s(cores) / float(self.speeds[node])
            heapq.heappush(self.ends, (end_s, number))

    def _lose(self, moment_s: float, node: int) -> None:
        """Lose a node. Its tasks wait behind those that are submitted."""
        self.now_s, self.free[node] = moment_s, 0
        self.machines.nodes -= 1
        lost = {number: each for number, each in self.running.items() if each.node == node}
        for number, each in lost.items():
            del self.running[number]
            self.lost_s += each.cores * (self.now_s - each.start_s)
            self._queue(each.task, each.cores)
        self.ends = [end for end in self.ends if end[1] not in lost]
        heapq.heapify(self.ends)

    def _end(self) -> None:
        """End the next task, and pack its group if it was the last video."""
        self.now_s, number = heapq.heappop(self.ends)
        ended = self.running.pop(number)
        task = ended.task
        self.free[ended.node] += ended.cores
        self.done.append((self.now_s, task.work_s))
        if task.video is None:
            self.started_videos -= self.sizes[task.group]
            return
        self.submitted -= ended.cores
        self.waiting_bytes -= _bytes(task)
        self.left[task.group] -= 1
        if self.left[task.group] == 0:
            self._queue(self.packs[task.group], 1)


def _bytes(task: Task) -> int:
    return bytes_of(task.video) if task.video else 0


if __name__ == "__main__":
    main(parse(Cluster, prog="benchmarks/nodes.py"))
