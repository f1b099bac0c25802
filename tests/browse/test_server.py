"""The server answers its user alone, reads only, and ends at once."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.shards import open_corpus
from surgrec.storage import open_store
from tests.support.browse import Served, browsing

CLIP = "/api/corpora/0/clips/0"
PAGES = ("/", "/static/app.js", "/api/subjects", CLIP, f"{CLIP}/video")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("secret", ["", "wrong", "é"])
def test_nothing_is_served_without_the_token(served: Served, path: str, secret: str) -> None:
    by_cookie = {"Cookie": f"surgrec-{served.port}={secret}".encode().decode("latin-1")}
    refused = served.ask(path, cookie=False, headers=by_cookie)
    assert refused.status == 403
    assert refused.body.count(b"\n") == 1
    assert b"surgrec browse" in refused.body
    assert served.ask(path, cookie=False, token=secret).status == 403


def test_the_token_is_taken_from_the_address_of_the_first_page_only(served: Served) -> None:
    assert served.ask("/api/subjects", cookie=False, token=served.token).status == 403
    first = served.ask("/", cookie=False, token=served.token)
    assert first.status == 200
    words = first.headers["set-cookie"].split("; ")
    assert words[0] == f"surgrec-{served.port}={served.token}"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(words[1:])
    assert "set-cookie" not in served.ask("/").headers
    assert served.token.encode() not in first.body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("localhost:9000", 200),
        ("127.0.0.1", 200),
    ],
)
def test_a_name_of_another_site_is_refused_even_with_the_token(
    served: Served, host: str, status: int
) -> None:
    assert served.ask("/api/subjects", headers={"Host": host}).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_method_that_writes_is_served(served: Served, method: str) -> None:
    assert served.ask("/api/subjects", method=method).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/../_app.py",
        "/static/..%2f_app.py",
        "/static/%2e%2e/_app.py",
        "/static//etc/passwd",
        "/etc/passwd",
        "/api/corpora/1",
        "/api/corpora/-1",
        "/api/corpora/..",
        "/api/corpora/0/clips/28",
        "/api/corpora/0/clips/99999999999999999999",
        "/api/runs/2",
        "/api/runs/a%2f..",
        "/api/evaluations/1",
    ],
)
def test_what_is_not_listed_does_not_exist(served: Served, path: str) -> None:
    answer = served.ask(path)
    assert answer.status == 404
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/api/corpora/9"])
def test_every_answer_forbids_scripts_and_requests_of_others(served: Served, path: str) -> None:
    for cookie in (True, False):
        headers = served.ask(path, cookie=cookie).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_clip_is_served_by_ranges_of_its_bytes(served: Served, tiny_corpus: Path) -> None:
    sample = open_corpus(tiny_corpus)["alpha"].index.sample(0)
    store = open_store(tiny_corpus)
    size = sample.mp4_size
    mp4 = store.read_range(f"alpha/{sample.shard}", sample.mp4_offset, size)

    def part(text: str) -> tuple[int, bytes, str]:
        answer = served.ask(f"{CLIP}/video", headers={"Range": text})
        return answer.status, answer.body, answer.headers.get("content-range", "")

    whole = served.ask(f"{CLIP}/video")
    assert (whole.status, whole.body) == (200, mp4)
    assert whole.headers["content-type"] == "video/mp4"
    assert part("bytes=0-") == (206, mp4, f"bytes 0-{size - 1}/{size}")
    assert part("bytes=100-199") == (206, mp4[100:200], f"bytes 100-199/{size}")
    assert part("bytes=-50") == (206, mp4[-50:], f"bytes {size - 50}-{size - 1}/{size}")
    assert part(f"bytes=10-{size * 9}") == (206, mp4[10:], f"bytes 10-{size - 1}/{size}")
    assert part(f"bytes={size}-") == (416, b"", f"bytes */{size}")
    assert part("bytes=-0") == (416, b"", f"bytes */{size}")
    assert part("bytes=9-3") == (200, mp4, "")
    assert part("lines=1-2") == (200, mp4, "")


def test_a_clip_is_served_from_an_object_store(tiny_corpus: Path, s3_address: str) -> None:
    local, remote, sources = (
        open_store(tiny_corpus),
        open_store(s3_address),
        open_corpus(tiny_corpus),
    )
    for name in local.list():
        remote.upload(name, tiny_corpus / name)
    with browsing(s3_address) as running:
        (found,) = running.get("/api/subjects")["corpora"]
        assert (found["address"], found["clips"]) == (s3_address, 28)
        for number, source, row in ((0, "alpha", 0), (27, "gamma", 9)):
            sample = sources[source].index.sample(row)
            shard = f"{source}/{sample.shard}"
            mp4 = local.read_range(shard, sample.mp4_offset, sample.mp4_size)
            path = f"/api/corpora/0/clips/{number}"
            assert running.get(path)["values"]["key"] == sample.key
            assert running.ask(f"{path}/video").body == mp4
            part = running.ask(f"{path}/video", headers={"Range": "bytes=100-299"})
            assert (part.status, part.body) == (206, mp4[100:300])

        # A shard that is gone is one sentence with its address.
        shard = f"alpha/{sources['alpha'].index.sample(0).shard}"
        remote.delete(shard)
        gone = running.ask(f"{CLIP}/video", headers={"Range": "bytes=0-"})
        assert gone.status in (404, 502)
        assert f"{s3_address}/{shard}" in gone.json()["error"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"filters": "[{"}, "filters is not valid JSON"),
        ({"filters": '[{"column": "x", "comparison": "is"}]'}, "no column 'x'"),
        ({"filters": '[{"column": "case", "comparison": "at least"}]'}, "case holds texts"),
        ({"filters": '[{"column": "blur", "comparison": "is", "value": "a"}]'}, "holds numbers"),
        ({"filters": '[{"column": "blur", "comparison": "__class__"}]'}, "comparison"),
        ({"sort": "__class__"}, "no column '__class__'"),
        ({"offset": "-1"}, "offset is '-1'"),
        ({"offset": "9" * 30}, "offset is '9999"),
    ],
)
def test_a_wrong_question_is_answered_with_one_sentence(
    served: Served, query: dict[str, str], words: str
) -> None:
    answer = served.ask("/api/corpora/0/clips", **query)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_the_report_of_a_run_is_a_page_without_scripts(served: Served) -> None:
    answer = served.ask("/runs/0/report")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:;")
    assert b"mean color" in answer.body, "the reconstructions of an MAE"


def test_a_report_reads_no_corpus_that_was_not_named(subjects: dict[str, Path]) -> None:
    with browsing(subjects["run"]) as running:
        answer = running.ask("/runs/0/report")
        assert answer.status == 400
        assert answer.headers["content-type"].startswith("text/html")
        (sentence,) = re.findall(r'<p class="missing">(.*)</p>', answer.body.decode())
        assert "was not named; start `surgrec browse`" in sentence
        assert "no corpus was named" in running.ask("/api/mixture").json()["error"]


def test_a_name_in_the_page_of_an_error_is_no_html(
    subjects: dict[str, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(subjects["run"], tmp_path / "<img src=x>\u202e"))
    with browsing(run) as running:
        page = running.ask("/runs/0/report").body.decode()
    assert "&lt;img src=x&gt;\\u202e" in page
    assert "<img" not in page


def test_ctrl_c_ends_the_server_although_a_browser_is_connected(subjects: dict[str, Path]) -> None:
    with browsing(subjects["corpus"]) as running:
        idle = socket.create_connection(("127.0.0.1", running.port))
        half = socket.create_connection(("127.0.0.1", running.port))
        half.sendall(b"GET /api/subjects HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert running.ask("/api/subjects").status == 200
        running.process.send_signal(signal.SIGINT)
        _, errors = running.process.communicate(timeout=30)
        idle.close()
        half.close()
    assert running.process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "the server has ended" in errors


def test_only_loopback_is_served(served: Served) -> None:
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)


def run(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "surgrec", "browse", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_a_taken_port_is_one_sentence(served: Served, tiny_corpus: Path) -> None:
    status, errors = run(tiny_corpus, "--port", served.port)
    assert status == 1
    assert errors.count("\n") == 1
    assert f"port {served.port} of 127.0.0.1 cannot be opened" in errors
    assert "--port" in errors


def test_a_folder_without_a_subject_is_one_sentence(tmp_path: Path) -> None:
    status, errors = run(tmp_path, "--port", 0)
    assert status == 1
    assert errors.count("\n") == 1
    assert "is not a corpus (corpus.json) or a run" in errors


def test_the_server_starts_without_packages_that_only_statistics_need() -> None:
    code = "import sys, surgrec.browse; print({'scipy.stats', 'sklearn', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
