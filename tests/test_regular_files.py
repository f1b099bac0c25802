"""Opening files for reading without waiting for a writer."""

import os
import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.json_files import read_json
from surgrec.regular_files import check_regular, open_regular_file, read_regular
from surgrec.yaml_files import read_yaml
from tests.support.files import leased


def test_a_regular_file_is_opened_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with open_regular_file(tmp_path / "b") as file:
        assert file.read() == b"content"
    assert read_regular(tmp_path / "a", 7) == b"content"


def test_a_pipe_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a named pipe, not a regular file"):
        check_regular(tmp_path / "pipe")


def test_a_socket_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(OSError, match="a socket, not a regular file"):
            check_regular("s")


def test_no_descriptor_stays_open_after_a_refusal(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(IsADirectoryError):
            check_regular(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with pytest.raises(OSError, match="larger than 6 bytes"):
        read_regular(tmp_path / "a", 6)


@pytest.mark.parametrize(
    "read", [read_yaml, partial(read_json, kind=dict, error=ConfigError, remedy="x")]
)
def test_a_read_that_hangs_ends_in_a_sentence(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    sentence = f"{path} cannot be read (its disk or network share has not answered for 0.2 s); "
    with leased(path):
        monkeypatch.setattr("surgrec.regular_files.ALLOWED_S", 0.2)
        with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
            read(path)
    monkeypatch.undo()
    assert read(path) == {"a": 1}
