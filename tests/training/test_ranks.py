"""Real ranks end together: one failure ends all at once, and each names the failed rank."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import ROOT
from tests.support.rank_program import CASES

GO_ON = "go on with --resume true"
LAST_LINES = {
    "nothing": "",
    "a long save": "",
    "a key": f"rank {{}} failed (KeyError: 'absent'); read the message of that rank, and {GO_ON}",
    "memory": f"rank {{}} failed (MemoryError); read the message of that rank, and {GO_ON}",
    "a lock": (
        "rank {} failed (StubbornError: it holds a lock); read the message of that rank, and "
        f"{GO_ON}"
    ),
    "a sentence": "rank {} failed: the disk is full; make room",
    "a file": (
        "rank {} failed (FileNotFoundError: No such file or directory); read the message of that "
        f"rank, and {GO_ON}"
    ),
    "Ctrl-C": "rank {} was interrupted; --resume true continues from the last checkpoint",
    "a kill": (
        "rank {} ended without a message, as after a kill or without memory; read the log of the "
        f"machine, and {GO_ON}"
    ),
    "a freeze": (
        "rank {} (process {process} on {host}) gave no sign of life for 0.333 minutes, as if "
        f"suspended or on a machine that hangs; read the log of the machine, and {GO_ON}"
    ),
    "a hang": (
        "rank {} (process {process} on {host}) made no progress for 0.5 minutes, as with a "
        f"device or a file system that hangs; read the log of the machine, and {GO_ON}"
    ),
}
"""Last line of the rank that did not fail."""


class End(NamedTuple):
    """The end of one rank."""

    status: int
    output: str
    process: int


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[End]]:
    """End of each rank in each case."""
    folder = tmp_path_factory.mktemp("ranks")
    program = str(ROOT / "tests/support/rank_program.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    subprocess.run([sys.executable, program, folder], env=environment, timeout=240, check=True)
    seconds, ends = json.loads(Path(folder / "ends.json").read_text(encoding="utf-8"))
    assert seconds < 150, "no rank has waited for the other's last collective"
    return {case: [End(*end) for end in ranks] for case, ranks in ends.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_failure_of_one_rank_ends_the_others_with_a_sentence(
    ends: dict[str, list[End]], case: str
) -> None:
    place, fault = case.split(": ")
    failed = 1 if place == "1" else 0
    others = list(ends[case])
    status, output, process = others.pop(failed)
    expected = LAST_LINES[fault].format(failed, process=process, host=socket.gethostname())
    if not expected:
        assert [end[:2] for end in ends[case]] == [(0, ""), (0, "")]
        return

    # A rank that waited says who failed, and nothing else.
    for other_status, other_output, _ in others:
        lines = [line for line in other_output.splitlines() if line.startswith("recipe: ")]
        assert lines == [f"recipe: error: {expected}"]
        assert other_status == 1
        assert "Traceback" not in other_output

    # The rank that failed says it as it always does: only a programming error has a traceback.
    if fault in ("a key", "a lock"):
        assert status == 1
        assert output.splitlines()[0].startswith("Traceback")
        assert expected.split("(")[1].split(")")[0] in output
    elif fault in ("a kill", "a freeze"):
        assert (status, output) == (-9, ""), "another rank kills one that is frozen"
    else:
        assert status == (130 if fault == "Ctrl-C" else 1)
        assert len(output.splitlines()) == 1
