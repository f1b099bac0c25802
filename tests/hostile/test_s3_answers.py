"""Hostile answers of object stores and proxies: the counts are right, or one sentence says why."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from surgrec.shards import Dropped, VideoLabel
from surgrec.shards._index import rows_to_parquet
from surgrec.storage import RetryPolicy
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.s3 import (
    ANSWERS,
    Fault,
    FaultyHandler,
    Habit,
    run_faulty_s3,
    use,
)
from tests.support.samples import make_clips, write_corpus
from tests.support.videos import make_video

CLIPS = 12


@dataclass(frozen=True, kw_only=True)
class Answer(Kind):
    """A store that answers in its own way."""

    habits: frozenset[Habit] = frozenset()
    faults: tuple[Fault, ...] = ()
    raw: Callable[[FaultyHandler, str], bool] | None = None
    """Answers a request for a key itself and returns True, or leaves it to the server."""
    works: bool = False
    """Whether the command must succeed. Else it may also refuse the answer."""
    says: str = ""
    """Part of the sentence of the refusal."""


def counts(folder: Path) -> Sequence[object]:
    return ["surgrec-shard", "info", "s3://corpora/c", "--json", "true"]


def verify(folder: Path) -> Sequence[object]:
    return ["surgrec-shard", "verify", "s3://corpora/c"]


def is_right(folder: Path, run: Run) -> None:
    if run.out.strip():
        assert [row["samples"] for row in json.loads(run.out)] == [CLIPS]
    else:
        assert f"{CLIPS} samples read" in run.errors, run.errors
        assert "no problems" in run.errors, run.errors


def answer(name: str, make: Callable[[Path], Sequence[object]] = counts, **how: object) -> Answer:
    return Answer(name=name, make=make, right=is_right, **how)  # type: ignore[arg-type]


def send(handler: FaultyHandler, data: bytes) -> bool:
    """Send bytes as the whole answer, and close the connection."""
    handler.close_connection = True
    handler.send(data)
    return True


def raw(of: str, data: bytes | Callable[[bytes], bytes]) -> Callable[[FaultyHandler, str], bool]:
    """Answer every GET of keys that end with `of` (empty: listings) with these bytes."""

    def reply(handler: FaultyHandler, key: str) -> bool:
        if not (key.endswith(of) if of else not key):
            return False
        return send(handler, data(handler.state.objects.get(key, b"")) if callable(data) else data)

    return reply


def head(status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).replace("_", "-").encode("latin-1") + b"\r\n\r\n"


def sized(status: str, body: bytes, **headers: object) -> bytes:
    return head(status, Content_Length=len(body), **headers) + body


LISTING = "<ListBucketResult>{}</ListBucketResult>"


def listing(text: str) -> bytes:
    return sized("200 OK", LISTING.format(text).encode(), Content_Type="application/xml")


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 20}">' for n in range(8))
    + "]><ListBucketResult><Name>&i;</Name></ListBucketResult>"
)

OBJECTS: dict[str, bytes | Callable[[bytes], bytes]] = {
    "no answer at all": b"",
    "garbage instead of a status": b"\x00\xff\x13 nonsense\r\n\r\n",
    "HTTP/0.9": b"just text",
    "a status that is no number": head("abc OK"),
    "a status of 999": sized("999 Odd", b""),
    "a status of 204": head("204 No Content"),
    "a status of 203": lambda data: sized("203 Non-Authoritative Information", data),
    "a status of 304": head("304 Not Modified"),
    "a redirect to nowhere": head("301 Moved", Content_Length=0),
    "a redirect to itself": head("307 Temporary Redirect", Location="/corpora/c", Content_Length=0),
    "a login page": sized("200 OK", b"<html>Please log in</html>", Content_Type="text/html"),
    "a denial in HTML": sized("403 Forbidden", b"<html>no</html>"),
    "a denial with status 401": sized("401 Unauthorized", b""),
    "a method that is not allowed": sized("405 Method Not Allowed", b""),
    "a legal hold": sized("451 Unavailable For Legal Reasons", b"<Error/>"),
    "an error without a code": sized("400 Bad Request", b"<Error></Error>"),
    "an error that is no XML": sized("404 Not Found", b"<Error><Code>NoSuch"),
    "an error with an unknown code": sized("400 Bad", b"<Error><Code>Wat</Code></Error>"),
    "an archived object": sized(
        "403 Forbidden", b"<Error><Code>InvalidObjectState</Code><Message>m</Message></Error>"
    ),
    "a header of 200 kB": head(X_Long="x" * 200_000, Content_Length=0),
    "5,000 headers": head(**{f"X{number}": 1 for number in range(5000)}),
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a length below zero": head(Content_Length=-5) + b"{}",
    "a length that is a word": head(Content_Length="many") + b"{}",
    "a length of 10^30": head(Content_Length=10**30) + b"{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 7\r\n\r\n{}",
    "a length below the body's": lambda data: head(Content_Length=len(data) - 5) + data,
    "a length above the body's": lambda data: head(Content_Length=len(data) + 5) + data,
    "a length of 0": lambda data: head(Content_Length=0) + data,
    "a body without an end": lambda data: head() + data[: len(data) // 2],
    "a chunk without a size": lambda data: head(Transfer_Encoding="chunked") + b"zz\r\n" + data,
    "a chunk of 2^60": lambda data: (
        head(Transfer_Encoding="chunked") + b"1000000000000000\r\n" + data
    ),
    "a chunk below zero": lambda data: head(Transfer_Encoding="chunked") + b"-5\r\n" + data,
    "chunks without an end": lambda data: (
        head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n" % (len(data), data)
    ),
    "a body in gzip that is none": lambda data: head(Content_Encoding="gzip") + data,
    "a body in brotli": lambda data: head(Content_Encoding="br", ETag='W/"x"') + data,
    "bytes that were rotated": lambda data: sized("200 OK", data[7:] + data[:7]),
    "a body in gzip with a strong ETag": lambda data: sized(
        "200 OK", gzip.compress(data), Content_Encoding="gzip", ETag='"x"'
    ),
    "bytes of another length": lambda data: sized("200 OK", data[:-1]),
    "an ETag with other letters": lambda data: sized("200 OK", data, ETag='"é"'),
    "an ETag of 8 kB": lambda data: sized("200 OK", data, ETag='"' + "x" * 8000 + '"'),
    "an ETag without quotes": lambda data: sized("200 OK", data, ETag="abc"),
    "a date that is none": lambda data: sized("200 OK", data, Last_Modified="yesterday"),
    "a part that was not asked for": lambda data: sized(
        "206 Partial", data[:9], Content_Range="bytes 0-8/9"
    ),
    "a range that is a word": lambda data: sized("206 Partial", data, Content_Range="all of it"),
    "the version of another object": lambda data: sized("200 OK", b"{}", ETag='"other"'),
}
LISTINGS: dict[str, bytes] = {
    "nothing": sized("200 OK", b""),
    "no XML": sized("200 OK", b"{}"),
    "half of an XML": sized("200 OK", b"<ListBucketResult><Contents><Key>c/corp"),
    "another document": sized("200 OK", b"<html><body>hello</body></html>"),
    "a bomb of entities": sized("200 OK", BOMB.encode()),
    "an external entity": sized(
        "200 OK",
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ListBucketResult>&a;'
        b"</ListBucketResult>",
    ),
    "200,000 nested elements": listing("<a>" * 200_000 + "</a>" * 200_000),
    "contents without a key": listing("<Contents><Size>1</Size></Contents>"),
    "an empty key": listing("<Contents><Key></Key></Contents>"),
    "keys outside of the prefix": listing(
        "<Contents><Key>other/x-train-00000000.tar</Key></Contents>"
    ),
    "a key that leads out": listing("<Contents><Key>c/../../x-train-00000000.tar</Key></Contents>"),
    "a size that is a word": listing("<Contents><Key>c/x</Key><Size>big</Size></Contents>"),
    "a date that is none": listing(
        "<Contents><Key>c/x</Key><LastModified>no</LastModified></Contents>"
    ),
    "truncated without a key": listing("<IsTruncated>true</IsTruncated>"),
    "truncated with an empty token": listing(
        "<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>"
    ),
    "truncated with the same token for ever": listing(
        "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    ),
    "truncated that is a word": listing("<IsTruncated>perhaps</IsTruncated>"),
    "other letters": sized("200 OK", b"<ListBucketResult><Contents><Key>\xff\xfe</Key>"),
}
HABITS: list[tuple[Habit, ...]] = [
    ("chunked",),
    ("unsized",),
    ("weak",),
    ("weak_whole",),
    ("no_etag",),
    ("no_date",),
    ("no_etag", "no_date"),
    ("no_token",),
    ("ignores_start_after", "no_token"),
    ("no_truncated",),
    ("same_token",),
    ("no_length_of_head",),
    ("compressed",),
    ("drips",),
    ("drips_headers",),
    ("chunked", "weak", "no_length_of_head", "no_token"),
]
FAULTS: list[Fault] = [*ANSWERS, "no_answer", "bad_gateway", "reset", "truncate", "stall"]  # type: ignore[list-item]

PASSING: list[Fault] = [
    *("slow_down", "internal_error", "request_timeout", "no_answer", "bad_gateway", "reset"),
    *("truncate", "stall"),
]
"""Faults after which the same request may succeed."""
GOOD_OBJECTS = (
    *("a status of 203", "an ETag with other letters", "an ETag of 8 kB", "an ETag without quotes"),
    "a date that is none",
)
"""Answers that carry the whole object."""
GOOD_LISTINGS = ("contents without a key", "an empty key", "keys outside of the prefix")
FOREIGN_LISTINGS = ("nothing", "no XML", "another document", "a bomb of entities")
BAD_HABITS: tuple[Habit, ...] = ("same_token", "ignores_start_after", "compressed", "drips")
BAD_HABITS += ("drips_headers",)
"""Habits with which an answer is never whole."""
SAYS = {
    "a header of 200 kB": "got more than 65536 bytes when reading header line",
    "5,000 headers": "got more than 100 headers",
    "an error that is no XML": "the answer with status 404 is not that of an object store",
    "a method that is not allowed": "405",
    "an archived object": "InvalidObjectState",
    "bytes that were rotated": "build it again",
}
"""Parts of sentences, for answers that could be taken for something else."""

KINDS: list[Kind] = [
    *(
        answer(
            f"objects: {what}",
            raw=raw(".json", data),
            works=what in GOOD_OBJECTS,
            says=SAYS.get(what, ""),
        )
        for what, data in OBJECTS.items()
    ),
    *(
        answer(f"indexes: {what}", raw=raw(".parquet", data), works=what in GOOD_OBJECTS)
        for what, data in OBJECTS.items()
        if callable(data)
    ),
    *(
        answer(
            f"listings: {what}",
            verify,
            raw=raw("", data),
            works=what in GOOD_LISTINGS,
            says="is not that of an object store" if what in FOREIGN_LISTINGS else "",
        )
        for what, data in LISTINGS.items()
    ),
    *(
        answer(
            f"always {' and '.join(habits)}",
            verify,
            habits=frozenset(habits),
            works=set(habits).isdisjoint(BAD_HABITS),
        )
        for habits in HABITS
    ),
    *(answer(f"{fault} for ever", faults=(fault,) * 5000) for fault in FAULTS),
    *(answer(f"{fault} twice", faults=(fault,) * 2, works=fault in PASSING) for fault in FAULTS),
]


@contextmanager
def own_answers(kind: Answer) -> Iterator[None]:
    """Let the kind answer requests before the server does."""
    serve = FaultyHandler.do_GET

    def do_get(handler: FaultyHandler) -> None:
        _, key, _ = handler.target()
        if kind.raw is None or not kind.raw(handler, key):
            serve(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaultyHandler, "do_GET", do_get)
        yield


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a corpus in which `verify` finds no problem."""
    folder = tmp_path_factory.mktemp("corpus")
    arguments = ["-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    video = make_video(folder / "a.mp4", seconds=10, size="96x64", rate=8, arguments=arguments)
    mp4 = video.read_bytes()
    clips = {"alpha": make_clips(CLIPS)}
    root = write_corpus(folder / "c", clips, clips_per_shard=CLIPS, mp4=lambda _: mp4)
    (root / "alpha/labels.parquet").write_bytes(rows_to_parquet(VideoLabel, []))
    (root / "alpha/dropped.parquet").write_bytes(rows_to_parquet(Dropped, []))
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_hostile(
    kind: Answer, objects: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What must work, or is refused at once with its own words, gets the time of a busy machine.
    deadline_s, read_timeout_s = (60.0, 5.0) if kind.works or kind.says else (2.0, 1.0)
    policy = partial(
        RetryPolicy,
        **{"deadline_s": deadline_s, "first_answer_s": deadline_s},
        **{"first_delay_s": 0.01, "max_delay_s": 0.1},
        **{"read_timeout_s": read_timeout_s, "connect_timeout_s": read_timeout_s},
    )
    monkeypatch.setattr("surgrec.storage._address.RetryPolicy", policy)
    with run_faulty_s3() as (state, account), own_answers(kind):
        use(account, monkeypatch)
        state.objects.update(objects)
        state.habits |= kind.habits
        state.faults.extend(kind.faults)
        run = try_kind(kind, tmp_path, in_folder=False)
    if kind.works or kind.says:
        assert (run.status == 0) == kind.works, run.errors
        assert kind.says in run.errors, run.errors
