"""The documented job array under a real Slurm."""

import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.slurm import run_slurm
from tests.support.tool import QUICK, digests, same_key
from tests.surgrec_shard.conftest import Hospital


def documented_array(manifest: Path, out: Path, private: Path) -> str:
    """Return the commands of docs/many-machines.md for two parts of one core each."""
    text = (ROOT / "docs/many-machines.md").read_text(encoding="utf-8")
    found = re.search(r"## Job arrays without Ray\n\n```bash\n(.*?)```", text, re.DOTALL)
    assert found
    commands = found.group(1)
    for documented, used in (
        ("/data/videos.csv", manifest),
        ("--work /scratch/work", " ".join(["--private", str(private), *QUICK])),
        ("/data/corpus", out),
        ("1-16", "1-2"),
        ("/16", "/2"),
        ("--cpus-per-task 32", "--cpus-per-task 1"),
    ):
        assert documented in commands, documented
        commands = commands.replace(documented, str(used))
    return commands


@pytest.mark.slow
def test_a_job_array_and_its_last_command_give_the_bytes_of_one_build(
    hospital: Hospital, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    private = same_key(hospital.private, tmp_path / "private")
    with run_slurm() as slurm:
        submitted = slurm.run(
            *("bash", "-euc", documented_array(hospital.manifest, out, private)), cwd=tmp_path
        )
        last = submitted.split()[-1]
        logs = [tmp_path / f"slurm-{last}.out"]
        slurm.until(lambda: slurm.state(last) not in ("PENDING", "RUNNING", "COMPLETING"), *logs)
        assert slurm.state(last) == "COMPLETED", logs[0].read_text(encoding="utf-8")

    parts = [path.read_text(encoding="utf-8") for path in tmp_path.glob("slurm-*_*.out")]
    assert len(parts) == 2
    assert all("part " in text and "Traceback" not in text for text in parts), parts
    assert "0 videos encoded" in logs[0].read_text(encoding="utf-8")
    assert digests(out) == digests(hospital.corpus)
