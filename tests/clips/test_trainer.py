"""Hugging Face's Trainer on clips of `surgrec.load_clips`, in one process and in two."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import surgrec
from surgrec.clips._clip_loader import ClipLoader
from tests.support.hugging_face import transformers_or_skip

STEPS = 4


def load(corpus: Path, **options: Any) -> ClipLoader:
    options = {"num_frames": 4, "crop_px": 16, "batch_size": 2, "num_workers": 0} | options
    return surgrec.load_clips(corpus, **options)


class Recorder(nn.Module):
    """A model of one weight that records the positions it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.positions: list[int] = []

    def forward(self, video: Tensor, position: Tensor, **other: Any) -> dict[str, Tensor]:
        self.positions += position.tolist()
        return {"loss": (self.weight * video).square().mean()}


def make_trainer(clips: ClipLoader, folder: Path, **arguments: Any) -> Any:
    """Return a Trainer as the README describes it."""
    transformers = transformers_or_skip()

    class ClipTrainer(transformers.Trainer):  # type: ignore[misc,name-defined]
        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.train_dataset, batch_size=None)

    class SaveClips(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        def on_save(self, args: Any, state: Any, *rest: Any, **options: Any) -> None:
            torch.save(clips.state_dict(), folder / f"checkpoint-{state.global_step}" / "clips.pt")

    arguments = {
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
    } | arguments
    return ClipTrainer(
        Recorder(),
        transformers.TrainingArguments(str(folder), max_steps=STEPS, **arguments),
        train_dataset=clips,
        callbacks=[SaveClips()],
    )


def train(clips: ClipLoader, folder: Path) -> list[int]:
    """Return the positions that a Trainer gave to its model."""
    trainer = make_trainer(clips, folder)
    trainer.train()
    assert trainer.model.weight != 1.0
    positions: list[int] = trainer.model.positions
    return positions


def train_rank(clips: ClipLoader, rank: int, folder: Path) -> None:
    """Run as one rank of two, in a process that the spawn method has started."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "ACCELERATE_USE_CPU": "true"}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    positions = train(clips, folder / f"run{rank}")
    (folder / f"{rank}.json").write_text(json.dumps(positions))
    torch.distributed.destroy_process_group()


def test_a_trainer_in_one_process_gets_every_position_in_order(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    assert train(load(tiny_corpus), tmp_path) == list(range(2 * STEPS))


def test_a_trainer_resumes_from_the_state_of_the_loader(tiny_corpus: Path, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3}
    make_trainer(load(tiny_corpus), tmp_path, **saving).train()
    checkpoint = tmp_path / "checkpoint-3"
    clips = load(tiny_corpus)
    clips.load_state_dict(torch.load(checkpoint / "clips.pt"))
    resumed = make_trainer(clips, tmp_path / "resumed", ignore_data_skip=True)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.model.positions == [6, 7]


def test_a_trainer_without_the_state_skips_to_the_same_position(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3}
    make_trainer(load(tiny_corpus), tmp_path, **saving).train()
    resumed = make_trainer(load(tiny_corpus), tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.model.positions == [6, 7]


@pytest.mark.slow
def test_trainers_in_two_spawned_processes_share_all_positions(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    clips = load(tiny_corpus)
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=train_rank, args=(clips, rank, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=240)
        assert process.exitcode == 0
    shares = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert shares[0] == [4 * step + slot for step in range(STEPS) for slot in (0, 1)]
    assert sorted(shares[0] + shares[1]) == list(range(4 * STEPS))
