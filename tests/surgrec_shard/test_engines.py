"""Engines run tasks, and few of them wait at a time."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from surgrec_shard.encode import EncodedVideo
from surgrec_shard.engines import Engine, LocalEngine, Needs, Task, completed
from surgrec_shard.engines._engine import ResultType
from surgrec_shard.group_records import GroupRecord
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.packing import GroupPacking, StartedGroup, most_cores_submitted

from surgrec.errors import StorageError
from surgrec.manifest import Video
from surgrec.recordings import BadVideoError
from surgrec.recordings.decoders import Decoders


@dataclass
class CountingEngine(Engine):
    """Runs each task when the next one is asked for, and counts those that wait."""

    number: int
    most: int = 0
    _waiting: list[int] = field(default_factory=list)

    @property
    def cores(self) -> int:
        return self.number

    @property
    def cores_of_a_machine(self) -> int:
        return 1

    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        future: Future[ResultType] = Future()
        self._waiting.append(1)
        self.most = max(self.most, len(self._waiting))
        self._inner.submit(lambda decoders: self._run(task, future))
        return future

    def close(self) -> None:
        self._inner.close()

    def __post_init__(self) -> None:
        self._inner = LocalEngine(1)

    def _run(self, task: Task[ResultType], future: "Future[ResultType]") -> None:
        self._waiting.pop()
        try:
            future.set_result(task(Decoders(1)))
        except (BadVideoError, StorageError) as error:
            future.set_exception(error)


@dataclass(frozen=True)
class Square:
    number: int

    def __call__(self, decoders: Decoders) -> int:
        if self.number == 13:
            raise BadVideoError("unlucky", "the number 13")
        return self.number**2


def test_every_task_ends_once_and_an_error_is_that_of_its_task() -> None:
    with LocalEngine(3) as engine:
        ended = dict(completed(engine, ((number, Square(number), Needs()) for number in range(50))))
    assert sorted(ended) == list(range(50))
    assert [ended[n].result() for n in range(50) if n != 13] == [n**2 for n in range(50) if n != 13]
    with pytest.raises(BadVideoError, match="the number 13"):
        ended[13].result()


def test_few_tasks_wait_however_many_there_are() -> None:
    with CountingEngine(3) as engine:
        assert len(list(completed(engine, ((n, Square(0), Needs()) for n in range(1000))))) == 1000
        assert engine.most <= 6


def groups_of(videos_per_group: int, number: int) -> list[Group]:
    return [
        Group(
            source="lap",
            split="train",
            number=group,
            settings="",
            videos=tuple(
                PlannedVideo(
                    video=Video(
                        path=Path("x"), source="lap", domain="other", case="", split="train"
                    ),
                    id=f"{group * videos_per_group + index:012x}",
                    case="",
                )
                for index in range(videos_per_group)
            ),
        )
        for group in range(number)
    ]


def clips_of(video: PlannedVideo) -> EncodedVideo:
    return EncodedVideo(
        folder=Path(video.id),
        clips=[],
        fps=1.0,
        width=1,
        height=1,
        native_fps=1.0,
        native_width=1,
        native_height=1,
        crop="",
        end_s=1.0,
        dropped=[],
        complaints=0,
        notes=[],
    )


@pytest.mark.parametrize(("cores", "most"), [(1, 2), (8, 8)])
def test_as_many_groups_are_started_as_keep_the_cores_busy(cores: int, most: int) -> None:
    started: set[int] = set()
    packed: set[int] = set()
    numbers: list[int] = []

    def encode(video: PlannedVideo) -> tuple[Task[EncodedVideo], Needs]:
        started.add(int(video.id, 16) // 4)
        numbers.append(len(started - packed))
        return (lambda decoders: clips_of(video)), Needs()

    with CountingEngine(cores) as engine:
        packing = GroupPacking(
            engine,
            encode=encode,
            ended=lambda video, result: None,
            pack=lambda started: lambda decoders: GroupRecord(config=str(started.group.number)),
        )
        for each, group in packing.run(groups_of(4, 30)):
            assert list(each.encoded()) == [video.id for video in each.group.videos]
            assert group.config == str(each.group.number)
            packed.add(each.group.number)
    assert packed == set(range(30))
    assert max(numbers) <= most


def test_a_full_group_waits_for_few_videos_however_many_are_started() -> None:
    begun: list[str] = []
    ended: list[str] = []
    ahead: list[int] = []
    behind: list[int] = []

    def encode(video: PlannedVideo) -> tuple[Task[EncodedVideo], Needs]:
        ahead.append(len(ahead) - len(ended))

        def task(decoders: Decoders) -> EncodedVideo:
            begun.append(video.id)
            return clips_of(video)

        return task, Needs()

    def pack(started: StartedGroup) -> Task[GroupRecord]:
        last = started.group.videos[-1].id

        def task(decoders: Decoders) -> GroupRecord:
            behind.append(len(begun) - begun.index(last) - 1)
            return GroupRecord(config="")

        return task

    with CountingEngine(8) as engine:
        most = most_cores_submitted(engine)
        assert most == 9
        packing = GroupPacking(
            engine, encode=encode, ended=lambda video, _: ended.append(video.id), pack=pack
        )
        assert len(list(packing.run(groups_of(4, 30)))) == 30
    assert len(behind) == 30
    assert max(behind) <= most
    assert max(ahead) < most


def test_a_bad_video_costs_itself_and_a_full_disk_ends_the_work() -> None:
    def encode(video: PlannedVideo) -> tuple[Task[EncodedVideo], Needs]:
        if video.id.endswith("1"):
            raise BadVideoError("overlap", "known before it is decoded")

        def task(decoders: Decoders) -> EncodedVideo:
            if video.id.endswith("2"):
                raise BadVideoError("undecodable", "found by its decoder")
            if video.id.endswith("f"):
                raise StorageError("the disk is full")
            return clips_of(video)

        return task, Needs()

    groups = groups_of(4, 4)
    with LocalEngine(2) as engine:
        packing = GroupPacking(
            engine,
            encode=encode,
            ended=lambda video, result: None,
            pack=lambda started: lambda decoders: GroupRecord(config=""),
        )
        ((started, _),) = packing.run(groups[:1])
        assert list(started.encoded()) == [f"{0:012x}", f"{3:012x}"]
        with pytest.raises(StorageError, match="the disk is full"):
            list(packing.run(groups[3:]))
