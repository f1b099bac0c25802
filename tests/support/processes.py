"""Start recipes as a user does, in real processes, and watch or kill them."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import psutil

ROOT = Path(__file__).parents[2]


def recipe(
    name: str, processes: int, corpus: Path | str, run_dir: Path, *options: object
) -> list[str]:
    """Return the command of a run with the recipe's tiny config; later options win."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        str(processes),
        "--standalone",
    ]
    config = ROOT / f"recipes/configs/{name}_tiny.yaml"
    words = ["--config", config, "--corpus", corpus, "--run_dir", run_dir, *options]
    program = launcher if processes > 1 else [sys.executable]
    return [*program, str(ROOT / f"recipes/{name}.py"), *(str(word) for word in words)]


def load_recipe(name: str) -> ModuleType:
    """Return a recipe as a module. Only tests import recipes."""
    spec = importlib.util.spec_from_file_location(f"{name}_recipe", ROOT / f"recipes/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a command on CPUs, with one thread per process."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment.pop("WORLD_SIZE", None)
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


def finish(command: list[str]) -> tuple[int, str]:
    """Run a command to its end; return its status and its standard error."""
    process = start(command)
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors


def free_port() -> int:
    """Return a port of this machine that no process listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Wait for a condition while the process runs."""
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the condition did not hold within four minutes"
        time.sleep(0.05)


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a process and its descendants with -9; torchrun's workers would outlive it."""
    parent = psutil.Process(process.pid)
    for running in [*parent.children(recursive=True), parent]:
        running.kill()
    process.communicate()
