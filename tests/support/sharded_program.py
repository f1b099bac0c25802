"""Runs with and without sharding on several ranks: `python sharded_program.py CORPUS FOLDER`.

Torch is imported once; then the ranks of each run are forked.
"""

import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from surgrec.planning import static_memory_of
from surgrec.training import Checkpoints, Run
from surgrec.training._checkpoint import MOMENTS
from surgrec.training._sharding import local
from tests.support.evaluations import write_labels
from tests.support.in_process import train

MOVING = [
    *("--global_batch", 8, "--optimizer.grad_clip", 1.0),
    *("--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"),
]
LEAN = ["--accumulation", 2, "--activation_checkpointing", "full"]
PRECISION = {"jepa": ["--precision", "no"], "mae": ["--precision", "bf16"]}
STEPS = ["--steps", 4, "--save_every", 2]
SHARDINGS = ("none", "full")
WATCHED = [
    *("--probe.every", 2, "--probe.clips", 60, "--drift.every", 2, "--drift.clips", 8),
    *("--encoder.crop_px", 32, "--encoder.num_frames", 4, "--encoder.width", 48),
    *("--encoder.depth", 2),
]
RESAVED = [(1, "full"), (2, "none"), (2, "full"), (4, "none"), (4, "full")]
"""Ranks and sharding of starts that load a checkpoint of two sharded ranks and save it again."""


def on_ranks(count: int, work: Callable[[], None]) -> None:
    """Run `work` in several forked ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [_fork(rank, count, port, work) for rank in range(count)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]
    assert statuses == [0] * count, statuses


def _fork(rank: int, count: int, port: int, work: Callable[[], None]) -> int:
    process = os.fork()
    if process:
        return process
    os.environ.update(ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1")
    if count > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        work()
    except BaseException:  # as the interpreter prints it
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kept_bytes(run: Run) -> list[int]:
    """Return the bytes of the weights, moments and target encoder that this rank keeps."""
    state = run._state
    weights = [*state.trained.parameters()]
    moments = [state.optimizer.state[weight][name] for weight in weights for name in MOMENTS]
    target = [*state.modules["target_encoder"].parameters()]
    return [sum(local(each).nbytes for each in kept) for kept in (weights, moments, target)]


def start_and_save(shards: int, out: Path, corpus: Path, run_dir: Path, *options: object) -> None:
    """Let a start save the loaded state into another folder, instead of training."""

    def steps(run: Run, data: object) -> Iterator[None]:
        static = static_memory_of(run.config)
        if shards > 1:
            static = static.sharded(shards, in_parts=False)
        counted, planned = kept_bytes(run), [static.parameters, static.moments, static.target]
        for bytes_kept, bytes_planned in zip(counted, planned, strict=True):
            # Weights with fewer rows than ranks are on the first ranks.
            assert abs(bytes_kept / bytes_planned - 1) < (0.02 if shards > 1 else 1e-4)

        other = Checkpoints(out, keep=1)
        snapshot = other.snapshot(run.first_step, run._state, keep=run.is_main)
        if run.is_main:
            other.begin_save(snapshot)
            other.finish_save()
        return iter(())

    Run.steps = steps  # type: ignore[method-assign, assignment]  # in a forked process
    train("jepa", corpus, run_dir, *options)


def watched_runs(corpus: Path, folder: Path) -> None:
    """Probe a run on one rank, and on two with and without sharding; these also resume."""
    labeled = Path(shutil.copytree(corpus, folder / "labeled"))
    write_labels(labeled)
    split = folder / "split.yaml"
    split.write_text(
        "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n",
        encoding="utf-8",
    )
    options = [*MOVING, *STEPS, "--precision", "no", *WATCHED]
    options += ["--probe.corpus", labeled, "--probe.split", split]
    on_ranks(1, partial(train, "mae", labeled, folder / "watched-alone", *options))
    for sharding in SHARDINGS:
        run_dir, cut = folder / f"watched-{sharding}", folder / f"watched-cut-{sharding}"
        words = [*options, "--sharding", sharding]
        on_ranks(2, partial(train, "mae", labeled, run_dir, *words))

        # Measurements of the step that the start goes on from are due again.
        shutil.copytree(run_dir, cut)
        shutil.rmtree(cut / "checkpoints/step-00000004")
        (cut / "probe.jsonl").unlink()
        (cut / "drift.jsonl").unlink()
        on_ranks(2, partial(train, "mae", labeled, cut, *words, "--resume", "true"))


def main() -> None:
    """Run everything; the test reads the run folders."""
    corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for name in ("jepa", "mae"):
        for sharding in SHARDINGS:
            run_dir = folder / f"{name}-{sharding}"
            options = [*MOVING, *LEAN, *STEPS, *PRECISION[name], "--sharding", sharding]
            on_ranks(2, lambda: train(name, corpus, run_dir, *options))  # noqa: B023

    # Go on after the checkpoint of two steps.
    cut = folder / "jepa-cut"
    shutil.copytree(folder / "jepa-full", cut)
    shutil.rmtree(cut / "checkpoints/step-00000004")
    resumed = [*MOVING, *STEPS, *PRECISION["jepa"], "--resume", "true"]
    options = [*resumed, *LEAN, "--sharding", "full"]
    on_ranks(2, lambda: train("jepa", corpus, cut, *options))

    watched_runs(corpus, folder)

    # A run of four ranks.
    four = [*MOVING, *STEPS, *PRECISION["jepa"], "--steps", 2, "--sharding", "full"]
    on_ranks(4, partial(train, "jepa", corpus, folder / "jepa-four", *four))
    two = folder / "jepa-four-to-two"
    shutil.copytree(folder / "jepa-four", two)
    saved = partial(start_and_save, 2, folder / "saved-four-to-two", corpus, two, *four)
    on_ranks(2, partial(saved, "--steps", 4, "--resume", "true"))

    for count, sharding in RESAVED:
        run_dir, out = folder / f"start-{count}-{sharding}", folder / f"saved-{count}-{sharding}"
        shutil.copytree(folder / "jepa-full", run_dir)
        words = [*resumed, "--sharding", sharding]
        shards = count if sharding == "full" else 1
        on_ranks(count, partial(start_and_save, shards, out, corpus, run_dir, *words))


if __name__ == "__main__":
    main()
