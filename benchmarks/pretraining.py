"""Does pretraining help? JEPA and MAE on the phantom, several seeds each, beside random weights.

    .venv/bin/python -m benchmarks.pretraining --folder DIR [--seeds 3] [--minutes 12]

Every stage is a command of SurgRec, and ends with a file in DIR/done. The same command continues
after an interruption: stages that have ended are not run again, and the others resume. If only this
process is killed, wait until its last commands have ended. The result is DIR/page.md, with
DIR/intervals.svg.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from benchmarks.pretraining_page import write_page
from surgrec.cli import parse, with_errors_as_one_line
from surgrec.errors import SetupError
from surgrec.json_files import read_json
from surgrec.ranges import Range, check_ranges
from surgrec.storage import open_store

METHODS = ("jepa", "mae")
MIXTURES = {
    "balanced": [],  # the default: equal shares of the domains
    "natural": ["--mixture.levels", "[{by: domain, alpha: 1.0}, {by: source, alpha: 1.0}]"],
}
UNTRAINED = "untrained"
SPLIT = """name: all
kind: ours
train: {sources: ["phantom-*"], stored: [train]}
test: {sources: ["phantom-*"], stored: [val, test]}
"""
ENVIRONMENT = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
UNTRAINED_SEED = 1000
"""First seed of untrained encoders. `surgrec evaluate` uses 0 to 2 for its own random weights."""
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Sizes of the experiment."""

    folder: Path
    """Folder of the corpus, the runs, the results and the page."""
    seeds: Annotated[int, Range(2, 100)] = 3
    """Pretraining seeds of each method and mixture."""
    minutes: Annotated[float, Range(0, 10_000, above=True)] = 12
    """Video of the phantom, minutes."""
    phantom_seed: Annotated[int, Range(0, 10**6)] = 7
    """Seed of the phantom. Trials for the demo were made on seed 101."""
    jepa_options: str = ""
    """Options of `recipes/jepa.py` beyond `jepa_tiny`, such as `='--steps 100'`."""
    mae_options: str = ""
    """Options of `recipes/mae.py` beyond `mae_tiny`."""
    at_once: Annotated[int, Range(1, 64)] = 2
    """Trainings or evaluations at once, each with one thread; at most two evaluations."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Stage:
    """A command, and the name of its files in `done` and `log`."""

    name: str
    words: list[str]

    @property
    def command(self) -> str:
        """The command as a user types it."""
        return shlex.join(self.words)


def main(experiment: Experiment) -> None:
    """Run all stages that have not ended, then write the page."""
    open_store(experiment.folder / "splits").write("all.yaml", SPLIT.encode("ascii"))
    records = run_rounds(experiment.folder, plan(experiment), experiment.at_once)
    hours = sum(record["cpu_seconds"] for record in records) / 3600
    page = write_page(experiment.folder, asdict(experiment), hours)
    console.print(f"page: {page}")


def run_rounds(
    folder: Path, rounds: Sequence[Sequence[Stage]], at_once: int
) -> list[dict[str, Any]]:
    """Run all stages that have not ended, and return the records of all.

    Raises:
        SetupError: A stage failed, or has ended with another command.
    """
    total = sum(map(len, rounds))
    records = []
    for stages in rounds:
        ended = [record for stage in stages if (record := record_of(folder, stage))]
        names = {record["name"] for record in ended}
        waiting = [stage for stage in stages if stage.name not in names]
        records += ended
        with ThreadPoolExecutor(at_once) as pool:
            for record in pool.map(partial(run_stage, folder), waiting):
                records.append(record)
                seconds = f"{record['name']}: {record['seconds']:.0f} s"
                console.print(f"{len(records)}/{total} {seconds}")
    return records


def plan(experiment: Experiment) -> list[list[Stage]]:
    """Return the stages in rounds. The stages of a round need the earlier rounds alone."""
    runs = [
        (method, mixture, seed)
        for seed, method, mixture in product(range(experiment.seeds), METHODS, MIXTURES)
    ]
    encoders = {
        f"{method}-{mixture}-{seed}": experiment.folder / f"runs/{method}-{mixture}-{seed}"
        for method, mixture, seed in runs
    }
    random_weights = list(_random_weights(experiment))
    encoders |= {stage.name: _untrained_file(experiment, stage.name) for stage in random_weights}
    pairs = zip(*(_names_of(encoders, method) for method in METHODS), strict=True)
    return [
        *([stage] for stage in _corpus(experiment)),
        [_training(experiment, *run) for run in runs],
        random_weights,
        # Evaluations of a method share features of random weights, one evaluation at a time.
        *([_evaluation(experiment, name, encoders[name]) for name in names] for names in pairs),
        [_by_source(experiment, name) for name in encoders],
        [
            _comparison(experiment, encoders, "all", "results/{}/all"),
            _comparison(experiment, encoders, "domains", "by_source/{}"),
        ],
    ]


def _names_of(names: Iterable[str], method: str) -> list[str]:
    return [name for name in names if name.startswith(f"{method}-")]


def _corpus(experiment: Experiment) -> Iterator[Stage]:
    phantom = experiment.folder / "phantom"
    size = f"--seed {experiment.phantom_seed} --minutes {experiment.minutes:g}"
    yield _stage("phantom", f"surgrec-shard phantom {size}", "--out", phantom)

    # The encoders see 64 pixels, and the cases last seconds.
    small = "--public true --encode.short_side_px 128 --encode.clip_s 4 --encode.min_clip_s 2"
    words = ["--manifest", phantom / "videos.csv", "--out", experiment.folder / "corpus"]
    yield _stage("corpus", f"surgrec-shard build {small}", *words)


def _training(experiment: Experiment, method: str, mixture: str, seed: int) -> Stage:
    name = f"{method}-{mixture}-{seed}"
    recipe = f"python -m surgrec.recipes.{method} --config {method}_tiny --resume true"
    folders = ["--corpus", experiment.folder / "corpus", "--run_dir"]
    folders.append(experiment.folder / "runs" / name)
    words = ["--seed", seed, "--mixture.block", 64, *MIXTURES[mixture]]
    more = {"jepa": experiment.jepa_options, "mae": experiment.mae_options}[method]
    return _stage(name, recipe, *folders, *words, *shlex.split(more))


def _random_weights(experiment: Experiment) -> Iterator[Stage]:
    for method, seed in product(METHODS, range(experiment.seeds)):
        name = f"{method}-{UNTRAINED}-{seed}"
        run = experiment.folder / f"runs/{method}-balanced-0"
        words = [run, _untrained_file(experiment, name), UNTRAINED_SEED + seed]
        yield _stage(name, "python -m benchmarks.untrained", *words)


def _untrained_file(experiment: Experiment, name: str) -> Path:
    return experiment.folder / UNTRAINED / f"{name}.safetensors"


def _evaluation(experiment: Experiment, name: str, encoder: Path) -> Stage:
    split = experiment.folder / "splits/all.yaml"
    words = ["--task", "phase", "--split", split, "--stride_s", 0.5, "--encoder", encoder]
    words += ["--features", experiment.folder / "features" / name.partition("-")[0]]
    words += ["--out", experiment.folder / "results" / name / "all"]
    if UNTRAINED in name:
        words += ["--fps", 4, "--allow_unknown_pretraining", "true"]
    corpus = experiment.folder / "corpus"
    return _stage(f"{name}-on-all", "surgrec evaluate", corpus, *words)


def _by_source(experiment: Experiment, name: str) -> Stage:
    words = [experiment.folder / "results" / name / "all", experiment.folder / "by_source" / name]
    return _stage(f"{name}-by-source", "python -m benchmarks.by_source", *words)


def _comparison(experiment: Experiment, encoders: Iterable[str], name: str, place: str) -> Stage:
    results = [
        f"{encoder.rpartition('-')[0]}={experiment.folder / place.format(encoder)}"
        for encoder in encoders
    ]
    folder = experiment.folder / "comparison" / name
    return _stage(f"comparison-{name}", "surgrec compare", *results, "--out", folder)


def _stage(name: str, command: str, *words: object) -> Stage:
    return Stage(name, [*shlex.split(command), *map(str, words)])


def record_of(folder: Path, stage: Stage) -> dict[str, Any] | None:
    """Return the record of a stage that has ended, None before.

    Raises:
        SetupError: It has ended with another command.
    """
    path = folder / "done" / f"{stage.name}.json"
    if not path.exists():
        return None
    remedy = "remove it, and the stage runs again"
    record = read_json(path, dict[str, Any], error=SetupError, remedy=remedy)
    if record["command"] != stage.command:
        raise SetupError(
            f"{path} is of the command {record['command']!r}, which is now {stage.command!r}; "
            "give the same options, or another folder"
        )
    return record


def run_stage(folder: Path, stage: Stage) -> dict[str, Any]:
    """Run a stage and return its record, which then is in `done`.

    Raises:
        SetupError: The command ended with another status than 0.
    """
    log = folder / "log" / f"{stage.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("ab") as output:
        words = [str(Path(sys.executable).parent / stage.words[0]), *stage.words[1:]]
        process = subprocess.Popen(
            words, stdout=output, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SetupError(
            f"{stage.name} ended with status {process.returncode}; see {log}, then run the same "
            "command again to continue"
        )

    record = {
        "name": stage.name,
        "command": stage.command,
        "seconds": time.monotonic() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }
    text = json.dumps(record, indent=1)
    open_store(folder / "done").write(f"{stage.name}.json", text.encode("utf-8"))
    return record


if __name__ == "__main__":
    with_errors_as_one_line(
        "pretraining",
        lambda: main(parse(Experiment, sys.argv[1:])),
        to_go_on="the same command continues",
    )
