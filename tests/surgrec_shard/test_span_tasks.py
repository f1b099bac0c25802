"""Spans that other tasks have decoded give the clips of one decoder, and are decoded once."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from surgrec_shard.curation import Curation
from surgrec_shard.encode import EncodedVideo, encode_video
from surgrec_shard.engines import LocalEngine, Needs, Task
from surgrec_shard.engines._engine import ResultType
from surgrec_shard.group_records import GroupRecord
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.packing import GroupPacking, exceeds_a_machine
from surgrec_shard.span_room import SpanRoom
from surgrec_shard.span_tasks import SpanFolder, SpanTask, remove_other_spans, remove_spans
from surgrec_shard.video_tasks import DividedVideo, EncodeTask

from surgrec.errors import StorageError
from surgrec.manifest import Video
from surgrec.recordings import (
    BadVideoError,
    FileIdentity,
    PictureReader,
    Recording,
    RecordingFacts,
    inspect,
    read_error,
)
from surgrec.recordings._span_events import Chosen, Decoded, Decoder, SpanEvents
from surgrec.recordings.decoders import Decoders
from tests.support.clocks import overwrite
from tests.support.videos import TINY_ENCODING, make_video

X264 = ("-c:v", "libx264", "-bf", "2", "-g", "20")
SPAN_S = 2.0
GB = 1_000_000_000


def one() -> Decoders:
    return Decoders(1, span_s=SPAN_S)


def task_of(path: Path, folder: Path) -> EncodeTask:
    video = Video(path=path, source="lap", domain="other", case="", split="train")
    return EncodeTask(
        video=PlannedVideo(video=video, id="0" * 12, case=""),
        settings=TINY_ENCODING,
        curation=Curation(),
        folder=folder,
        is_divided=True,
    )


def divided(path: Path, folder: Path) -> tuple[EncodeTask, list[SpanTask]]:
    found = task_of(path, folder)(one())
    assert isinstance(found, DividedVideo)
    facts = LocalEngine(1).share(found.facts)
    found.task.spans.mkdir()
    return found.whole(facts), found.tasks(facts)


def files_of(encoded: EncodedVideo | DividedVideo) -> list[bytes]:
    assert isinstance(encoded, EncodedVideo)
    return [(encoded.folder / clip.file).read_bytes() for clip in encoded.clips]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("long") / "v.mp4", seconds=11, arguments=X264)


@pytest.mark.parametrize("stored", [(), (0,), (1,), (0, 2), "all"])
def test_clips_are_those_of_one_decoder_whatever_is_stored(
    stored: tuple[int, ...] | str, video: Path, tmp_path: Path
) -> None:
    alone = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    encode, spans = divided(video, tmp_path / "clips")
    numbers = range(len(spans)) if stored == "all" else stored
    for number in numbers:
        spans[int(number)](one())
    assert sorted(path.name for path in encode.spans.glob("0*")) == [f"{n:06d}" for n in numbers]

    encoded = encode(one())
    assert files_of(encoded) == files_of(alone)
    assert isinstance(encoded, EncodedVideo)
    assert (encoded.clips, encoded.dropped, encoded.notes) == (alone.clips, alone.dropped, [])
    assert (encoded.decoders > 1) == bool(stored)
    assert not encode.spans.exists()


def test_a_stored_span_is_not_decoded_again(video: Path, tmp_path: Path) -> None:
    _, spans = divided(video, tmp_path / "clips")
    spans[1](one())
    before = (spans[1].folder / "000001").stat()
    spans[1](one())
    after = (spans[1].folder / "000001").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_span_that_comes_too_late_is_not_decoded(video: Path, tmp_path: Path) -> None:
    encode, spans = divided(video, tmp_path / "clips")
    encode(one())
    spans[1](one())
    assert not encode.spans.exists()


def test_an_unfinished_span_of_a_killed_process_is_removed(video: Path, tmp_path: Path) -> None:
    _, spans = divided(video, tmp_path / "clips")
    left = spans[1].folder / "000001.partial-0123456789ab"
    left.mkdir()
    (left / "pictures").write_bytes(b"half")
    spans[1](one())
    assert sorted(path.name for path in spans[1].folder.glob("0*")) == ["000001"]


def cut_short(folder: Path) -> None:
    with (folder / "pictures").open("r+b") as file:
        file.truncate(100)


def garbled(folder: Path) -> None:
    (folder / "events.npz").write_bytes(b"no archive")


def emptied(folder: Path) -> None:
    (folder / "events.npz").write_bytes(b"")


def without_an_array(folder: Path) -> None:
    events = dict(np.load(folder / "events.npz", allow_pickle=False))
    del events["seam"]
    np.savez(folder / "events.npz", **events)


def at_other_times(folder: Path) -> None:
    events = dict(np.load(folder / "events.npz", allow_pickle=False))
    events["chosen_us"][-1] += 1
    np.savez(folder / "events.npz", **events)


def with_other_pictures(folder: Path) -> None:
    pictures = bytearray((folder / "pictures").read_bytes())
    pictures[:1000] = bytes(1000)
    (folder / "pictures").write_bytes(pictures)


def of_another_place(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("000002"), folder)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (cut_short, "the stored span 1 is not that of this recording"),
        (garbled, "a stored span cannot be read"),
        (emptied, "a stored span cannot be read"),
        (without_an_array, "a stored span cannot be read: it lacks seam"),
        (at_other_times, "a stored span has pictures at times of no decoded one"),
        (with_other_pictures, "two decoders returned different pictures"),
        (of_another_place, "the stored span 1 is not that of this recording"),
    ],
)
def test_a_spoiled_span_is_decoded_anew(
    spoil: Callable[[Path], None], finding: str, video: Path, tmp_path: Path
) -> None:
    alone = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    encode, spans = divided(video, tmp_path / "clips")
    for span in spans:
        span(one())
    spoil(encode.spans / "000001")
    encoded = encode(one())
    assert isinstance(encoded, EncodedVideo)
    assert f"decoded anew by one decoder: {finding}" in encoded.notes[0]
    assert files_of(encoded) == files_of(alone)


def test_a_damaged_span_is_told_as_that_of_several_decoders(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=11, arguments=X264)
    overwrite(video, start=0.6, end=0.63)
    alone = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    encode, spans = divided(video, tmp_path / "clips")
    for span in spans[1:]:
        span(one())
    found = [np.load(path, allow_pickle=False)["finding"] for path in encode.spans.rglob("*.npz")]
    assert any("a decoder complained" in str(finding) for finding in found)
    encoded = encode(one())
    assert isinstance(encoded, EncodedVideo)
    assert "decoded anew by one decoder: a decoder complained" in encoded.notes[-1]
    assert encoded.complaints == alone.complaints > 0
    assert files_of(encoded) == files_of(alone)


def test_a_span_that_cannot_be_read_for_now_is_not_stored(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, spans = divided(video, tmp_path / "clips")

    def events(decoded: SpanEvents, decoder: Decoder) -> Iterator[Decoded | Chosen]:
        yield from islice(decoder.events(), 0)
        raise read_error("the disk failed")

    with monkeypatch.context() as failing:
        failing.setattr(SpanEvents, "of", events)
        with pytest.raises(BadVideoError, match="the disk failed"):
            spans[1](one())
    assert not list(encode.spans.glob("000001*"))
    spans[1](one())
    assert (encode.spans / "000001").is_dir()


def test_an_encoder_whose_spans_another_one_removed_goes_on_alone(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    encode, _ = divided(video, tmp_path / "clips")
    claim = SpanFolder.claim

    def removed(spans: SpanFolder, number: int) -> bool:
        if number == 1:
            remove_spans(encode.spans)
        return claim(spans, number)

    monkeypatch.setattr(SpanFolder, "claim", removed)
    encoded = encode(one())
    assert files_of(encoded) == files_of(alone)
    assert isinstance(encoded, EncodedVideo)
    assert encoded.notes == []


def test_one_decoder_removes_the_spans_before_it_begins_anew(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, spans = divided(video, tmp_path / "clips")
    spans[1](one())
    garbled(encode.spans / "000001")
    left: list[bool] = []
    begin = PictureReader.__enter__

    def seen(reader: PictureReader) -> PictureReader:
        left.append(encode.spans.exists())
        return begin(reader)

    monkeypatch.setattr(PictureReader, "__enter__", seen)
    encode(one())
    assert left == [True, False]


def test_a_video_of_one_span_is_inspected_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=3, arguments=X264)
    seen: list[Recording] = []

    def counted(recording: Recording) -> RecordingFacts:
        seen.append(recording)
        return inspect(recording)

    for module in ("video_tasks", "encode"):
        monkeypatch.setattr(f"surgrec_shard.{module}.inspect", counted)
    assert isinstance(task_of(video, tmp_path / "clips")(one()), EncodedVideo)
    assert len(seen) == 1


def test_a_video_of_one_span_is_encoded_at_once(tmp_path: Path) -> None:
    video = make_video(tmp_path / "v.mp4", seconds=3, arguments=X264)
    task = task_of(video, tmp_path / "clips")
    assert files_of(task(one())) == files_of(encode_video(video, TINY_ENCODING, tmp_path / "alone"))
    assert not task.spans.exists()


def test_the_spans_of_a_folder_that_is_gone_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the lock file cannot be written"):
        SpanFolder(tmp_path / "gone").claim(0)


def test_spans_have_room_up_to_64_gb_and_half_of_the_free_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 200 * GB
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    room = SpanRoom()
    assert room.take("a", tmp_path / "a", 40 * GB)
    assert not room.take("b", tmp_path / "b", 25 * GB)
    room.give_back("a")
    assert room.take("b", tmp_path / "b", 25 * GB)

    free = 80 * GB
    assert not room.take("c", tmp_path / "c", 16 * GB)
    assert room.take("c", tmp_path / "c", 15 * GB)


def test_a_full_disk_has_room_for_nothing_but_stored_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    (tmp_path / "v.spans" / "000000").mkdir(parents=True)
    (tmp_path / "v.spans" / "000000" / "pictures").write_bytes(bytes(1000))
    assert not SpanRoom().take("v", tmp_path / "v.spans", 1001)
    assert SpanRoom().take("v", tmp_path / "v.spans", 1000)


class _ShortSpans(LocalEngine):
    """Cuts videos into spans of two seconds, and takes note of the kinds of the tasks."""

    def __init__(self) -> None:
        super().__init__(1)
        self.kinds: list[str] = []

    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        self.kinds.append(type(task).__name__)
        return super().submit(lambda decoders: task(one()), needs)


@pytest.mark.parametrize("has_room", [True, False])
def test_a_video_is_encoded_whether_its_spans_have_room_or_not(
    has_room: bool, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    task = task_of(video, tmp_path / "clips")
    (task.spans / "000000").mkdir(parents=True)
    (task.spans / "000000" / "events.npz").write_bytes(b"of an earlier build")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=has_room * GB))
    group = Group(source="lap", split="train", number=0, videos=(task.video,), settings="")
    with _ShortSpans() as engine:
        packing = GroupPacking(
            engine,
            encode=lambda video: (task, Needs()),
            ended=lambda video, result: None,
            pack=lambda started: lambda decoders: GroupRecord(config=""),
        )
        ((started, _),) = packing.run([group])
    kinds = Counter(engine.kinds)
    assert kinds["EncodeTask"] == 2
    assert (kinds["SpanTask"] > 1) == has_room
    assert files_of(started.encoded()[task.video.id]) == files_of(alone)
    assert [path.name for path in tmp_path.glob("clips*")] == ["clips"]


def test_a_divided_video_waits_behind_few_others_of_its_group(video: Path, tmp_path: Path) -> None:
    long = task_of(video, tmp_path / "clips")
    others = [replace(long.video, id=f"{number:012x}") for number in range(1, 4)]
    clips = encode_video(video, TINY_ENCODING, tmp_path / "alone")
    group = Group(source="lap", split="train", number=0, videos=(long.video, *others), settings="")
    with _ShortSpans() as engine:
        packing = GroupPacking(
            engine,
            encode=lambda video: (
                long if video == long.video else (lambda decoders: clips),
                Needs(),
            ),
            ended=lambda video, result: None,
            pack=lambda started: lambda decoders: GroupRecord(config=""),
        )
        ((started, _),) = packing.run([group])
    spans = engine.kinds.count("SpanTask")
    assert spans > 1
    # One other video was submitted before, so that no core waits.
    divided_first = ["EncodeTask", "function", "EncodeTask", *["SpanTask"] * spans]
    expected = [*divided_first, *["function"] * 3]
    assert engine.kinds == expected
    assert len(started.encoded()) == 4


def test_spans_of_other_settings_and_removed_videos_are_removed_at_the_start(
    tmp_path: Path,
) -> None:
    names = [f"lap-{1:012x}", f"lap-{2:012x}", f"other-{3:012x}", f"lap-{1:012x}.0123456789ab"]
    for config in ("now", "before"):
        for name in names:
            (tmp_path / config / f"{name}.spans" / "000000").mkdir(parents=True)
    wanted = tmp_path / "now" / f"{names[0]}.spans"
    remove_other_spans(tmp_path, {"lap"}, {wanted})
    others = {tmp_path / config / f"{names[2]}.spans" for config in ("now", "before")}
    assert set(tmp_path.glob("*/*")) == {wanted, *others}


class _Machines(LocalEngine):
    """Has the size of ten machines with two cores each."""

    cores, cores_of_a_machine, machines = 20, 2, 10  # type: ignore[assignment]


@pytest.mark.parametrize(("size", "exceeds"), [(100, False), (200, False), (201, True)])
def test_a_video_of_more_than_a_machines_share_is_divided(size: int, exceeds: bool) -> None:
    video = Video(path=Path("v.mp4"), source="lap", domain="other", case="", split="train")
    identity = FileIdentity(device=1, inode=1, size=size, mtime_ns=1, ctime_ns=1)
    planned = PlannedVideo(video=video, id="0" * 12, case="", identity=identity)
    # A core's share of 2,000 waiting bytes is 100 bytes.
    assert exceeds_a_machine(planned, 2000, _Machines(1)) == exceeds
    assert not exceeds_a_machine(planned, 2000, LocalEngine(1))
