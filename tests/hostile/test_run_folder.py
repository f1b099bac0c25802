"""Hostile run folders: stale requests, cut saves, edited checkpoints, replaced corpora."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from surgrec.models import encoder_provenance
from tests.hostile.harness import Kind, Run, try_kind
from tests.hostile.small_runs import STEPS, copy_of_run, corpus, rows

Edit = Callable[[Path], object]
NEWEST = f"checkpoints/step-{STEPS:08d}"


def resumed(run_dir: Path, data: Path, *options: object, recipe: str = "jepa") -> list[object]:
    """The words that continue a run by one step."""
    return [
        *(recipe, "--config", f"{recipe}_tiny", "--corpus", data, "--run_dir", run_dir),
        *("--steps", STEPS + 1, "--global_batch", 4, "--loader.num_workers", 0),
        *("--log.every", 1, "--resume", "true", *options),
    ]


def continued(folder: Path, run: Run) -> None:
    """The run did one more step, and its encoder is of that step."""
    assert rows(folder / "run") == STEPS + 1
    assert encoder_provenance(folder / "run/encoder.safetensors")["step"] == STEPS + 1


def repeated(folder: Path, run: Run) -> None:
    """The run lost a checkpoint, went on from an earlier one, and reached the same step."""
    continued(folder, run)
    steps = [
        json.loads(line)["step"]
        for line in (folder / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert steps == list(range(STEPS + 1))


def last_row_with(**fields: object) -> Edit:
    """An edit that sets fields of the last row of metrics.jsonl; None removes a field."""

    def edit(run_dir: Path) -> None:
        path = run_dir / "metrics.jsonl"
        *lines, last = path.read_text(encoding="utf-8").splitlines()
        row = {
            name: value for name, value in (json.loads(last) | fields).items() if value is not None
        }
        path.write_text("\n".join([*lines, json.dumps(row)]) + "\n", encoding="utf-8")

    return edit


def folder_kind(
    name: str,
    edit: Edit,
    *options: object,
    right: Callable[[Path, Run], None] | None = None,
    recipe: str = "jepa",
) -> Kind:
    """A resume after an edit of the run folder."""

    def make(folder: Path) -> list[object]:
        run_dir = copy_of_run(folder)
        edit(run_dir)
        return resumed(run_dir, corpus(), *options, recipe=recipe)

    return Kind(name=name, make=make, right=right)


def corpus_kind(name: str, edit: Edit, right: Callable[[Path, Run], None] | None = None) -> Kind:
    """A resume after an edit of the corpus."""

    def make(folder: Path) -> list[object]:
        data = Path(shutil.copytree(corpus(), folder / "corpus"))
        edit(data)
        return resumed(copy_of_run(folder), data)

    return Kind(name=name, make=make, right=right)


def old(path: Path) -> None:
    os.utime(path, (1, 1), follow_symlinks=False)


def stale_file(run_dir: Path) -> None:
    (run_dir / "STOP").touch()


def stale_link(run_dir: Path) -> None:
    (run_dir / "STOP").symlink_to("nowhere")
    old(run_dir / "STOP")


def stale_folder(run_dir: Path) -> None:
    (run_dir / "STOP").mkdir()
    old(run_dir / "STOP")


def cut(name: str, size: int) -> Edit:
    return lambda run_dir: os.truncate(run_dir / name, size)


def removed(name: str) -> Edit:
    return lambda run_dir: (run_dir / name).unlink()


def appended(name: str, text: str) -> Edit:
    def edit(run_dir: Path) -> None:
        with (run_dir / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return edit


def flipped(run_dir: Path) -> None:
    path = run_dir / NEWEST / "objective.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def identity(edit: Callable[[dict[str, Any]], object]) -> Edit:
    def change(run_dir: Path) -> None:
        path = run_dir / NEWEST / "state.json"
        state = json.loads(path.read_text(encoding="utf-8"))
        edit(state["identity"])
        path.write_text(json.dumps(state), encoding="utf-8")

    return change


def without_newer_values(saved: dict[str, Any]) -> None:
    del saved["versions"], saved["tuned"], saved["order"]["version"]
    del saved["config"]["optimizer"]["grad_clip"]


def partial_save(run_dir: Path) -> None:
    shutil.copytree(run_dir / NEWEST, run_dir / "checkpoints/.step-00000003.partial")


def half_removed(run_dir: Path) -> None:
    (run_dir / "checkpoints/.step-00000001.removed").mkdir()


def encoder_of_another_step(run_dir: Path) -> None:
    """As a kill leaves it after the encoder of a step and before its checkpoint."""
    shutil.rmtree(run_dir / NEWEST)


def encoder_as_pipe(run_dir: Path) -> None:
    (run_dir / "encoder.safetensors").unlink()
    os.mkfifo(run_dir / "encoder.safetensors")


def replaced_by_folder(name: str) -> Edit:
    def edit(run_dir: Path) -> None:
        (run_dir / name).unlink(missing_ok=True)
        (run_dir / name).mkdir()

    return edit


def replaced_by_file(name: str) -> Edit:
    def edit(run_dir: Path) -> None:
        shutil.rmtree(run_dir / name)
        (run_dir / name).write_text("x", encoding="utf-8")

    return edit


def unmounted_checkpoints(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "checkpoints")
    (run_dir / "checkpoints").symlink_to("/unmounted/scratch")


def no_digests(run_dir: Path) -> None:
    path = run_dir / NEWEST / "state.json"
    state = json.loads(path.read_text(encoding="utf-8")) | {"files": {}}
    path.write_text(json.dumps(state), encoding="utf-8")


def later_step(run_dir: Path) -> None:
    (run_dir / NEWEST).rename(run_dir / "checkpoints/step-00000009")


def entry(edit: Callable[[dict[str, Any]], object]) -> Edit:
    def change(data: Path) -> None:
        path = data / "corpus.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        edit(content["sources"])
        path.write_text(json.dumps(content), encoding="utf-8")

    return change


def column(name: str, change: Callable[[Any], Any]) -> Edit:
    """Change a column of the index of alpha."""

    def edit(data: Path) -> None:
        path = data / "alpha/index.parquet"
        table = pq.read_table(path)
        index = table.column_names.index(name)
        values = pa.array(change(table[name].to_pylist()), table.schema.field(name).type)
        pq.write_table(table.set_column(index, table.schema.field(name), values), path)

    return edit


def reversed_rows(data: Path) -> None:
    path = data / "alpha/index.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(table.num_rows)[::-1]), path)


def locked(run_dir: Path) -> None:
    """Hold the lock in another process for as long as the command may wait."""
    program = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a'); "
        "fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); time.sleep(30)"
    )
    holder = subprocess.Popen(
        ["python3", "-c", program, str(run_dir / "lock")], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()


def nothing(folder: Path) -> None:
    """Change nothing."""


KINDS = [
    folder_kind("a stale STOP file", stale_file, right=continued),
    folder_kind("a stale STOP link to nowhere", stale_link, right=continued),
    folder_kind("a stale STOP folder", stale_folder, right=continued),
    folder_kind("a missing encoder file", removed("encoder.safetensors"), right=continued),
    folder_kind("a cut encoder file", cut("encoder.safetensors", 100), right=continued),
    folder_kind("an encoder file as a pipe", encoder_as_pipe, right=continued),
    folder_kind("a kill between encoder and checkpoint", encoder_of_another_step, right=repeated),
    folder_kind("a partial save", partial_save, right=continued),
    folder_kind("a half removed checkpoint", half_removed, right=continued),
    folder_kind("a last row that a kill cut", appended("metrics.jsonl", '{"st'), right=continued),
    folder_kind("a last start that a kill cut", appended("starts.jsonl", '{"st'), right=continued),
    folder_kind("a cut config", cut("config.yaml", 20), right=continued),
    folder_kind("an empty plan", cut("plan.json", 0), right=continued),
    folder_kind("a smaller learning rate", nothing, "--optimizer.lr.value", 1e-5, right=continued),
    folder_kind(
        "a checkpoint of the first version", identity(without_newer_values), right=continued
    ),
    folder_kind("another epsilon", nothing, "--optimizer.eps", 0.1),
    folder_kind("another seed", nothing, "--seed", 5),
    folder_kind("another batch", nothing, "--global_batch", 2),
    folder_kind("another mixing block", nothing, "--mixture.block", 64),
    folder_kind("another crop", nothing, "--augment.scale", "[0.5, 1.0]"),
    folder_kind("another recipe", nothing, recipe="mae"),
    folder_kind("other initial weights", nothing, "--init_from", "encoder.safetensors"),
    folder_kind("a file in place of the checkpoints", replaced_by_file("checkpoints")),
    folder_kind(
        "checkpoints that are gone", lambda run_dir: shutil.rmtree(run_dir / "checkpoints")
    ),
    folder_kind("checkpoints on a disk that is not mounted", unmounted_checkpoints),
    folder_kind("a checkpoint without digests", no_digests),
    folder_kind("a start over a run", nothing, "--resume", "false"),
    folder_kind(
        "masks of another version", identity(lambda saved: saved["versions"].update(masks=2))
    ),
    folder_kind(
        "views of another version", identity(lambda saved: saved["versions"].update(views=2))
    ),
    folder_kind(
        "an order of another version", identity(lambda saved: saved["order"].update(version=2))
    ),
    folder_kind("a history that is a word", identity(lambda saved: saved.update(tuned="much"))),
    folder_kind("an identity without an order", identity(lambda saved: saved.pop("order"))),
    folder_kind("a missing state", removed(f"{NEWEST}/state.json")),
    folder_kind("missing weights", removed(f"{NEWEST}/objective.safetensors")),
    folder_kind("missing moments", removed(f"{NEWEST}/optimizer.safetensors")),
    folder_kind("cut weights", cut(f"{NEWEST}/objective.safetensors", 1000)),
    folder_kind("a flipped byte in the weights", flipped),
    folder_kind("a checkpoint under a later step", later_step),
    *(
        folder_kind(f"a last row with {what}", last_row_with(**fields))
        for what, fields in {
            "no count of bad samples": {"quarantined": None},
            "no count of samples": {"consumed": None},
            "a text as a number of bad samples": {"quarantined": {"alpha": "x"}},
            "a list of bad samples": {"quarantined": [1]},
        }.items()
    ),
    folder_kind(
        "a bad sample of a source that no corpus has",
        appended(
            "quarantine.jsonl", '{"step": 0, "source": "zeta", "substitute": "x", "key": "y"}\n'
        ),
    ),
    folder_kind("rows in a folder", replaced_by_folder("metrics.jsonl")),
    folder_kind("starts in a folder", replaced_by_folder("starts.jsonl")),
    folder_kind("a config in a folder", replaced_by_folder("config.yaml")),
    folder_kind("a lock in a folder", replaced_by_folder("lock")),
    folder_kind(
        "a bad row between rows",
        lambda run_dir: (run_dir / "metrics.jsonl").write_text(
            '{"step": 0}\nx\n{"step": 1}\n', encoding="utf-8"
        ),
    ),
    folder_kind("a lock of another process", locked),
    corpus_kind("another domain", entry(lambda sources: sources["beta"].update(domain="robotic"))),
    corpus_kind("a source without clips", entry(lambda sources: sources.pop("beta"))),
    corpus_kind(
        "other durations", column("duration_s", lambda values: [value - 1 for value in values])
    ),
    corpus_kind("other splits", column("split", lambda values: ["val", *values[1:]])),
    corpus_kind("other keys", column("key", lambda values: [values[1], values[0], *values[2:]])),
    corpus_kind("rows in another order", reversed_rows),
    corpus_kind("an index that is gone", lambda data: (data / "alpha/index.parquet").unlink()),
    corpus_kind("a corpus that is gone", shutil.rmtree),
    corpus_kind("the same corpus elsewhere", nothing, right=continued),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
