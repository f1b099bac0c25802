"""The training on one encoder: it saves, resumes, refuses, and remembers unreadable windows."""

from pathlib import Path

import pytest
import torch
from torch import nn

from surgrec.errors import CheckpointError, ConfigError
from surgrec.supervised._training import Training
from surgrec.training.session import Session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        folder = tmp_path_factory.mktemp("session")
        session = Session.connect(folder, precision="no")
        session.begin(folder, {"option": 1}, first_step=0)
        return session


def training(
    session: Session, folder: Path, *, seed: int = 0, resume: bool = False, steps: int = 6
) -> Training:
    return Training(
        session=session,
        folder=folder,
        name="trained",
        num_steps=steps,
        save_every=2,
        identity={"recipe": "probe", "seed": seed},
        resume=resume,
        failed={},
    )


def run(each: Training, until: int = 6) -> list[int]:
    """Train a layer until some steps are done; return the steps."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    each.restore(layer, optimizer)
    done = []
    for step in each.steps():
        done.append(step)
        layer(torch.ones(3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        each.failed[step] = "no picture"
        each.after_step(step, torch.tensor(1.0))
        if step + 1 == until:
            break
    return done


def test_a_training_resumes_after_its_newest_checkpoint(session: Session, tmp_path: Path) -> None:
    assert run(training(session, tmp_path / "a"), until=5) == [0, 1, 2, 3, 4]
    resumed = training(session, tmp_path / "a", resume=True)
    assert run(resumed) == [4, 5]
    assert resumed.failed == dict.fromkeys(range(6), "no picture")
    assert not resumed.stopped
    assert run(training(session, tmp_path / "a", resume=True)) == []


def test_a_checkpoint_is_not_continued_without_being_asked(
    session: Session, tmp_path: Path
) -> None:
    run(training(session, tmp_path / "a"))
    with pytest.raises(ConfigError, match=r"already has a checkpoint of step 6; continue with --r"):
        run(training(session, tmp_path / "a"))


def test_a_checkpoint_of_another_training_is_refused(session: Session, tmp_path: Path) -> None:
    run(training(session, tmp_path / "a"))
    with pytest.raises(CheckpointError, match="seed"):
        run(training(session, tmp_path / "a", seed=1, resume=True))
