"""One process at a time works in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.storage import acquire


def test_a_folder_that_another_process_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage._lock._WAIT_S", 0.5)
    held = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    command = [sys.executable, "-c", held, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"another process is training in {tmp_path}"):
            acquire(tmp_path, doing="training")
        other.kill()  # however it ends, the folder is free again
    os.close(acquire(tmp_path, doing="training"))
