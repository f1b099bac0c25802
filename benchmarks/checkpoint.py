"""How long a save holds up the training, and how long its files take beside it, on the CPU.

python -m benchmarks.checkpoint --size base
python -m benchmarks.checkpoint --size large --folder DIR
python -m benchmarks.checkpoint --ranks 2                  # sharded: the main process gathers
python -m benchmarks.checkpoint --ranks 2 --train false    # the gather alone, in less memory

A real run of jepa_vitl16 with small clips and a whole model saves several times. Between two steps,
a save copies the state to host memory: this is the stall. A thread then writes the files. The
main process of a sharded run gathers the tensors of all ranks for it, one at a time.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from benchmarks.contenders.memory_use import peak_bytes
from surgrec.cli import parse
from surgrec.models import Encoder
from surgrec.objectives import JepaObjective
from surgrec.ranges import Range
from surgrec.recipes import jepa
from surgrec.training import (
    Checkpoints,
    Run,
    build_optimizer,
    ema_copy,
    parse_recipe,
    run_recipe,
)
from tests.support.videos import make_tiny_corpus

SAVES, SAVE_EVERY = 3, 3
_FOLDERS = "SURGREC_CHECKPOINT_FOLDERS"
"""Variable with the folders of corpus and run, for the processes of a launcher."""
SMALL = [
    *("--encoder.num_frames", "4", "--encoder.crop_px", "64", "--precision", "no"),
    *("--global_batch", "2", "--loader.num_workers", "0", "--log.every", "1"),
    *("--steps", str(SAVES * SAVE_EVERY), "--save_every", str(SAVE_EVERY)),
    *("--keep_checkpoints", "2"),
]


@dataclass(frozen=True, kw_only=True)
class Saves:
    """The run to measure."""

    size: Literal["base", "large"] = "large"
    """Size of the encoder."""
    folder: Path | None = None
    """Folder on the disk to measure; None takes the one for temporary files."""
    ranks: Annotated[int, Range(1, 64)] = 1
    """Processes that share the state (`--sharding full`), if several."""
    train: bool = True
    """Whether a run saves. If not, several processes gather a state without training."""


@dataclass(kw_only=True)
class Times:
    """Seconds on the thread that trains."""

    copies: list[float] = field(default_factory=list)
    """Of each copy to host memory."""
    begins: list[float] = field(default_factory=list)
    """Of each start of the thread that writes."""
    ends: list[float] = field(default_factory=list)
    """Of each wait for that thread."""
    alone: list[float] = field(default_factory=list)
    """From one sync to the next, without a write."""
    beside: list[float] = field(default_factory=list)
    """From one sync to the next, beside a write."""
    before_copy: int = 0
    """Most bytes of memory of the process before its first save."""


def main(options: Saves) -> None:
    """Train, on one process or on several that a launcher starts, and print the times."""
    if _FOLDERS in os.environ:
        corpus, run_dir = map(Path, os.environ[_FOLDERS].split(os.pathsep))
        (_measure if options.train else _gather)(options, corpus, run_dir)
        return

    with tempfile.TemporaryDirectory(prefix="checkpoint-", dir=options.folder) as folder:
        folders = [make_tiny_corpus(Path(folder, "tiny")), Path(folder, "run")]
        if options.ranks == 1:
            _measure(options, *folders)
            return
        words = [sys.executable, "-m", "surgrec.training.torchrun"]
        words += ["--nproc_per_node", str(options.ranks), "-m", "benchmarks.checkpoint"]
        words += ["--size", options.size, "--ranks", str(options.ranks)]
        words += ["--train", str(options.train).lower()]
        names = {_FOLDERS: os.pathsep.join(map(str, folders)), "ACCELERATE_USE_CPU": "true"}
        status = subprocess.run(words, env=os.environ | names).returncode
        if status:
            sys.exit(status)


def _measure(options: Saves, corpus: Path, run_dir: Path) -> None:
    """Train, and print the times of this process if it is the main."""
    times = Times()
    _time(Checkpoints, "snapshot", times.copies)
    _time(Checkpoints, "begin_save", times.begins)
    _time(Checkpoints, "finish_save", times.ends)
    _time_steps(times)

    words = ["--config", "jepa_vitl16", "--encoder.size", options.size, *SMALL]
    words += ["--sharding", "full"] if options.ranks > 1 else []
    sys.argv = ["jepa.py", *words, "--corpus", str(corpus), "--run_dir", str(run_dir)]
    try:
        run_recipe(str(jepa.__file__), jepa.JepaConfig, jepa.main)
    except SystemExit as ended:
        if ended.code:
            raise

    _print_memory(times.before_copy)
    if os.environ.get("RANK", "0") != "0":
        return

    last = run_dir / f"checkpoints/step-{SAVES * SAVE_EVERY:08d}"
    size = sum(path.stat().st_size for path in last.iterdir())
    encoder = (run_dir / "encoder.safetensors").stat().st_size
    first, *later = times.copies
    copy = statistics.median(later)
    print(f"ViT {options.size}: a checkpoint of {size / 1e9:.2f} GB, an encoder file of ", end="")
    print(f"{encoder / 1e9:.2f} GB; {shutil.disk_usage(run_dir).free / 1e9:.0f} GB free")
    print(
        f"copy to host memory: first {first:.2f} s, then {copy:.2f} s ({size / copy / 1e9:.1f} ",
        end="",
    )
    print(f"GB/s); start of the thread at most {1e3 * max(times.begins):.1f} ms")
    print(f"write without training beside it: {max(times.ends):.1f} s")
    print(f"time of a step: {_median(times.alone)} s, beside a write {_median(times.beside)} s")


def _gather(options: Saves, corpus: Path, run_dir: Path) -> None:
    """Gather a sharded state without training, and print times and memory of this process."""
    words = ["--config", "jepa_vitl16", "--encoder.size", options.size, *SMALL]
    words += ["--corpus", str(corpus), "--run_dir", str(run_dir), "--sharding", "full"]
    config = parse_recipe(str(jepa.__file__), jepa.JepaConfig, words)

    # Weights and moments of both encoders and the predictor, each process with its share.
    run = Run.start(config, recipe="jepa")
    run.open_data()
    objective = JepaObjective(Encoder(config.encoder), config.objective)
    target = ema_copy(objective.encoder)
    optimizer = build_optimizer(objective, config.optimizer)
    run.restore(objective, optimizer, encoder=target, target_encoder=target)
    for parameter in objective.parameters():
        if parameter.requires_grad:
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {**moments, "step": torch.zeros(())}

    before, seconds = peak_bytes(), []
    for step in range(3):
        began = time.perf_counter()
        snapshot = run.checkpoints.snapshot(step, run._state, keep=run.is_main)
        seconds.append(time.perf_counter() - began)
    _print_memory(before)
    if run.is_main:
        parts = snapshot.tensors.values()
        size = sum(tensor.nbytes for named in parts for tensor in named.values())
        times = ", ".join(f"{each:.1f}" for each in seconds)
        print(f"ViT {options.size}: gathers of {size / 1e9:.2f} GB in {times} s")
    run.accelerator.end_training()


def _print_memory(before: int) -> None:
    print(
        f"rank {os.environ.get('RANK', '0')}: at most {before / 1e9:.1f} GB of host memory before "
        f"the first save, {peak_bytes() / 1e9:.1f} GB in all",
        flush=True,
    )


def _time(owner: type, name: str, seconds: list[float]) -> None:
    """Let a method note how long each call takes."""
    method: Callable[..., Any] = getattr(owner, name)

    def timed(*given: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = method(*given, **options)
        seconds.append(time.perf_counter() - began)
        return result

    setattr(owner, name, timed)


def _time_steps(times: Times) -> None:
    """Note the time from the end of each sync to the beginning of the next."""
    sync, ended = Run.sync, [0.0]

    def timed(run: Run, step: int, *, diagnostics: dict[str, float]) -> None:
        seconds = time.perf_counter() - ended[0]
        is_writing = any(run.checkpoints.folder.glob(".step-*.partial"))
        if not times.copies:
            times.before_copy = peak_bytes()
        if step:
            (times.beside if is_writing else times.alone).append(seconds)
        sync(run, step, diagnostics=diagnostics)
        ended[0] = time.perf_counter()

    Run.sync = timed  # type: ignore[method-assign]


def _median(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} (of {len(seconds)})" if seconds else "unknown"


if __name__ == "__main__":
    main(parse(Saves, sys.argv[1:]))
