"""One process at a time works in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.storage import acquire

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
input()
"""


def test_a_folder_that_another_process_has_locked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage._lock._WAIT_S", 0.5)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match=f"another process is training in {tmp_path}"):
            acquire(tmp_path, doing="training")
        other.kill()  # releases the lock, however the process ends
    os.close(acquire(tmp_path, doing="training"))
