"""Lightning and torchdata, as their users install them, on clips of `surgrec.load_clips`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.packages import install_beside
from tests.support.processes import ROOT
from tests.test_documented_python import examples_of

pytestmark = pytest.mark.slow
PACKAGES = [
    "lightning==2.6.6",
    "lightning-utilities==0.15.3",
    "torchdata==0.11.0",
    "torchmetrics==1.9.0",
]
"""Both, and those of their dependencies that this project lacks."""

LOADER = """
import surgrec
import torch

def load():
    return surgrec.load_clips(
        "corpus", num_frames=4, crop_px=16, batch_size=2, steps=20, num_workers=0
    )

torch.manual_seed(0)
clips = load()
"""
STATEFUL = """
import itertools
from torchdata.stateful_dataloader import StatefulDataLoader

def batches(clips):
    return StatefulDataLoader(clips, batch_size=None, num_workers=0)

loader = batches(clips)
seen = [batch["position"].tolist() for batch in itertools.islice(loader, 4)]
state = loader.state_dict()
loader = batches(load())
loader.load_state_dict(state)
seen += [batch["position"].tolist() for batch in loader]
assert sum(seen, []) == list(range(40)), seen
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages."""
    return install_beside(tmp_path_factory.mktemp("frameworks"), *PACKAGES)


def run(program: str, folder: Path, packages: Path) -> None:
    """Run a program in a folder, with the packages."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tools/shard", packages)))
    done = subprocess.run(
        [sys.executable, "-c", LOADER + program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def documented_loop(steps: int) -> str:
    """Return the example of Lightning in the documentation, with few steps of small clips."""
    (example,) = (
        example for example in examples_of(ROOT / "docs/python.md") if "test_other" in example[1]
    )
    smaller = {
        "max_steps=1000": f"max_steps={steps}",
        "every_n_train_steps=100": "every_n_train_steps=3",
        "kernel_size=16": "kernel_size=4",
    }
    code = example.code
    for printed, small in smaller.items():
        assert printed in code
        code = code.replace(printed, small)
    return code


def test_a_stopped_lightning_run_ends_as_an_uninterrupted_one(
    packages: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    states = []
    for name, starts in (("whole", [9]), ("stopped", [6, 9])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "corpus").symlink_to(tiny_corpus)
        for steps in starts:
            run(documented_loop(steps), tmp_path / name, packages)
        states.append(torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True))
        shutil.rmtree(tmp_path / name)

    whole, stopped = states
    assert whole["global_step"] == stopped["global_step"] == 9
    for name, weight in whole["state_dict"].items():
        assert torch.equal(stopped["state_dict"][name], weight), name
    (loader,) = stopped["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert loader["position"] == 18, "nine batches of two clips"


def test_torchdata_restores_the_state_of_the_loader(
    packages: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "corpus").symlink_to(tiny_corpus)
    run(STATEFUL, tmp_path, packages)
