"""Packing of many groups on an engine: their videos are encoded, and each full group is packed."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from surgrec.recordings import BadVideoError
from surgrec.terminal import say
from surgrec_shard.cost import MOST_DECODERS
from surgrec_shard.encode import EncodedVideo
from surgrec_shard.engines import Engine, Needs, Task
from surgrec_shard.group_records import GroupRecord
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.span_room import MOST_BYTES, SpanRoom
from surgrec_shard.span_tasks import remove_spans
from surgrec_shard.video_tasks import DividedVideo

_MOST_OF_THE_TIME = 0.5
"""Share of the time that is left for all videos, within which each of them should end."""
_CORES_PER_WAITING = 8
"""Cores of the engine for each core of submitted videos that may wait for a free one."""


@dataclass(kw_only=True)
class Footage:
    """How much video of a build is finished."""

    total_bytes: int
    """Size of all files that are to be read."""
    bytes: int = 0
    """Size of the files that are finished."""
    hours: float = 0.0
    """Length of the videos in them that can be used."""


@dataclass(kw_only=True)
class StartedGroup:
    """A group, and the state of its videos."""

    group: Group
    results: dict[str, EncodedVideo | BadVideoError] = field(default_factory=dict)
    """Clips of the ended videos by name, or why a video cannot be used."""
    spans: int = 0
    """Tasks of spans of its videos that have not ended."""

    @property
    def has_ended(self) -> bool:
        """Whether no task works for its videos any more."""
        return len(self.results) == len(self.group.videos) and not self.spans

    def encoded(self) -> dict[str, EncodedVideo]:
        """Return the videos with clips, in the order of the group."""
        found = ((video.id, self.results[video.id]) for video in self.group.videos)
        return {name: each for name, each in found if isinstance(each, EncodedVideo)}


class _VideoEnded(NamedTuple):
    started: StartedGroup
    video: PlannedVideo
    future: "Future[EncodedVideo | DividedVideo]"


class _Held(NamedTuple):
    started: StartedGroup
    video: PlannedVideo


class _SpanEnded(NamedTuple):
    started: StartedGroup
    future: "Future[None]"


class _GroupPacked(NamedTuple):
    started: StartedGroup
    future: "Future[GroupRecord]"


class GroupPacking:
    """Encodes the videos of groups, and packs each group when its last video has ended.

    A group is started when no video of the earlier ones waits and a core has room, so the work
    folder holds few of them: each has a video that is in work, or is packed.

    Args:
        engine: Runs the tasks.
        encode: Returns the task that yields the clips of a video, and what it needs; called when
            the engine has room for it. Raises BadVideoError.
        ended: Called with each video that has ended, and its clips or the reason of its failure.
        pack: Returns the task that packs a group whose videos have ended.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        encode: Callable[[PlannedVideo], tuple[Task[EncodedVideo | DividedVideo], Needs]],
        ended: Callable[[PlannedVideo, EncodedVideo | BadVideoError], None],
        pack: Callable[[StartedGroup], Task[GroupRecord]],
    ) -> None:
        self._engine, self._encode, self._ended, self._pack = engine, encode, ended, pack
        self._events: SimpleQueue[_VideoEnded | _SpanEnded | _GroupPacked] = SimpleQueue()
        self._groups = 0
        self._room = SpanRoom()
        self._held: deque[_Held] = deque()
        self._working: dict[str, int] = {}

    def run(self, groups: Iterable[Group]) -> Iterator[tuple[StartedGroup, GroupRecord]]:
        """Yield each group that is packed, in no particular order.

        Args:
            groups: Each is asked for when there is room for it.

        Raises:
            SurgrecError: A task failed for another reason than its video.
        """
        waiting = iter(groups)
        while True:
            while self._has_room() and (group := next(waiting, None)) is not None:
                self._start(group)
            if not self._groups:
                return

            event = self._events.get()
            if isinstance(event, _VideoEnded):
                self._end_video(event)
            elif isinstance(event, _SpanEnded):
                self._end_span(event)
            else:
                self._groups -= 1
                yield event.started, event.future.result()

    def _has_room(self) -> bool:
        working = sum(self._working.values())
        return not self._held and working < most_cores_submitted(self._engine)

    def _start(self, group: Group) -> None:
        started = StartedGroup(group=group)
        self._groups += 1
        # The longest ones first, so that none of them is left to a single core at the end.
        for video in sorted(group.videos, key=bytes_of, reverse=True):
            self._held.append(_Held(started, video))
        self._submit_held()

    def _submit_held(self) -> None:
        """Submit the videos that wait, until the engine has few more than it has cores for.

        So its own queue stays short for what cannot wait: packing, the spans of a long video, and
        the videos of a lost machine. A video that is submitted late gets more cores, because its
        share of what is left is larger.
        """
        most = most_cores_submitted(self._engine)
        while self._held and sum(self._working.values()) < most:
            started, video = self._held.popleft()
            self._working[_name_of(video)] = 0
            try:
                task, needs = self._encode(video)
            except BadVideoError as error:
                future: Future[EncodedVideo | DividedVideo] = Future()
                future.set_exception(error)
            else:
                self._working[_name_of(video)] = needs.cores
                future = self._engine.submit(task, needs)
            future.add_done_callback(partial(self._tell_video, started, video))

    def _divide(self, started: StartedGroup, video: PlannedVideo, divided: DividedVideo) -> None:
        """Encode a long video in one task, while others decode its spans if these have room."""
        facts, folder = self._engine.share(divided.facts), divided.task.spans
        has_room = self._room.take(_name_of(video), folder, divided.decoded_bytes)
        if not has_room:
            remove_spans(folder)
            say(
                f"video {_name_of(video)}: its decoded spans would take "
                f"{divided.decoded_bytes / 1e9:.1f} GB, more than there is room for "
                f"({MOST_BYTES / 1e9:.0f} GB in all, and half of the free space of --work), so one "
                "machine decodes it"
            )
        needs = _needs(video, 1 if has_room else _most_decoders(self._engine))
        self._working[_name_of(video)] = needs.cores
        whole = self._engine.submit(divided.whole(facts), needs)
        whole.add_done_callback(partial(self._tell_video, started, video))
        if not has_room:
            return

        spans = divided.tasks(facts)
        started.spans += len(spans)
        for span in spans:
            self._engine.submit(span, needs).add_done_callback(partial(self._tell_span, started))

    def _tell_video(
        self,
        started: StartedGroup,
        video: PlannedVideo,
        future: "Future[EncodedVideo | DividedVideo]",
    ) -> None:
        self._events.put(_VideoEnded(started, video, future))

    def _tell_span(self, started: StartedGroup, future: "Future[None]") -> None:
        self._events.put(_SpanEnded(started, future))

    def _tell_group(self, started: StartedGroup, future: "Future[GroupRecord]") -> None:
        self._events.put(_GroupPacked(started, future))

    def _end_video(self, event: _VideoEnded) -> None:
        """Add a video to its group, or divide it."""
        started, video, future = event
        try:
            result: EncodedVideo | DividedVideo | BadVideoError = future.result()
        except BadVideoError as error:
            result = error
        if isinstance(result, DividedVideo):
            self._divide(started, video, result)
            return

        del self._working[_name_of(video)]
        self._room.give_back(_name_of(video))
        self._ended(video, result)
        started.results[video.id] = result
        self._pack_if_ended(started)
        self._submit_held()

    def _end_span(self, event: _SpanEnded) -> None:
        with suppress(BadVideoError):  # the task that encodes the video finds the same
            event.future.result()
        event.started.spans -= 1
        self._pack_if_ended(event.started)

    def _pack_if_ended(self, started: StartedGroup) -> None:
        """Pack a group if no task works for its videos any more."""
        if started.has_ended:
            packing = self._engine.submit(self._pack(started), Needs(is_urgent=True))
            packing.add_done_callback(partial(self._tell_group, started))


