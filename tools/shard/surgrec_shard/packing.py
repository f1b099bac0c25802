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
from surgrec_shard.video_tasks import DividedVideo, EncodeTask

_MOST_VIDEOS = 4
"""Videos of started groups, per core, beyond which no further group is started. Some of them have
ended, and wait for the last video of their group."""
_FEWEST_GROUPS = 2
"""Groups that are started in any case: one is packed while the next one is encoded."""


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
    task: Task[EncodedVideo | DividedVideo]
    needs: Needs


class _SpanEnded(NamedTuple):
    started: StartedGroup
    future: "Future[None]"


class _GroupPacked(NamedTuple):
    started: StartedGroup
    future: "Future[GroupRecord]"


class GroupPacking:
    """Encodes the videos of groups, and packs each group when its last video has ended.

    Few groups are started at a time, so the work folder holds few of them: two, or as many as keep
    the cores of the engine busy.

    Args:
        engine: Runs the tasks.
        encode: Returns the task that yields the clips of a video. Raises BadVideoError.
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
        self._videos = self._groups = 0
        self._room = SpanRoom()
        self._held: deque[_Held] = deque()
        self._working: set[str] = set()
        self._dividing: set[str] = set()

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
                self._videos -= len(event.started.group.videos)
                yield event.started, event.future.result()

    def _has_room(self) -> bool:
        most = _MOST_VIDEOS * self._engine.cores
        return self._groups < _FEWEST_GROUPS or self._videos < most

    def _start(self, group: Group) -> None:
        started = StartedGroup(group=group)
        self._groups += 1
        self._videos += len(group.videos)
        # The longest ones first, so that none of them is left to a single core at the end.
        for video in sorted(group.videos, key=bytes_of, reverse=True):
            try:
                task, needs = self._encode(video)
            except BadVideoError as error:
                future: Future[EncodedVideo | DividedVideo] = Future()
                future.set_exception(error)
                self._tell_video(started, video, future)
                continue
            if isinstance(task, EncodeTask) and task.is_divided:
                self._dividing.add(_name_of(video))
            self._held.append(_Held(started, video, task, needs))
        self._submit_held()

    def _submit_held(self) -> None:
        """Submit the videos that wait; while a long one is being divided, only one per core.

        The rest of the long video takes longest, so it must not wait behind all the others.
        """
        while self._held and (not self._dividing or len(self._working) < self._engine.cores):
            started, video, task, needs = self._held.popleft()
            self._working.add(_name_of(video))
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
        self._dividing.discard(_name_of(video))
        if isinstance(result, DividedVideo):
            self._divide(started, video, result)
            self._submit_held()
            return

        self._working.discard(_name_of(video))
        self._room.give_back(_name_of(video))
        self._submit_held()
        self._ended(video, result)
        started.results[video.id] = result
        self._pack_if_ended(started)

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


def needs_of(video: PlannedVideo, waiting_bytes: int, engine: Engine) -> Needs:
    """Return the needs of the encoding of a video.

    A video that one core would still work on when all others are done gets further decoders on
    its machine: as many as let it end with them.

    Args:
        video: The video.
        waiting_bytes: Size of all videos that have not ended.
        engine: Encodes them.
    """
    share = _share_of_cores(video, waiting_bytes, engine)
    return _needs(video, max(1, min(_most_decoders(engine), math.ceil(share))))


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
