"""Hugging Face's Trainer on clips of `surgrec.load_clips`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import surgrec
from surgrec.clips.clip_loader import ClipLoader
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


def train(clips: ClipLoader, folder: Path) -> list[int]:
    """Train as the README says; return the positions that the model was given."""
    transformers = transformers_or_skip()

    class ClipTrainer(transformers.Trainer):  # type: ignore[misc,name-defined]
        def get_train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(self.train_dataset, batch_size=None)

    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=STEPS,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    model = Recorder()
    ClipTrainer(model, arguments, train_dataset=clips).train()
    assert model.weight != 1.0
    return model.positions


def test_a_trainer_in_one_process_gets_every_position_in_order(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    assert train(load(tiny_corpus), tmp_path) == list(range(2 * STEPS))
