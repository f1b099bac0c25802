"""Steps as processes: kept when whole, run again when not, and failures that cost little."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from surgrec.bench._bench import Bench, run_bench
from surgrec.bench._plan import Plan
from surgrec.bench._process import Commands, last_message
from surgrec.bench._records import Records
from surgrec.bench._runner import Runner, pending
from surgrec.bench._steps import Step
from surgrec.errors import ConfigError
from surgrec.storage.lock import hold
from tests.support.processes import start, until

LIST = Step(
    name="check/all",
    kind="check",
    program="surgrec-shard",
    words=("check-source", "list", "--json", "true"),
    outputs=(),
    prints="checks/all.json",
)
BROKEN = Step(
    name="build/none",
    kind="build",
    program="surgrec-shard",
    words=("check-source", "no-such-set", "nowhere"),
    needs=("check/all",),
    outputs=("corpora/none",),
)
BEHIND = Step(
    name="audit/none",
    kind="audit",
    program="surgrec-shard",
    words=("check-source", "list"),
    needs=("build/none",),
    outputs=(),
    prints="audit.json",
)


def run(out: Path, *steps: Step) -> tuple[Runner, list[str]]:
    started: list[str] = []
    with Commands() as commands:
        runner = Runner(
            out=out,
            commands=commands,
            tell=lambda step, number, total: started.append(step.name),
        )
        runner.run(steps)
    return runner, started


def test_a_step_is_kept_until_an_output_changes_or_is_lost(tmp_path: Path) -> None:
    runner, started = run(tmp_path, LIST)
    assert started == ["check/all"]
    assert runner.outcomes["check/all"].state == "done"
    names = [row["name"] for row in json.loads((tmp_path / "checks/all.json").read_text())]
    assert "cholec80" in names
    assert (tmp_path / "logs/check/all.log").read_text().splitlines()[:2] == [
        f"$ cd {tmp_path}",
        "$ surgrec-shard check-source list --json true > checks/all.json",
    ]

    kept, started = run(tmp_path, LIST)
    assert not started
    assert kept.outcomes["check/all"].state == "kept"
    assert not pending([LIST], tmp_path)

    (tmp_path / "checks/all.json").write_text("[]")
    assert pending([LIST], tmp_path) == {"check/all"}
    assert run(tmp_path, LIST)[1] == ["check/all"]


def test_a_step_whose_outputs_a_later_one_continued_is_kept_as_that_left_them(
    tmp_path: Path,
) -> None:
    build = replace(BROKEN, amended_by="dedup/none")
    dedup = replace(BROKEN, name="dedup/none", outputs=("corpora/none", "duplicates/none.html"))
    records = Records(tmp_path)
    for name, text in (("corpora/none/index", "built"), ("duplicates/none.html", "page")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    records.write(build, "1", 0, "")
    assert records.finished(build, "1")

    # Changed by a search that has not ended, that failed, and that ended well.
    index = tmp_path / "corpora/none/index"
    index.write_text("with groups")
    assert records.finished(build, "1") is None
    records.write(dedup, "2", 1, "the disk is full")
    assert records.finished(build, "1") is None
    records.write(dedup, "2", 1, "")
    assert records.finished(build, "1")
    assert records.finished(build, "of other inputs") is None
    index.write_text("damaged")
    assert records.finished(build, "1") is None


def test_a_search_that_failed_is_not_taken_for_one_that_found_something(tmp_path: Path) -> None:
    search = replace(LIST, words=("dedup", "no-corpus", "--json", "true"), prints="found.json")
    runner, _ = run(tmp_path, replace(search, accepted=frozenset((0, 1))))
    outcome = runner.outcomes["check/all"]
    assert outcome.state == "failed"
    assert "no-corpus" in outcome.sentence


def test_a_failed_step_costs_the_steps_behind_it_alone_and_is_tried_again(tmp_path: Path) -> None:
    runner, started = run(tmp_path, LIST, BROKEN, BEHIND)
    assert started == ["check/all", "build/none"]
    failed = runner.outcomes["build/none"]
    assert failed.state == "failed"
    assert failed.sentence.startswith("there is no preset 'no-such-set'")
    blocked = runner.outcomes["audit/none"]
    assert blocked.state == "not run"
    assert blocked.sentence == f"build/none failed: {failed.sentence}"

    # A command that ends well and does not write its output has failed, too.
    silent = replace(BROKEN, words=("check-source", "list"))
    runner, started = run(tmp_path, LIST, silent, BEHIND)
    assert started == ["build/none"]
    assert runner.outcomes["build/none"].sentence.startswith("it did not write corpora/none; see ")

    mended = replace(silent, outputs=())
    assert run(tmp_path, LIST, mended, BEHIND)[1] == ["build/none", "audit/none"]


def test_a_damaged_record_names_its_file(tmp_path: Path) -> None:
    record = tmp_path / "steps/check/all.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    with pytest.raises(ConfigError, match=r"all\.json.*remove this file"):
        run(tmp_path, LIST)


def test_one_benchmark_at_a_time_writes_to_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage.lock._WAIT_S", 0.1)
    monkeypatch.setattr("fcntl.lockf", _refuse)
    bench = Bench(plan=Plan(tasks=[], models=[], checks=[LIST], work=[]), out=tmp_path)
    with pytest.raises(ConfigError, match="another process is running a benchmark"):
        run_bench(bench, lambda *_: None, lambda _: None)
    monkeypatch.undo()
    with hold(tmp_path, doing="running a benchmark"):
        assert (tmp_path / "lock").exists()


def test_a_folder_with_other_files_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    (tmp_path / "comparison").mkdir()
    bench = Bench(plan=Plan(tasks=[], models=[], checks=[LIST], work=[]), out=tmp_path)
    with pytest.raises(ConfigError, match="other files than those of a benchmark"):
        run_bench(bench, lambda *_: None, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["comparison"]


def _refuse(*_: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_the_last_message_of_a_log_has_no_program_name(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("$ surgrec audit x\nsurgrec: error: x is not there; give another\n\n")
    assert last_message(log) == "x is not there; give another"
    log.write_text("$ surgrec audit x\n")
    assert last_message(log) == ""


def test_commands_are_forks_of_one_server_and_keep_nothing_of_each_other(tmp_path: Path) -> None:
    before = set(psutil.Process().children())  # servers of other tests
    with Commands() as commands:
        first = commands.run(LIST, tmp_path)
        (server,) = set(psutil.Process().children()) - before
        assert first == commands.run(LIST, tmp_path) == (0, "")
        assert set(psutil.Process().children()) - before == {server}
        listed = (tmp_path / "checks/all.json").read_bytes()

        # A command that fails, or a server that is killed, costs its own step alone.
        assert commands.run(BROKEN, tmp_path)[0] == 1
        server.kill()
        assert commands.run(LIST, tmp_path)[0] == -9
        assert commands.run(LIST, tmp_path)[0] == 0
        assert (tmp_path / "checks/all.json").read_bytes() == listed
    assert set(psutil.Process().children()) <= before


LONG = Step(
    name="build/long",
    kind="build",
    program="surgrec-shard",
    words=("phantom", "--out", "phantom", "--minutes", "600"),
    outputs=("phantom",),
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_command_outlives_its_benchmark(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.bench.test_runner import *\n"
        # A shell starts jobs in the background with SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with Commands() as commands: commands.run(LONG, Path(sys.argv[1]))"
    )
    process = start([sys.executable, "-c", program, str(tmp_path)])
    until(process, lambda: any(tmp_path.glob("phantom/*")))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    process.send_signal(number)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    if number == signal.SIGINT:
        assert last_message(tmp_path / "logs/build/long.log").startswith("interrupted")