def most_cores_submitted(engine: Engine) -> int:
    """Return for how many cores an engine gets videos: few of them wait, so that no core does."""
    return engine.cores + max(1, engine.cores // _CORES_PER_WAITING)


def needs_of(video: PlannedVideo, waiting_bytes: int, engine: Engine) -> Needs:
    """Return the needs of the encoding of a video.

    A video that would take one core more than half of the time that is left gets further decoders
    on its machine, so that it ends in this half: machines differ, and may be lost.

    Args:
        video: The video.
        waiting_bytes: Size of all videos that have not ended.
        engine: Encodes them.
    """
    share = _share_of_cores(video, waiting_bytes, engine)
    return _needs(video, max(1, min(_most_decoders(engine), math.ceil(share / _MOST_OF_THE_TIME))))


def exceeds_a_machine(video: PlannedVideo, waiting_bytes: int, engine: Engine) -> bool:
    """Return whether a video needs more decoders than its machine has, and there are others.

    Args:
        video: The video.
        waiting_bytes: Size of all videos that have not ended.
        engine: Encodes them.
    """
    share = _share_of_cores(video, waiting_bytes, engine)
    return engine.machines > 1 and min(MOST_DECODERS, share) > engine.cores_of_a_machine


def _share_of_cores(video: PlannedVideo, waiting_bytes: int, engine: Engine) -> float:
    """Return how many of all cores are the part of a video, by its size among those that wait."""
    return bytes_of(video) * engine.cores / max(1, waiting_bytes)


def _most_decoders(engine: Engine) -> int:
    """Return how many decoders of one video any machine can run."""
    return min(engine.cores_of_a_machine, MOST_DECODERS)


def _needs(video: PlannedVideo, cores: int) -> Needs:
    return Needs(cores=cores, memory_bytes=cores << 30, files=(video.video.path,))


def _name_of(video: PlannedVideo) -> str:
    return f"{video.video.source}/{video.id}"


def bytes_of(video: PlannedVideo) -> int:
    """Return the size of a video's file; 0 if it is not known."""
    return video.identity.size if video.identity else 0
